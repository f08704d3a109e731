"""What searching planners ask: a batch of trees, searched by either algorithm, and what imagined states are worth."""

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
        0.0, "OS(lambda): share of a node's worst returns, of each depth, that its value leaves out", low=0.0, high=0.99
    )
    os_lambda: float = setting(
        1.0,
        "OS(lambda): weight of a return from one level deeper; 1 with os_rho=0 is the plain mean",
        low=0.0,
        high=1.0,
    )


def make_search(config: TreeConfig) -> Search:
    """Return the configured tree search over a batch of roots."""
    plain = (config.os_rho, config.os_lambda) == (0.0, 1.0)
    return ALGORITHMS[config.search](config, jax.lax.fori_loop if plain else make_loop(config.os_rho, config.os_lambda))


def imagine(model: Model, params: Params, latent: Array, joint: Array, key: Key) -> tuple[Array, Array, Array]:
    """Return what a joint action [M, N] makes of latent [M, N, D]: the next latent, the reward [M] and the odds of
    going on [M].

    The key is folded once more: what else a caller draws with it is independent of what the model draws.
    """
    step = model.latents.imagine(params, latent, joint, jax.random.fold_in(key, 1))
    return step.latent, model.latents.reward.mean(step.reward), step.continues


# worth(params, latent [M, N, D], key) -> [M]: what an imagined state is worth before anybody has committed in it
Worth = Callable[[Params, Array, Key], Array]


def make_worth(config: BudgetConfig, model: Model, discount: float) -> Worth:
    """Return how trees value the states that they imagine: the rewards of `value_expansion` more steps, and the value
    head after them.

    Model-based value expansion (Feinberg et al. 2018, section 3). In these steps everybody plays its policy's
    likeliest action:
    the children of a node then differ by the action that led to them, not by what was drawn afterwards.
    """

    def worth(params: Params, latent: Array, key: Key) -> Array:
        rewards, weight, goes_on = 0.0, 1.0, 1.0
        for i in range(config.value_expansion):
            joint = jnp.argmax(decentralised(model.team_policy, params, latent), axis=-1).astype(jnp.int32)
            latent, reward, continues = imagine(model, params, latent, joint, jax.random.fold_in(key, i))
            rewards, weight, goes_on = rewards + weight * (goes_on * reward), weight * discount, goes_on * continues
        return rewards + weight * (goes_on * state_value(model.team_value, params, latent))

    return worth
