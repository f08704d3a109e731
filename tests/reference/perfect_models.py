"""Exact world models of the matrix games, whose heads know what uniform play is worth: searches tested apart from learning."""

import itertools

import jax
import jax.numpy as jnp

from src.core import Array, EnvSpec, TimeStep, WorldModel
from src.envs import matrix_game
from src.envs.matrix_game import Config, GameState


def perfect_model(config: Config, discount: float) -> WorldModel:
    """Return the exact model of a matrix game: a uniform policy, and the expected return of uniform play as value.

    The latent is the one-hot situation. The value averages over the actions of those who have not committed yet. All
    "logits" are scalars: both means are the identity.
    """
    joint, reward, following, worth = tables(config, discount)
    num_actions, num_situations = int(joint.max()) + 1, reward.shape[0]
    base = num_actions ** jnp.arange(joint.shape[1] - 1, -1, -1)

    def situation(latent: Array) -> Array:
        return jnp.argmax(latent[..., 0, :], axis=-1)

    def value(params, latent: Array, action: Array, committed: Array) -> Array:
        each = joint.reshape(*(1,) * (action.ndim - 1), *joint.shape)
        agrees = jnp.all(~committed[..., None, :] | (action[..., None, :] == each), axis=-1)
        return jnp.sum(agrees * worth[situation(latent)], axis=-1) / jnp.sum(agrees, axis=-1)

    def imagine(params, latent: Array, action: Array) -> tuple[Array, Array]:
        at, played = situation(latent), action @ base
        following_latent = jax.nn.one_hot(following[at, played], num_situations)
        return jnp.broadcast_to(following_latent[..., None, :], latent.shape), reward[at, played]

    return WorldModel(
        init=lambda key: {},
        represent=lambda params, obs: obs[..., 1 : 1 + num_situations],
        policy=lambda params, latent, action, visible: jnp.zeros((*action.shape, num_actions)),
        value=value,
        imagine=imagine,
        project=None,
        foresee=None,
        value_mean=lambda x: x,
        reward_mean=lambda x: x,
        value_target=None,
        reward_target=None,
    )


def tables(config: Config, discount: float) -> tuple[Array, Array, Array, Array]:
    """Return joint [J, N], reward [C, J], following situation [C, J] and worth [C, J] of all joint actions J = A^N.

    Worth is the reward and the discounted value of uniform play from there on; the last situation is over.
    """
    env = matrix_game.make(config)
    over = matrix_game.NUM_SITUATIONS[config.scenario] - 1
    joint = jnp.array(list(itertools.product(range(env.spec.num_actions), repeat=env.spec.num_agents)), jnp.int32)

    def outcome(situation: Array, action: Array) -> tuple[Array, Array]:
        state, timestep = env.step(jax.random.key(0), GameState(situation=situation), action)
        ended = situation == over
        return jnp.where(ended, 0.0, timestep.reward[0]), jnp.where(ended, over, state.situation)

    reward, following = jax.vmap(jax.vmap(outcome, (None, 0)), (0, None))(jnp.arange(over + 1), joint)
    worth = reward
    for _ in range(env.spec.episode_limit):
        worth = reward + discount * jnp.mean(worth, axis=1)[following]
    return joint, reward, following, worth


def situations(config: Config, situation: Array) -> TimeStep:
    """Return the time step [B, ...] that shows each of the situations [B], with every action legal."""
    spec = spec_of(config)
    batch, num_agents, num_situations = situation.shape[0], spec.num_agents, spec.state_size
    where = jax.nn.one_hot(situation, num_situations)
    ids = jnp.broadcast_to(jnp.eye(num_agents), (batch, num_agents, num_agents))
    common = jnp.broadcast_to(where[:, None], (batch, num_agents, num_situations))
    return TimeStep(
        obs=jnp.concatenate([jnp.ones((batch, num_agents, 1)), common, ids], axis=-1),
        state=where,
        legal=jnp.ones((batch, num_agents, spec.num_actions), bool),
        alive=jnp.ones((batch, num_agents), bool),
        reward=jnp.zeros((batch, num_agents)),
        terminated=jnp.zeros(batch, bool),
        truncated=jnp.zeros(batch, bool),
        first=jnp.ones(batch, bool),
        metrics={},
    )


def spec_of(config: Config) -> EnvSpec:
    """Return the game's spec."""
    return matrix_game.make(config).spec
