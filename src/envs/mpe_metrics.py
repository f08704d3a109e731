"""Metrics of an MPE episode beside its return."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from tandem.core import Array, PyTree

Count = Callable[[PyTree, Array], dict[str, Array]]  # of JaxMARL's state after a step, and the reward [N] for it
Judge = Callable[[PyTree], dict[str, Array]]
OCCUPIED = 0.1  # MPE's own benchmark counts a landmark as occupied if an agent is this close


class Bounds(NamedTuple):
    """The team returns of an episode with score 0 and score 1."""

    random: float
    optimal: float  # of the controller of this name, which can be beaten
    num_steps: int = 25  # of the measured episodes; they hold for no other number


# Of simple_spread by its number of agents, means of 8,192 episodes (`python benchmarks/spread_bounds.py` at commit
# e91dc18). Standard errors grow with the team: of random play from 0.2 to 1.0, of the controller from 0.1 to 0.6.
SPREAD_BOUNDS = {
    2: Bounds(-42.2, -11.9),
    3: Bounds(-79.0, -23.0),
    4: Bounds(-124.0, -37.6),
    5: Bounds(-176.7, -55.4),
    6: Bounds(-236.2, -77.1),
    7: Bounds(-303.0, -103.7),
    8: Bounds(-377.9, -135.5),
    9: Bounds(-459.1, -172.9),
    10: Bounds(-548.9, -216.1),
}


def names(scenario: str, bounds: Bounds | None = None) -> tuple[str, ...]:
    """Return the keys of the metrics, sorted."""
    if scenario == "simple_spread":
        return ("collisions", "landmark_distance", "occupied", *(["score"] if bounds else []))
    return ("catches",) if _is_pursuit(scenario) else ()


def make(scenario: str, world: Any, bounds: Bounds | None = None) -> tuple[Count, Judge]:
    """Return (count, judge): per-step counts that are summed over an episode, and measures of its last state alone.

    Args:
      bounds: of simple_spread, if known; the metric "score" needs them.
    """
    if scenario == "simple_spread":
        score = _score(bounds) if bounds else _nothing
        return (
            lambda state, reward: _collisions(world, state) | score(state, reward),
            lambda state: _landmarks(world, state),
        )
    if _is_pursuit(scenario):
        return lambda state, reward: _catches(world, state), _nothing
    return _nothing, _nothing


def _is_pursuit(scenario: str) -> bool:
    return scenario.startswith(("simple_tag", "simple_facmac", "simple_world_comm"))


def _nothing(state: PyTree, reward: Array | None = None) -> dict[str, Array]:
    del state, reward
    return {}


def _score(bounds: Bounds) -> Count:
    """Return the count of a step's share in the score, (return - random) / (optimal - random) over a whole episode."""

    def count(state: PyTree, reward: Array) -> dict[str, Array]:
        del state
        return {"score": (reward.sum() - bounds.random / bounds.num_steps) / (bounds.optimal - bounds.random)}

    return count


def _distances(positions: Array, targets: Array) -> Array:
    """Return [M, L] distances from positions [M, 2] to targets [L, 2]."""
    return jnp.linalg.norm(positions[:, None] - targets[None, :], axis=-1)


def _collisions(world: Any, state: PyTree) -> dict[str, Array]:
    """Return the number of pairs of agents that touch."""
    agents = state.p_pos[: world.num_agents]
    touching = _distances(agents, agents) < world.rad[: world.num_agents, None] + world.rad[None, : world.num_agents]
    return {"collisions": jnp.triu(touching, k=1).sum().astype(jnp.float32)}


def _landmarks(world: Any, state: PyTree) -> dict[str, Array]:
    """Return how many landmarks have an agent on them, and the mean distance from a landmark to its nearest agent."""
    nearest = _distances(state.p_pos[: world.num_agents], state.p_pos[world.num_agents :]).min(axis=0)
    return {"landmark_distance": nearest.mean(), "occupied": (nearest < OCCUPIED).sum().astype(jnp.float32)}


def _catches(world: Any, state: PyTree) -> dict[str, Array]:
    """Return the number of pairs of a pursuer and a prey that touch."""
    hunters, prey = slice(0, world.num_adversaries), slice(world.num_adversaries, world.num_agents)
    touching = _distances(state.p_pos[hunters], state.p_pos[prey]) < world.rad[hunters, None] + world.rad[None, prey]
    return {"catches": touching.sum().astype(jnp.float32)}
