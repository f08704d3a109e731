"""Draws the matrix games: a payoff table, or the stages of the two-step game, with the team's actions
framed.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from tandem.scene import Box, Colour, Drawing, Scene

BORDER = 0.4  # around a table of unit cells
CHOICE, GAME_A, GAME_B = 0, 1, 2  # situations of the two-step game


def of_pairs(payoff: np.ndarray, num_agents: int) -> Drawing:
    """Return how to draw a game of pairs: the table [A, A] of the payoffs of each pair of agents."""

    def scene(state: Any, action: np.ndarray | None) -> Scene:
        played = set() if action is None else set(itertools.combinations((int(a) for a in action), 2))
        caption = "over" if action is None else "rows: the first of each pair of agents, columns: the second"
        inks = (0, 1) if num_agents == 2 else ("text", "text")
        return _table(payoff, float(payoff.max()), played, inks, caption)

    return _drawing((len(payoff),) * num_agents, scene)


def of_table(payoff: np.ndarray) -> Drawing:
    """Return how to draw a table [A_1, ..., A_N]: the first two agents' payoffs given what the others play.

    When the game is over, the actions are not known any more, so the others are shown with their optimal actions.
    """
    best = tuple(int(i) for i in np.unravel_index(payoff.argmax(), payoff.shape))

    def scene(state: Any, action: np.ndarray | None) -> Scene:
        joint = best if action is None else tuple(int(a) for a in action)
        given = f"; agents 2 and up play {', '.join(map(str, joint[2:]))}" if joint[2:] else ""
        caption = f"{'over; ' * (action is None)}rows: agent 0, columns: agent 1{given}"
        played = set() if action is None else {joint[:2]}
        return _table(payoff[(slice(None), slice(None), *joint[2:])], float(payoff.max()), played, (0, 1), caption)

    return _drawing(payoff.shape, scene)


def of_stages(num_agents: int) -> Drawing:
    """Return how to draw the two-step game."""
    return _drawing((2,) * num_agents, _stages)


def _drawing(num_actions: tuple[int, ...], scene: Callable[[Any, Any], Scene]) -> Drawing:
    return Drawing(
        agents=tuple(f"agent {i}" for i in range(len(num_actions))),
        actions=tuple(tuple(str(action) for action in range(count)) for count in num_actions),
        scene=scene,
    )


def _table(
    payoff: np.ndarray, best: float, played: set[tuple[int, int]], inks: tuple[Colour, Colour], caption: str
) -> Scene:
    """Return a table [R, C]: best entries marked, played ones framed; `inks` are those of row and column names."""
    rows, columns = payoff.shape
    figures = [
        Box(column, rows - 1 - row, column + 1, rows - row, "good" if value == best else "paper", f"{value:g}")
        for (row, column), value in np.ndenumerate(payoff)
    ]
    figures += [Box(-BORDER, rows - 1 - i, 0, rows - i, "none", str(i), inks[0], "none") for i in range(rows)]
    figures += [Box(i, rows, i + 1, rows + BORDER, "none", str(i), inks[1], "none") for i in range(columns)]
    figures += [
        Box(column, rows - 1 - row, column + 1, rows - row, "none", "", "text", "chosen")
        for row, column in sorted(played)
    ]
    return Scene(tuple(figures), (-BORDER, -BORDER / 2, columns + BORDER / 2, rows + BORDER), caption)


def _stages(state: Any, action: np.ndarray | None) -> Scene:
    """Return the two-step game: the first agent's choice above, what each game pays below; the present
    one is framed.
    """
    situation = int(state.situation)
    cells = {
        CHOICE: [(0.5, 2.2, 2.5, 3.0, "agent 0 chooses")],
        GAME_A: [(-0.1, 0.6, 1.2, 1.4, "0: game A pays 7")],
        GAME_B: [(1.6, 0.6, 3.1, 1.4, "1: game B")],
    }
    pays = [
        (1.6 + 0.5 * i, 0.0, 2.1 + 0.5 * i, 0.5, text) for i, text in enumerate(("none 1: 0", "some 1: 1", "all 1: 8"))
    ]
    figures = [
        Box(left, bottom, right, top, "paper", label, "text", "chosen" if stage == situation else "grid")
        for stage, boxes in cells.items()
        for left, bottom, right, top, label in boxes
    ]
    figures += [Box(*box[:4], "good" if "8" in box[4] else "paper", box[4]) for box in pays]
    return Scene(tuple(figures), (-0.3, -0.2, 3.3, 3.2), "over" if situation > GAME_B else "")
