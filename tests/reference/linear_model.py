"""A small world model of sums and products, whose every head can be recomputed by hand:
for tests of what plans with it.
"""

import jax
import jax.numpy as jnp

from tandem.core import Array, EnvSpec, Key, Model, Params, TeamValue, TimeStep
from tests.reference.stepwise import SCALARS, plain_latents, stepwise


def linear_model(spec: EnvSpec, width: int = 6, continues: float = 1.0) -> Model:
    """Return a model with policy logits latent_i W + sum_j visible_ij S_j[a_j]; "logits"
    of value and reward are scalars.
    """
    num_agents, num_actions = spec.num_agents, spec.actions.size

    def init(key: Key) -> Params:
        shapes = {
            "obs": (spec.obs.size, width),
            "policy": (width, num_actions),
            "seen": (num_agents, num_actions, num_actions),
            "value": (num_agents, width),
            "committed": (num_agents, num_actions),
            "dynamics": (width, width),
            "played": (num_actions, width),
            "reward": (num_agents, num_actions),
        }
        return {
            name: jax.random.normal(k, shape)
            for k, (name, shape) in zip(jax.random.split(key, 8), shapes.items(), strict=True)
        }

    def played(action: Array) -> Array:
        return jax.nn.one_hot(action, num_actions)

    def policy(params: Params, latent: Array, action: Array, visible: Array) -> Array:
        said = jnp.einsum("...ja,jab->...jb", played(action), params["seen"])
        return latent @ params["policy"] + jnp.einsum("...ij,...jb->...ib", visible.astype(jnp.float32), said)

    def value(params: Params, latent: Array, action: Array, committed: Array) -> Array:
        told = played(action) * committed[..., None]
        return jnp.einsum("...jd,jd->...", latent, params["value"]) + jnp.einsum(
            "...ja,ja->...", told, params["committed"]
        )

    def imagine(params: Params, latent: Array, action: Array) -> tuple[Array, Array]:
        reward = jnp.einsum("...ja,ja->...", played(action), params["reward"])
        return jnp.tanh(latent @ params["dynamics"] + played(action) @ params["played"]), reward

    return Model(
        init=init,
        latents=plain_latents(lambda params, obs: jnp.tanh(obs @ params["obs"]), imagine, continues),
        team_policy=stepwise(policy),
        team_value=TeamValue(logits=value, codec=SCALARS),
    )


def indifferent(params: Params) -> Params:
    """Return parameters with which every action is worth the same, nothing, while the policy stays what it was."""
    return params | {name: jnp.zeros_like(params[name]) for name in ("value", "committed", "reward")}


def random_timestep(spec: EnvSpec, key: Key, batch: int) -> TimeStep:
    """Return what B environments might show, with random legal actions of which each agent has at least one."""
    obs_key, legal_key, sure_key = jax.random.split(key, 3)
    shape = (batch, spec.num_agents, spec.actions.size)
    sure = jax.nn.one_hot(jax.random.randint(sure_key, shape[:-1], 0, spec.actions.size), spec.actions.size, dtype=bool)
    return TimeStep(
        obs=jax.random.normal(obs_key, (*shape[:-1], spec.obs.size)),
        state=jnp.zeros((batch, spec.state.size)),
        legal=jax.random.bernoulli(legal_key, 0.6, shape) | sure,
        present=jnp.ones(shape[:-1], bool),
        alive=jnp.ones(shape[:-1], bool),
        reward=jnp.zeros(shape[:-1]),
        terminated=jnp.zeros(batch, bool),
        truncated=jnp.zeros(batch, bool),
        first=jnp.zeros(batch, bool),
        metrics={},
    )
