"""Shared by searching planners: a batch of trees, searched by either algorithm, and the values of imagined states."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from tandem.core import Array, Key, Model, Params, setting
from tandem.ops.values import state_value
from tandem.planners.policies.acting import decentralised
from tandem.planners.search.gumbel import GumbelConfig, make_gumbel
from tandem.planners.search.optimism import make_loop
from tandem.planners.search.puct import PuctConfig, make_puct
from tandem.planners.search.query import BudgetConfig, Search

ALGORITHMS = {"gumbel_muzero": make_gumbel, "muzero": make_puct}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TreeConfig(GumbelConfig, PuctConfig):
    search: str = setting("gumbel_muzero", "algorithm of the tree search", choices=tuple(ALGORITHMS))
    os_rho: float = setting(
        0.0, "OS(lambda): share of the worst returns of each depth that a node's value ignores", low=0.0, high=0.99
    )
    os_lambda: float = setting(
        1.0,
        "OS(lambda): weight of returns per level of depth; 1 with os_rho=0 is the plain mean",
        low=0.0,
        high=1.0,
    )


def make_search(config: TreeConfig) -> Search:
    """Return the configured tree search over a batch of roots."""
    plain = (config.os_rho, config.os_lambda) == (0.0, 1.0)
    return ALGORITHMS[config.search](config, jax.lax.fori_loop if plain else make_loop(config.os_rho, config.os_lambda))


def imagine(model: Model, params: Params, latent: Array, joint: Array, key: Key) -> tuple[Array, Array, Array]:
    """Return the outcome of a joint action [M, N] in latent [M, N, D]: the next latent, the reward [M] and the
    probability [M] that the episode continues.

    The key is folded once more, so that the model's draws are independent of the caller's other draws with it.
    """
    step = model.latents.imagine(params, latent, joint, jax.random.fold_in(key, 1))
    return step.latent, model.latents.reward.mean(step.reward), step.continues


# worth(params, latent [M, N, D], key) -> [M]: what an imagined state is worth before anybody has committed in it
Worth = Callable[[Params, Array, Key], Array]


def make_worth(config: BudgetConfig, model: Model, discount: float) -> Worth:
    """Return the value function of imagined states: the rewards of `value_expansion` more steps, plus the value head
    after them.

    Model-based value expansion (Feinberg et al. 2018, section 3). In these steps all agents play their policy's
    likeliest action, so that the children of a node differ only in the action that led to them.
    """

    def worth(params: Params, latent: Array, key: Key) -> Array:
        rewards, weight, goes_on = 0.0, 1.0, 1.0
        for i in range(config.value_expansion):
            joint = jnp.argmax(decentralised(model.team_policy, params, latent), axis=-1).astype(jnp.int32)
            latent, reward, continues = imagine(model, params, latent, joint, jax.random.fold_in(key, i))
            rewards, weight, goes_on = rewards + weight * (goes_on * reward), weight * discount, goes_on * continues
        return rewards + weight * (goes_on * state_value(model.team_value, params, latent))

    return worth
