"""Policies of the MPE agents that are not trained.

Each gets JaxMARL's whole state, so an opponent may know more than an agent in its place would see.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tandem.core import Array, Key, PyTree
from tandem.envs.names import check_name

Oppose = Callable[[Key, PyTree], dict[str, Array]]

REACHED = 0.02  # an agent stops pushing when it is closer than this to its target


def make(opponent: str, scenario: str, world: Any, others: tuple[str, ...], sizes: dict[str, int]) -> Oppose:
    """Return oppose(key, state) -> {agent: action []} for all agents in `others`.

    Args:
      opponent: 'random', or a policy that fits the scenario and side.
      scenario: short name of the scenario.
      world: JaxMARL's environment.
      others: names of the agents to play.
      sizes: number of actions of every agent.
    """
    indices = jnp.array([world.agents.index(agent) for agent in others], jnp.int32)
    side = "none" if not others else "agents" if world.agents[-1] in others else "adversaries"
    if scenario == "simple_crypto":
        side = "eve" if side == "none" or others == ("eve_0",) else "alice and bob"
    policies = _policies(scenario, side)
    what = f"env_args.opponent of {scenario}" + ("" if others else " (which has no opponents)")
    check_name(what, opponent, policies)
    policy = policies[opponent]
    num_actions = jnp.array([sizes[agent] for agent in others], jnp.int32)

    def oppose(key: Key, state: PyTree) -> dict[str, Array]:
        moves = policy(world, key, state, indices, num_actions)
        return {agent: moves[i] for i, agent in enumerate(others)}

    return oppose


def _policies(scenario: str, side: str) -> dict[str, Callable]:
    """Return the names of the policies for the untrained side of a scenario."""
    if side == "none":
        return {"random": _random}
    if scenario == "simple_crypto":
        return {"random": _random} | ({"echo": _echo} if side == "eve" else {"encrypt": _encrypt})
    if scenario in ("simple_push", "simple_adversary"):
        return {"random": _random, "goal": _goal} | ({"guess": _guess} if side == "adversaries" else {})
    if side == "adversaries":
        return {"random": _random, "chase": _chase}
    builtin = {"builtin": _random} if scenario.startswith("simple_facmac") else {}
    return {"random": _random, "flee": _flee} | builtin


def steer(aim: Array) -> Array:
    """Return the moves [...] int32 along the longer axis of aim [..., 2]: 1 left, 2 right, 3 down, 4 up, 0 none."""
    x, y = aim[..., 0], aim[..., 1]
    along_x, along_y = jnp.where(x > 0, 2, 1), jnp.where(y > 0, 4, 3)
    move = jnp.where(jnp.abs(x) > jnp.abs(y), along_x, along_y)
    return jnp.where(jnp.abs(aim).max(axis=-1) < REACHED, 0, move).astype(jnp.int32)


def _to_nearest(positions: Array, targets: Array) -> Array:
    """Return the vectors [M, 2] from positions [M, 2] to the nearest of targets [L, 2] each."""
    vectors = targets[None, :] - positions[:, None]
    nearest = jnp.argmin(jnp.linalg.norm(vectors, axis=-1), axis=1)
    return vectors[jnp.arange(positions.shape[0]), nearest]


def _random(world: Any, key: Key, state: PyTree, indices: Array, num_actions: Array) -> Array:
    """All actions are equally likely."""
    return jax.random.randint(key, indices.shape, 0, num_actions)


def _chase(world: Any, key: Key, state: PyTree, indices: Array, num_actions: Array) -> Array:
    """Each pursuer runs to the nearest prey; the leader of simple_world_comm stays silent."""
    prey = state.p_pos[world.num_adversaries : world.num_agents]
    return steer(_to_nearest(state.p_pos[indices], prey))


def _flee(world: Any, key: Key, state: PyTree, indices: Array, num_actions: Array) -> Array:
    """Each prey runs from the nearest pursuer, and turns back at the edge of the field."""
    positions = state.p_pos[indices]
    away = -_to_nearest(positions, state.p_pos[: world.num_adversaries])
    outside = jnp.maximum(jnp.abs(positions) - 0.8, 0.0) * jnp.sign(positions)
    return steer(away / (jnp.linalg.norm(away, axis=-1, keepdims=True) + 1e-6) - 10.0 * outside)


def _goal(world: Any, key: Key, state: PyTree, indices: Array, num_actions: Array) -> Array:
    """All run to the goal, even those whose observations do not show it."""
    return steer(state.p_pos[world.num_agents + state.goal] - state.p_pos[indices] - 0.3 * state.p_vel[indices])


def _guess(world: Any, key: Key, state: PyTree, indices: Array, num_actions: Array) -> Array:
    """All run to the landmark that is closest to an agent of the other side, as a guess of the
    goal.
    """
    landmarks = state.p_pos[world.num_agents :]
    guarded = state.p_pos[world.num_adversaries : world.num_agents]
    distances = jnp.linalg.norm(landmarks[:, None] - guarded[None, :], axis=-1).min(axis=1)
    return steer(landmarks[jnp.argmin(distances)] - state.p_pos[indices] - 0.3 * state.p_vel[indices])


def _echo(world: Any, key: Key, state: PyTree, indices: Array, num_actions: Array) -> Array:
    """Eve guesses that alice's last message is the goal."""
    return jnp.argmax(state.c[1])[None].astype(jnp.int32)


def _encrypt(world: Any, key: Key, state: PyTree, indices: Array, num_actions: Array) -> Array:
    """Alice sends goal + key modulo two, and bob subtracts the key."""
    secret = jnp.argmax(state.private_key)
    message = (jnp.argmax(state.goal_colour) + secret) % 2
    decoded = (jnp.argmax(state.c[1]) - secret) % 2
    return jnp.stack([message, decoded]).astype(jnp.int32)
