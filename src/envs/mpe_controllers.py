"""Scripted policies for MPE, with which learned teams are compared.

A controller act(obs [N, O]) -> action [N] sees the observations of the whole team at once, which no learned agent
does. It has no memory, so it assigns landmarks again at every step, even if the assignment changes on the way.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import optax

from tandem.core import Array
from tandem.envs.mpe_opponents import steer

DAMPING = 0.3  # share of the velocity that steering compensates


def nearest(distances: Array) -> Array:
    """Return the landmark [N] nearest to each agent, from distances [N, L]; agents may choose the same."""
    return jnp.argmin(distances, axis=1)


def identity(distances: Array) -> Array:
    """Return landmark i for agent i, whatever the distances [N, L]."""
    return jnp.arange(distances.shape[0])


def in_turns(distances: Array) -> Array:
    """Return the landmarks [N] of agents that choose in turn, each the nearest free one, from distances
    [N, L].
    """

    def take(free: Array, own: Array) -> tuple[Array, Array]:
        landmark = jnp.argmin(jnp.where(free, own, jnp.inf))
        return free.at[landmark].set(False), landmark

    return jax.lax.scan(take, jnp.ones(distances.shape[1], bool), distances)[1]


def optimal(distances: Array) -> Array:
    """Return a landmark for each agent [N], so that the sum of distances [N, N] is minimal (Hungarian algorithm)."""
    agents, landmarks = optax.assignment.hungarian_algorithm(distances)
    return jnp.zeros(distances.shape[0], landmarks.dtype).at[agents].set(landmarks)


SPREAD = {"nearest": nearest, "identity": identity, "in_turns": in_turns, "optimal": optimal}


def spread() -> dict[str, Callable[[Array], Array]]:
    """Return the controllers of simple_spread by name: each agent walks to the landmark that is assigned to it.

    No controller is an upper bound of the return. "optimal" minimises distances, not the return, and steering by five
    moves overshoots.
    """
    return {name: partial(_walk, assign) for name, assign in SPREAD.items()}


def _walk(assign: Callable[[Array], Array], obs: Array) -> Array:
    """Return the moves [N] to assigned landmarks, from simple_spread's observations [N, O]."""
    agents = jnp.arange(obs.shape[0])
    velocity = obs[:, :2]
    to_landmarks = obs[:, 4 : 4 + 2 * len(agents)].reshape(len(agents), len(agents), 2)
    landmark = assign(jnp.linalg.norm(to_landmarks, axis=-1))
    return steer(to_landmarks[agents, landmark] - DAMPING * velocity)
