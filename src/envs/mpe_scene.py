"""Draws MPE: agents, landmarks, and each agent's push and message."""

from typing import Any

import numpy as np

from tandem.scene import Disc, Drawing, Line, Rebuild, Scene

MOVES = ("stay", "left", "right", "down", "up")
DIRECTIONS = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)], float)
VIEW, FARTHEST = 1.2, 2.5  # half the width that is always visible, and the largest half width for a lost agent
PUSH = 0.16  # length of the line that shows a push


def make(world: Any, team: tuple[str, ...], action_sizes: tuple[int, ...], rebuilt: Rebuild | None = None) -> Drawing:
    """Return how to draw a scenario.

    Args:
      world: JaxMARL's environment.
      team: names of the trained agents.
      action_sizes: number of actions of each; () if an action is a push in two directions.
      rebuilt: Drawing.rebuilt.
    """
    radii, colours, entities = np.asarray(world.rad), list(world.colour), world.num_entities

    def scene(state: Any, action: np.ndarray | None) -> Scene:
        positions = _apart(np.asarray(state.world.p_pos, float), world.num_agents)
        goals = _goals(state.world)
        figures: list = []
        for i in range(world.num_agents, entities):
            note = goals.get(i - world.num_agents, "")
            figures.append(Disc(positions[i][0], positions[i][1], radii[i], _hex(colours[i]), note=note))
        for i, name in enumerate(world.agents):
            mine = name in team
            said = _said(state.world, i)
            figures.append(
                Disc(
                    positions[i][0],
                    positions[i][1],
                    radii[i],
                    team.index(name) if mine else "opponent",
                    str(team.index(name)) if mine else "",
                    said,
                )
            )
            if mine and action is not None:
                me = team.index(name)
                direction = (
                    _direction(int(action[me]), action_sizes[me]) if action_sizes else np.clip(action[me], -1.0, 1.0)
                )
                figures += _push(positions[i], radii[i], direction, me)
        reach = float(np.clip(np.abs(positions).max() + 0.2, VIEW, FARTHEST))
        return Scene(tuple(figures), (-reach, -reach, reach, reach))

    return Drawing(
        agents=tuple(name.replace("_", " ") for name in team),
        actions=tuple(action_names(size) for size in action_sizes) or (("right", "up"),) * len(team),
        scene=scene,
        rebuilt=rebuilt,
    )


def action_names(size: int) -> tuple[str, ...]:
    """Return a name for each action of an agent with this many: five moves, some words, or both at once."""
    if size < len(MOVES):
        return tuple(f"say {word}" for word in range(size))
    words = size // len(MOVES)
    return MOVES if words == 1 else tuple(f"{move}, say {word}" for word in range(words) for move in MOVES)


def _direction(action: int, size: int) -> np.ndarray:
    """Return the push [2] of one of `size` actions."""
    return DIRECTIONS[action % len(MOVES)] if size >= len(MOVES) else DIRECTIONS[0]


def _push(position: np.ndarray, radius: float, direction: np.ndarray, colour: int) -> list[Line]:
    """Return the line from an agent's rim in the direction of its push, if any."""
    strength = float(np.linalg.norm(direction))
    if strength < 1e-3:
        return []
    start = position + radius * direction / strength
    end = start + PUSH * direction
    return [Line((start[0], start[1]), (end[0], end[1]), colour)]


def _apart(positions: np.ndarray, num_agents: int) -> np.ndarray:
    """Return positions [E, 2] for drawing; agents without positions (all at one point) stand in a row."""
    if num_agents < 2 or np.ptp(positions[:num_agents], axis=0).any():
        return positions
    row = np.stack([np.linspace(-0.7, 0.7, num_agents), np.zeros(num_agents)], axis=1)
    others = len(positions) - num_agents
    landmarks = np.stack([np.linspace(-0.4, 0.4, others), np.full(others, 0.7)], axis=1)
    return np.concatenate([row, landmarks])


def _goals(state: Any) -> dict[int, str]:
    """Return a note for each landmark that is a goal; with several goals, it names the agent."""
    if state.goal is None:
        return {}
    goals = np.atleast_1d(np.asarray(state.goal))
    if len(goals) == 1:
        return {int(goals[0]): "goal"}
    return {
        landmark: "goal of " + ", ".join(str(i) for i in np.flatnonzero(goals == landmark))
        for landmark in set(goals.tolist())
    }


def _said(state: Any, agent: int) -> str:
    """Return an agent's last message, if any."""
    words = np.asarray(state.c)
    heard = agent < len(words) and words[agent].size > 0 and words[agent].any()
    return f"says {int(np.argmax(words[agent]))}" if heard else ""


def _hex(colour: Any) -> str:
    return "#" + "".join(f"{int(np.clip(part, 0, 255)):02x}" for part in np.asarray(colour))
