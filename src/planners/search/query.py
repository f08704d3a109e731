"""A batch of searches and their results, whatever the algorithm."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import mctx

from tandem.core import Array, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class BudgetConfig:
    num_simulations: int = setting(16, "number of simulations per search", low=1, high=4096)
    max_depth: int = setting(0, "most environment steps that a simulation looks ahead; 0 = no limit", low=0)
    value_expansion: int = setting(
        0,
        "policy steps simulated before bootstrapping from the value head; costs one dynamics call per step",
        low=0,
        high=64,
    )
    q_epsilon: float = setting(
        0.1,
        "smallest range of Q-values that is used for rescaling, in units of the scaled reward "
        "(learner_args.reward_scale); a smaller range is damped",
        low=1e-8,
    )


class Query(NamedTuple):
    """M searches, each from its own root."""

    root: mctx.RootFnOutput
    recurrent_fn: Callable  # params, key, action [M], node [M, ...] -> mctx.RecurrentFnOutput, node
    legal: Array  # [M, A] bool, legal actions at the roots
    max_depth: Array | int | None  # levels of the tree; None = no limit


class Found(NamedTuple):
    """A search's result for a batch of M roots."""

    action: Array  # [M] int32
    weights: Array  # [M, A] improved policy
    value: Array  # [M] root value
    advantage: Array  # [M, A] Q at the root minus the model's own value there; zero for untried actions


# search(params, key, query, explore, progress []) -> Found
Search = Callable[..., Found]


def found(output: mctx.PolicyOutput, action: Array, legal: Array) -> Found:
    """Return an algorithm's result, read from its tree; `action` [M] is the one to play."""
    root = mctx.Tree.ROOT_INDEX
    weights = jnp.where(legal, output.action_weights, 0.0)
    weights = weights / jnp.sum(weights, axis=-1, keepdims=True)
    summary, raw_value = output.search_tree.summary(), output.search_tree.raw_values[:, root]
    advantage = jnp.where(summary.visit_counts > 0, summary.qvalues - raw_value[:, None], 0.0)
    return Found(action.astype(jnp.int32), weights, output.search_tree.node_values[:, root], advantage)
