"""What a run takes of memory, counted from the shapes of its arrays before anything is compiled.

A run that memory cannot hold does not fail: XLA's threads lose an allocation, and the run waits for them forever. So
it is refused before. Only what is certain is counted: what the networks compute in between comes on top.
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
    """One kind of what a run takes."""

    size: int  # bytes
    name: str
    setting: str  # which makes it smaller


def check(built: Built, config: Mapping[str, Any], copies: bool = True) -> None:
    """See that memory holds the run: that of the device, and beside it the copy of the state from
    which checkpoints are written.

    Args:
      copies: the run is recorded, so that it has checkpoints.

    Raises:
      ConfigError: it does not; with both numbers and the setting to lower.
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
    """Return how much the accelerator can still hold; None where JAX computes in the machine's own memory."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" not in stats:
        return None
    return Limit(
        stats["bytes_limit"] - stats.get("bytes_in_use", 0), f"the memory of {jax.local_devices()[0].device_kind}"
    )


def shares(built: Built, state: PyTree, config: Mapping[str, Any]) -> list[Share]:
    """Return what a run takes at once where it computes.

    Args:
      state: as the runner's `shapes()` tells it; a runner that only learns has neither replay nor environments in it.
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
    """Return the bytes of an evaluation's environments; none where they are programs, which other processes play."""
    if not isinstance(built.env, Environment):
        return 0
    return size(jax.eval_shape(lambda key: start(built.env, built.planner, key, episodes), jax.random.key(0)))


def size(tree: PyTree) -> int:
    """Return the bytes of a tree of arrays, or of what says their shapes."""
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
    """Return a setting with its value, as it would be typed."""
    section, _, key = setting.partition(".")
    value = config.get(section, {}).get(key)
    return setting if value is None else f"{setting}={value}"
