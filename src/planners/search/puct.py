"""MuZero's search by PUCT (Schrittwieser et al. 2020, appendix B)."""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
import mctx

from tandem.core import Array, Key, Params, setting
from tandem.planners.search.query import BudgetConfig, Found, Query, Search, found


@dataclasses.dataclass(frozen=True, kw_only=True)
class PuctConfig(BudgetConfig):
    dirichlet_alpha: float = setting(0.3, "search=muzero: concentration of the Dirichlet noise at the root", low=1e-3)
    dirichlet_fraction: float = setting(
        0.25, "search=muzero: share of the noise in the root's prior while exploring", low=0.0, high=1.0
    )
    temperature_start: float = setting(
        1.0, "search=muzero: temperature of acting by visit counts, at the start of training", low=0.0
    )
    temperature_end: float = setting(
        0.25, "search=muzero: temperature of acting by visit counts, at the end of training", low=0.0
    )
    pb_c_init: float = setting(1.25, "search=muzero: c_1 of PUCT", low=0.0)
    pb_c_base: float = setting(19652.0, "search=muzero: c_2 of PUCT", low=1.0)


def make_puct(config: PuctConfig, loop: Callable) -> Search:
    """Return the search. Dirichlet noise is mixed into the root's prior, so it affects the visit counts
    and `Found.weights`.

    Args:
      loop: runs the simulations, as jax.lax.fori_loop does.
    """
    start, end = config.temperature_start, config.temperature_end

    def search(params: Params, key: Key, query: Query, explore: bool, progress: Array) -> Found:
        output = mctx.muzero_policy(
            params,
            key,
            query.root,
            query.recurrent_fn,
            config.num_simulations,
            invalid_actions=~query.legal,
            max_depth=query.max_depth,
            loop_fn=loop,
            qtransform=partial(mctx.qtransform_by_parent_and_siblings, epsilon=config.q_epsilon),
            dirichlet_fraction=config.dirichlet_fraction if explore else 0.0,
            dirichlet_alpha=config.dirichlet_alpha,
            pb_c_init=config.pb_c_init,
            pb_c_base=config.pb_c_base,
            temperature=start + (end - start) * progress,
        )
        action = output.action if explore else jnp.argmax(output.action_weights, axis=-1).astype(jnp.int32)
        return found(output, action, query.legal)

    return search
