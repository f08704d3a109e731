"""Gumbel MuZero (Danihelka et al. 2022, "Policy improvement by planning with Gumbel")."""

import dataclasses
from collections.abc import Callable
from functools import partial

import mctx

from tandem.core import Array, Key, Params, setting
from tandem.planners.search.query import BudgetConfig, Found, Query, Search, found


@dataclasses.dataclass(frozen=True, kw_only=True)
class GumbelConfig(BudgetConfig):
    max_considered: int = setting(16, "search=gumbel_muzero: number of actions considered at the root", low=1)
    value_scale: float = setting(
        0.1, "search=gumbel_muzero: c_scale, the weight of Q-values against the prior (eq. 8)", low=0.0
    )
    greedy_value_scale: float = setting(
        0.0, "search=gumbel_muzero: value_scale in greedy play; 0 = as value_scale", low=0.0
    )
    visit_offset: float = setting(50.0, "search=gumbel_muzero: c_visit (eq. 8)", low=0.0)


def make_gumbel(config: GumbelConfig, loop: Callable) -> Search:
    """Return the search; while exploring, noise perturbs only the choice of action, never `Found.weights`.

    Args:
      loop: runs the simulations, as jax.lax.fori_loop does.
    """

    def search(params: Params, key: Key, query: Query, explore: bool, progress: Array) -> Found:
        del progress
        output = mctx.gumbel_muzero_policy(
            params,
            key,
            query.root,
            query.recurrent_fn,
            config.num_simulations,
            invalid_actions=~query.legal,
            max_depth=query.max_depth,
            loop_fn=loop,
            qtransform=q_transform(config, value_scale(config, explore)),
            max_num_considered_actions=config.max_considered,
            gumbel_scale=1.0 if explore else 0.0,
        )
        return found(output, output.action, query.legal)

    return search


def q_transform(config: GumbelConfig, scale: float) -> Callable:
    """Return the function from a node's Q-values to scores (eq. 8), which completes untried actions."""
    return partial(
        mctx.qtransform_completed_by_mix_value,
        value_scale=scale,
        maxvisit_init=config.visit_offset,
        epsilon=config.q_epsilon,
    )


def value_scale(config: GumbelConfig, explore: bool) -> float:
    """Return the weight of Q-values against the prior.

    In training, small steps away from the policy average the errors of Q-values over many visits. Greedy play does not
    train and takes only this one step, so a larger step may be better.
    """
    return config.value_scale if explore else config.greedy_value_scale or config.value_scale
