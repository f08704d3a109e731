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

from src.core import Array, Key, Params, PyTree, WorldModel, setting
from src.ops.values import state_value
from src.planners.optimism import make_loop


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchConfig:
    search: str = setting("gumbel_muzero", "tree search", choices=("gumbel_muzero", "muzero"))
    num_simulations: int = setting(16, "simulations per search", low=1, high=4096)
    max_depth: int = setting(0, "environment steps a simulation may look ahead; 0 = no limit", low=0)
    max_considered: int = setting(16, "gumbel_muzero: actions considered at the root", low=1)
    value_scale: float = setting(0.1, "gumbel_muzero: c_scale, weight of Q against the prior (eq. 8)", low=0.0)
    greedy_value_scale: float = setting(0.0, "gumbel_muzero: value_scale of play without exploration; 0 = the same", low=0.0)
    visit_offset: float = setting(50.0, "gumbel_muzero: c_visit (eq. 8)", low=0.0)
    value_expansion: int = setting(
        0, "steps by the policies imagined beyond every new state before the value head is asked; each calls the dynamics once more",
        low=0, high=64,
    )
    q_epsilon: float = setting(0.1, "Q-values are rescaled to [0, 1] by their range, this at least; in units of the scaled reward", low=1e-8)
    dirichlet_alpha: float = setting(0.3, "muzero: root noise concentration", low=1e-3)
    dirichlet_fraction: float = setting(0.25, "muzero: share of root noise in the prior while exploring", low=0.0, high=1.0)
    temperature_start: float = setting(1.0, "muzero: acting temperature over visit counts, first", low=0.0)
    temperature_end: float = setting(0.25, "muzero: acting temperature at the end of training", low=0.0)
    pb_c_init: float = setting(1.25, "muzero: c_1 of PUCT", low=0.0)
    pb_c_base: float = setting(19652.0, "muzero: c_2 of PUCT", low=1.0)
    os_rho: float = setting(0.0, "OS(lambda): share of a node's worst returns, of each depth, that its value leaves out", low=0.0, high=0.99)
    os_lambda: float = setting(1.0, "OS(lambda): weight of a return from one level deeper; 1 with os_rho=0 is the plain mean", low=0.0, high=1.0)


class Found(NamedTuple):
    """A search's answer for a batch of M roots."""

    action: Array  # [M] int32
    weights: Array  # [M, A] improved policy
    value: Array  # [M] root value
    advantage: Array  # [M, A] Q at the root less the model's own value there; zero for what was not tried


# search(params, key, root, recurrent_fn, legal [M, A], max_depth [] or None, explore, progress []) -> Found
Search = Callable[..., Found]


# worth(params, latent [M, N, D]) -> [M]: what an imagined state is worth before anybody has committed in it
Worth = Callable[[Params, Array], Array]


def make_worth(config: SearchConfig, model: WorldModel, discount: float) -> Worth:
    """Return how trees value the states that they imagine: the rewards of `value_expansion` more steps, and the value head after them.

    Model-based value expansion (Feinberg et al. 2018, section 3). In these steps everybody plays its policy's likeliest action:
    the children of a node then differ by the action that led to them, not by what was drawn afterwards.
    """

    def worth(params: Params, latent: Array) -> Array:
        rewards, weight = 0.0, 1.0
        for _ in range(config.value_expansion):
            joint = jnp.argmax(decentralised(model, params, latent), axis=-1).astype(jnp.int32)
            latent, reward = model.imagine(params, latent, joint)
            rewards, weight = rewards + weight * model.reward_mean(reward), weight * discount
        return rewards + weight * state_value(model, params, latent)

    return worth


def make_search(config: SearchConfig) -> Search:
    """Return the configured tree search over a batch of roots.

    Exploring, Gumbel search perturbs only the choice of action, never `weights`. PUCT mixes Dirichlet noise into the
    root prior, so its visit counts, and with them `weights`, feel the noise, as in MuZero.
    """
    search = {"gumbel_muzero": _gumbel_muzero, "muzero": _muzero}[config.search]
    plain = (config.os_rho, config.os_lambda) == (0.0, 1.0)
    return partial(search, config, jax.lax.fori_loop if plain else make_loop(config.os_rho, config.os_lambda))


def _gumbel_muzero(
    config: SearchConfig, loop: Callable, params: Params, key: Key, root: mctx.RootFnOutput, recurrent_fn, legal: Array,
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
        loop_fn=loop,
        qtransform=q_transform(config, value_scale(config, explore)),
        max_num_considered_actions=config.max_considered,
        gumbel_scale=1.0 if explore else 0.0,
    )
    return _found(output, output.action, legal)


def q_transform(config: SearchConfig, scale: float) -> Callable:
    """Return what makes Gumbel MuZero's scores of a node's Q-values (eq. 8), those of untried actions completed."""
    return partial(
        mctx.qtransform_completed_by_mix_value, value_scale=scale, maxvisit_init=config.visit_offset, epsilon=config.q_epsilon
    )


def value_scale(config: SearchConfig, explore: bool) -> float:
    """Return the weight of Q-values against the prior.

    Small steps away from the policy average the errors of Q-values over many visits. Play without exploration trains nothing
    and has this one step, so a longer one may be the better.
    """
    return config.value_scale if explore else config.greedy_value_scale or config.value_scale


def _muzero(
    config: SearchConfig, loop: Callable, params: Params, key: Key, root: mctx.RootFnOutput, recurrent_fn, legal: Array,
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
        loop_fn=loop,
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
    summary, raw_value = output.search_tree.summary(), output.search_tree.raw_values[:, mctx.Tree.ROOT_INDEX]
    advantage = jnp.where(summary.visit_counts > 0, summary.qvalues - raw_value[:, None], 0.0)
    return Found(action.astype(jnp.int32), weights, output.search_tree.node_values[:, mctx.Tree.ROOT_INDEX], advantage)


def decentralised(model: WorldModel, params: Params, latent: Array) -> Array:
    """Return every agent's logits [..., N, A] at latent [..., N, D] when nobody sees what the others do."""
    return model.reply(params, *model.begin(params, latent))


def rows(knowledge: PyTree, agent: Array) -> PyTree:
    """Return the one row [B, 1, ...] of agent [B] out of what everybody knows [B, N, ...]."""
    return jax.tree.map(lambda x: jax.vmap(lambda each, i: each[i][None])(x, agent), knowledge)
