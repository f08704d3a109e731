"""Exact world models of the matrix games, whose heads know what uniform play is worth:
searches tested apart from learning.
"""

import itertools
from functools import lru_cache

import jax
import jax.numpy as jnp

from tandem.core import Array, EnvSpec, Model, Params, TeamValue, TimeStep
from tandem.envs import matrix_game
from tandem.envs.matrix_game import Config, GameState
from tests.reference.stepwise import SCALARS, plain_latents, stepwise


def perfect_model(spec: EnvSpec) -> Model:
    """Return the exact model of the matrix game whose `tables` it is given as parameters.

    The latent is the one-hot situation, the policy uniform. The value is the expected return of uniform play by those
    who have not committed yet. All "logits" of value and reward are the scalars themselves.
    """
    joint = joint_actions(spec)
    base = spec.actions.size ** jnp.arange(spec.num_agents - 1, -1, -1)

    def situation(latent: Array) -> Array:
        return jnp.argmax(latent[..., 0, :], axis=-1)

    def value(params: Params, latent: Array, action: Array, committed: Array) -> Array:
        each = joint.reshape(*(1,) * (action.ndim - 1), *joint.shape)
        agrees = jnp.all(~committed[..., None, :] | (action[..., None, :] == each), axis=-1)
        return jnp.sum(agrees * params["worth"][situation(latent)], axis=-1) / jnp.sum(agrees, axis=-1)

    def imagine(params: Params, latent: Array, action: Array) -> tuple[Array, Array]:
        at, played = situation(latent), action @ base
        following = jax.nn.one_hot(params["following"][at, played], spec.state.size)
        return jnp.broadcast_to(following[..., None, :], latent.shape), params["reward"][at, played]

    def policy(params: Params, latent: Array, action: Array, visible: Array) -> Array:
        return jnp.zeros((*action.shape, spec.actions.size))

    return Model(
        init=lambda key: {},
        latents=plain_latents(lambda params, obs: obs[..., 1 : 1 + spec.state.size], imagine),
        team_policy=stepwise(policy),
        team_value=TeamValue(logits=value, codec=SCALARS),
    )


def joint_actions(spec: EnvSpec) -> Array:
    """Return all J = A^N joint actions [J, N]."""
    return jnp.array(list(itertools.product(range(spec.actions.size), repeat=spec.num_agents)), jnp.int32)


@lru_cache(maxsize=None)
def tables(config: Config, discount: float) -> dict[str, Array]:
    """Return a game by the environment's own account, over situations C (the last is over) and joint actions J.

    reward [C, J], following [C, J] situation, and worth [C, J]: the reward and the discounted
    value of uniform play after it.
    """
    env = matrix_game.make(config)
    over = env.spec.state.size - 1

    def outcome(situation: Array, action: Array) -> tuple[Array, Array]:
        state, timestep = env.step(jax.random.key(0), GameState(situation=situation), action)
        ended = situation == over
        return jnp.where(ended, 0.0, timestep.reward[0]), jnp.where(ended, over, state.situation)

    every = jnp.arange(over + 1)
    reward, following = jax.jit(jax.vmap(jax.vmap(outcome, (None, 0)), (0, None)))(every, joint_actions(env.spec))
    worth = reward
    for _ in range(env.spec.episode_limit):
        worth = reward + discount * jnp.mean(worth, axis=1)[following]
    return {"reward": reward, "following": following, "worth": worth}


def showing(spec: EnvSpec, situation: Array) -> TimeStep:
    """Return the time step [B, ...] that shows each of the situations [B], with every action legal."""
    batch, num_agents = situation.shape[0], spec.num_agents
    where = jax.nn.one_hot(situation, spec.state.size)
    ids = jnp.broadcast_to(jnp.eye(num_agents), (batch, num_agents, num_agents))
    common = jnp.broadcast_to(where[:, None], (batch, num_agents, spec.state.size))
    return TimeStep(
        obs=jnp.concatenate([jnp.ones((batch, num_agents, 1)), common, ids], axis=-1),
        state=where,
        legal=jnp.ones((batch, num_agents, spec.actions.size), bool),
        present=jnp.ones((batch, num_agents), bool),
        alive=jnp.ones((batch, num_agents), bool),
        reward=jnp.zeros((batch, num_agents)),
        terminated=jnp.zeros(batch, bool),
        truncated=jnp.zeros(batch, bool),
        first=jnp.ones(batch, bool),
        metrics={},
    )
