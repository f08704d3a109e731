"""Observations of simple_spread with room for a larger team: absent agents are zeros.

So a network with flat inputs has one shape for all team sizes. It is a baseline for networks that read entities, not a
good way to learn.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp

from tandem.core import Array, Environment, EnvSpec, TimeStep, Vector

OWN = 4  # velocity and place


def padded(env: Environment, room: int) -> Environment:
    """Return simple_spread with observations as long as those of a team of `room` agents.

    Raises:
      ValueError: the team is larger than `room`.
    """
    agents = env.spec.num_agents
    if room < agents:
        raise ValueError(f"env_args.room_for={room}: the team has {agents} agents; set at least this number")

    def roomy(timestep: TimeStep) -> TimeStep:
        obs = widened(timestep.obs, room)
        return timestep.replace(obs=obs, state=obs.reshape(-1))

    def reset(key: Array) -> tuple[Any, TimeStep]:
        state, timestep = env.reset(key)
        return state, roomy(timestep)

    def step(key: Array, state: Any, action: Array) -> tuple[Any, TimeStep]:
        state, timestep = env.step(key, state, action)
        return state, roomy(timestep)

    drawing = dataclasses.replace(env.drawing, rebuilt=None)  # which reads observations as they were
    return env._replace(spec=_spec(env.spec, room), reset=reset, step=step, drawing=drawing)


def widened(obs: Array, room: int) -> Array:
    """Return observations [N, O] of a team of N, padded for a larger one: landmarks, teammates and their messages."""
    agents = obs.shape[0]
    cuts = (OWN, OWN + 2 * agents, OWN + 2 * agents + 2 * (agents - 1))
    own, landmarks, others, messages = jnp.split(obs, cuts, axis=-1)
    parts = ((landmarks, room), (others, room - 1), (messages, room - 1))
    return jnp.concatenate([own, *(jnp.pad(x, ((0, 0), (0, 2 * n - x.shape[-1]))) for x, n in parts)], axis=-1)


def _spec(spec: EnvSpec, room: int) -> EnvSpec:
    size = OWN + 2 * room + 4 * (room - 1)
    return dataclasses.replace(spec, obs=Vector(size), state=Vector(spec.num_agents * size), groups=())
