"""What the searching planners share over mctx: settings, one call for both algorithms, and the two mask conventions.

Gumbel MuZero: Danihelka et al. 2022, "Policy improvement by planning with Gumbel". MuZero's PUCT: Schrittwieser et al.
2020, appendix B.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mctx

from src.core import Array, Key, Params, setting
from src.ops.distributions import draw, draw_by_luck

__all__ = ["Found", "Search", "SearchConfig", "draw", "draw_by_luck", "make_search"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchConfig:
    search: str = setting("gumbel_muzero", "tree search", choices=("gumbel_muzero", "muzero"))
    num_simulations: int = setting(16, "simulations per search", low=1, high=4096)
    max_depth: int = setting(0, "environment steps a simulation may look ahead; 0 = no limit", low=0)
    max_considered: int = setting(16, "gumbel_muzero: actions considered at the root", low=1)
    value_scale: float = setting(0.1, "gumbel_muzero: c_scale, weight of Q against the prior (eq. 8)", low=0.0)
    visit_offset: float = setting(50.0, "gumbel_muzero: c_visit (eq. 8)", low=0.0)
    q_epsilon: float = setting(0.1, "Q-values closer than this, in units of return, are not told apart", low=1e-8)
    dirichlet_alpha: float = setting(0.3, "muzero: root noise concentration", low=1e-3)
    dirichlet_fraction: float = setting(0.25, "muzero: share of root noise in the prior while exploring", low=0.0, high=1.0)
    temperature_start: float = setting(1.0, "muzero: acting temperature over visit counts, first", low=0.0)
    temperature_end: float = setting(0.25, "muzero: acting temperature at the end of training", low=0.0)
    pb_c_init: float = setting(1.25, "muzero: c_1 of PUCT", low=0.0)
    pb_c_base: float = setting(19652.0, "muzero: c_2 of PUCT", low=1.0)


class Found(NamedTuple):
    """A search's answer for a batch of M roots."""

    action: Array  # [M] int32
    weights: Array  # [M, A] improved policy
    value: Array  # [M] root value


# search(params, key, root, recurrent_fn, legal [M, A], max_depth [] or None, explore, progress []) -> Found
Search = Callable[..., Found]


def make_search(config: SearchConfig) -> Search:
    """Return the configured tree search over a batch of roots.

    Exploring, Gumbel search perturbs only the choice of action, never `weights`. PUCT mixes Dirichlet noise into the
    root prior, so its visit counts, and with them `weights`, feel the noise, as in MuZero.
    """
    search = {"gumbel_muzero": _gumbel_muzero, "muzero": _muzero}[config.search]
    return partial(search, config)


def _gumbel_muzero(
    config: SearchConfig, params: Params, key: Key, root: mctx.RootFnOutput, recurrent_fn, legal: Array,
    max_depth: Array | int | None, explore: bool, progress: Array,
) -> Found:
    del progress
    output = mctx.gumbel_muzero_policy(
        params,
        key,
        root,
        recurrent_fn,
        config.num_simulations,
        invalid_actions=~legal,
        max_depth=max_depth,
        qtransform=partial(
            mctx.qtransform_completed_by_mix_value,
            value_scale=config.value_scale,
            maxvisit_init=config.visit_offset,
            epsilon=config.q_epsilon,
        ),
        max_num_considered_actions=config.max_considered,
        gumbel_scale=1.0 if explore else 0.0,
    )
    return _found(output, output.action, legal)


def _muzero(
    config: SearchConfig, params: Params, key: Key, root: mctx.RootFnOutput, recurrent_fn, legal: Array,
    max_depth: Array | int | None, explore: bool, progress: Array,
) -> Found:
    start, end = config.temperature_start, config.temperature_end
    output = mctx.muzero_policy(
        params,
        key,
        root,
        recurrent_fn,
        config.num_simulations,
        invalid_actions=~legal,
        max_depth=max_depth,
        qtransform=partial(mctx.qtransform_by_parent_and_siblings, epsilon=config.q_epsilon),
        dirichlet_fraction=config.dirichlet_fraction if explore else 0.0,
        dirichlet_alpha=config.dirichlet_alpha,
        pb_c_init=config.pb_c_init,
        pb_c_base=config.pb_c_base,
        temperature=start + (end - start) * progress,
    )
    action = output.action if explore else jnp.argmax(output.action_weights, axis=-1).astype(jnp.int32)
    return _found(output, action, legal)


def _found(output: mctx.PolicyOutput, action: Array, legal: Array) -> Found:
    weights = jnp.where(legal, output.action_weights, 0.0)
    weights = weights / jnp.sum(weights, axis=-1, keepdims=True)
    return Found(action.astype(jnp.int32), weights, output.search_tree.node_values[:, mctx.Tree.ROOT_INDEX])
