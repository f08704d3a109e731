"""Fitting a world model to recorded rows before anybody acts: the settings, and who of the parameters then learns."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from tandem.core import Key, Params, RunPlan, SearchExtras, Transition, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    pretrain: str = setting(
        "",
        "recorded rows that the world model learns from before anybody acts: a dataset's folder; or a recorded run, "
        "its number or its folder; '' = none",
    )
    pretrain_updates: int = setting(1000, "pretrain: updates of the world model on these rows", low=1)
    pretrain_mode: str = setting(
        "train", "pretrain: afterwards the world model learns on, or stays as it is while all else learns",
        choices=("train", "freeze"),
    )  # fmt: skip

    @property
    def frozen(self) -> bool:
        return self.pretrain_mode == "freeze"


def pretrain_problems(config: PretrainConfig, plan: RunPlan) -> list[str]:
    """Return a sentence for each of these settings that cannot work in this run."""
    if config.frozen and not config.pretrain:
        return [
            "learner_args.pretrain_mode=freeze: nothing was learned that could be kept; name recorded rows by "
            "learner_args.pretrain"
        ]
    if config.pretrain and plan.clock == "updates":
        return [
            f"learner_args.pretrain={config.pretrain}: it comes before acting, and in a run on recorded rows nobody "
            "acts; set runner_args.rows alone, or choose runner=jax_sync"
        ]
    return []


class Share(NamedTuple):
    """Which parameters learn."""

    of: Callable[[Params], Params]
    into: Callable[[Params, Params], Params]  # all parameters, those that have learned -> all


ALL = Share(lambda params: params, lambda params, learned: learned)


def all_but(names: Iterable[str]) -> Share:
    """Return the share of all parameters but those with these names at the top.

    Raises:
      ValueError: the network does not say which ones are meant.
    """
    left = frozenset(names)
    if not left:
        raise ValueError(
            "learner_args.pretrain: the network does not say which of its parameters are its world model's "
            "(Model.world, Model.policy)"
        )
    return Share(
        lambda params: {name: part for name, part in params.items() if name not in left},
        lambda params, learned: params | learned,
    )


def without_search(traj: Transition, key: Key) -> Transition:
    """Return rows [B, T, ...] with extras as if a search had found all legal actions alike, in an order by lot."""
    policy = traj.legal / jnp.maximum(jnp.sum(traj.legal, axis=-1, keepdims=True), 1)
    rank = jnp.argsort(jax.random.uniform(key, traj.action.shape), axis=-1).astype(jnp.int32)
    value = jnp.zeros(traj.first.shape)
    return traj.replace(extras=SearchExtras(policy=policy, value=value, rank=rank, committed=traj.action))
