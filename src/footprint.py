"""Memory of a run, computed from the shapes of its arrays before anything is compiled.

A run that does not fit into memory does not fail by itself: XLA's threads lose an allocation, and the run waits for
them forever. So it is refused before. This is a lower bound, because the networks' intermediate results come on top.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tandem import machine
from tandem.build import Built
from tandem.config.loader import ConfigError
from tandem.contracts import row_of
from tandem.core import Environment, PyTree
from tandem.machine import GIB, Limit, gib
from tandem.runners.collect import start

WORKING = GIB // 2  # to compile and to run programs


class Share(NamedTuple):
    """One share of a run's memory."""

    size: int  # bytes
    name: str
    setting: str  # the setting that makes it smaller


def check(built: Built, config: Mapping[str, Any], copies: bool = True) -> None:
    """Check that the run fits into the device's memory, and the copy of its state for
    checkpoints into the machine's.

    Args:
      copies: whether the run is recorded, so that it has checkpoints.

    Raises:
      ConfigError: it does not fit; the message gives both numbers and the setting to lower.
    """
    state = built.run.shapes()
    taken = shares(built, state, config)
    copy = [Share(size(state), "a copy for checkpoints", "")] if copies else []
    device = on_device()
    if device:
        _compare(config, taken, device)
        taken = []
    _compare(config, [*taken, *copy], machine.free_memory())


def on_device() -> Limit | None:
    """Return the free memory of the accelerator; None if JAX computes in the machine's memory."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" not in stats:
        return None
    return Limit(
        stats["bytes_limit"] - stats.get("bytes_in_use", 0), f"the memory of {jax.local_devices()[0].device_kind}"
    )


def shares(built: Built, state: PyTree, config: Mapping[str, Any]) -> list[Share]:
    """Return the shares of memory that a run takes on its device.

    Args:
      state: from the runner's `shapes()`; a runner that only learns has neither replay nor environments in it.
    """
    plan, learner = built.plan, state.learner
    replay = getattr(state, "replay", ())
    rollout = size(row_of(plan.spec, plan.extras)) * plan.num_envs * plan.rollout_length
    found = [
        Share(size(replay), "replay", "replay_args.capacity"),
        Share(size(getattr(state, "actors", ())), "environments", "runner_args.num_envs"),
        Share(size(learner) + size(learner.params), "network, optimiser and gradient", "network_args"),
        Share(rollout, "rollout", "runner_args.rollout_length"),
        Share(_evaluation(built, config["eval_args"]["episodes"]), "evaluation", "eval_args.episodes"),
    ]
    if replay:
        batch = jax.eval_shape(built.replay.source.sample, replay, jax.random.key(0), jnp.zeros(()))
        found.append(Share(size(batch), "batch", "replay_args.batch_size"))
    return found


def _evaluation(built: Built, episodes: int) -> int:
    """Return the bytes of an evaluation's environments; zero if they are programs in other processes."""
    if not isinstance(built.env, Environment):
        return 0
    return size(jax.eval_shape(lambda key: start(built.env, built.planner, key, episodes), jax.random.key(0)))


def size(tree: PyTree) -> int:
    """Return the bytes of a tree of arrays or shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _compare(config: Mapping[str, Any], taken: Sequence[Share], limit: Limit) -> None:
    needed = sum(share.size for share in taken) + WORKING
    if needed <= limit.free:
        return
    first, *others = sorted(taken, reverse=True)
    largest = first if first.setting or not others else others[0]
    most = ", ".join(f"{share.name} {gib(share.size)}" for share in taken if share.size > GIB / 100)
    text = f"this run needs {gib(needed)} of memory or more ({most})"
    raise ConfigError([f"{_shown(config, largest.setting)}: {text}, and {limit}; lower it"])


def _shown(config: Mapping[str, Any], setting: str) -> str:
    """Return a setting with its value, as on the command line."""
    section, _, key = setting.partition(".")
    value = config.get(section, {}).get(key)
    return setting if value is None else f"{setting}={value}"
