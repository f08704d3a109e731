"""A game of one step with continuous actions and a known optimum: the numbers that a team
plays are to add up to a target.
"""

import dataclasses

import jax
import jax.numpy as jnp

from tandem.core import Array, EnvSpec, Environment, Key, Numbers, TimeStep, Vector, pytree

TARGET = 1.5  # or its negative, by lot; the team sees which
LEGAL = ((True, True), (True, False), (True, True))  # the second agent has one number, and one of padding


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    pass


@pytree
class SumState:
    target: Array  # [] float32


def make(config: Config) -> Environment:
    """Return the game: the team earns -(sum - target)^2, at best 0; playing nothing earns -2.25."""
    legal = jnp.array(LEGAL)
    num_agents, num_actions = legal.shape
    spec = EnvSpec(
        num_agents=num_agents,
        obs=Vector(1),
        state=Vector(1),
        actions=Numbers(num_actions),
        episode_limit=1,
        shared_reward=True,
    )

    def show(target: Array, reward: Array, over: bool) -> TimeStep:
        return TimeStep(
            obs=jnp.full((num_agents, 1), target),
            state=target[None],
            legal=legal,
            present=jnp.ones(num_agents, bool),
            alive=jnp.ones(num_agents, bool),
            reward=jnp.full(num_agents, reward),
            terminated=jnp.array(over),
            truncated=jnp.array(False),
            first=jnp.array(not over),
            metrics={},
        )

    def reset(key: Key) -> tuple[SumState, TimeStep]:
        target = jnp.where(jax.random.bernoulli(key), TARGET, -TARGET)
        return SumState(target=target), show(target, jnp.zeros(()), False)

    def step(key: Key, state: SumState, action: Array) -> tuple[SumState, TimeStep]:
        total = jnp.sum(jnp.clip(action, -1.0, 1.0))  # padding is zero, or it would count
        return state, show(state.target, -((total - state.target) ** 2), True)

    return Environment(spec=spec, reset=reset, step=step)
