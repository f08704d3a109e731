"""What the matrix games look like: the payoff table, or the stages of the two-step game, with what the team plays framed."""

import itertools
from typing import Any

import numpy as np

from src.scene import Box, Drawing, Scene

BORDER = 0.4  # around a table of unit cells
CHOICE, GAME_A, GAME_B = 0, 1, 2  # situations of the two-step game


def make(num_agents: int, num_actions: int, payoff: np.ndarray | None) -> Drawing:
    """Return how to draw a game: by its two-agent payoffs [A, A], or, without, as the two-step game."""
    scene = _stages if payoff is None else lambda state, action: _table(payoff, action)
    return Drawing(
        agents=tuple(f"agent {i}" for i in range(num_agents)),
        actions=(tuple(str(action) for action in range(num_actions)),) * num_agents,
        scene=scene,
    )


def _table(payoff: np.ndarray, action: np.ndarray | None) -> Scene:
    """Return the table: rows are the actions of a pair's first agent, columns those of its second."""
    size = len(payoff)
    played = set() if action is None else set(itertools.combinations((int(a) for a in action), 2))
    figures = [
        Box(column, size - 1 - row, column + 1, size - row, "good" if value == payoff.max() else "paper", f"{value:g}")
        for (row, column), value in np.ndenumerate(payoff)
    ]
    first, second = (0, 1) if action is None or len(action) == 2 else ("text", "text")
    figures += [Box(-BORDER, size - 1 - i, 0, size - i, "none", str(i), first, "none") for i in range(size)]
    figures += [Box(i, size, i + 1, size + BORDER, "none", str(i), second, "none") for i in range(size)]
    figures += [Box(column, size - 1 - row, column + 1, size - row, "none", "", "text", "chosen") for row, column in sorted(played)]
    caption = "over" if action is None else "rows: the first of each pair of agents, columns: the second"
    return Scene(tuple(figures), (-BORDER, -BORDER / 2, size + BORDER / 2, size + BORDER), caption)


def _stages(state: Any, action: np.ndarray | None) -> Scene:
    """Return the two-step game: the first agent's choice above, what each game pays below; the present one is framed."""
    situation = int(state.situation)
    cells = {
        CHOICE: [(0.5, 2.2, 2.5, 3.0, "agent 0 chooses")],
        GAME_A: [(-0.1, 0.6, 1.2, 1.4, "0: game A pays 7")],
        GAME_B: [(1.6, 0.6, 3.1, 1.4, "1: game B")],
    }
    pays = [(1.6 + 0.5 * i, 0.0, 2.1 + 0.5 * i, 0.5, text) for i, text in enumerate(("none 1: 0", "some 1: 1", "all 1: 8"))]
    figures = [
        Box(left, bottom, right, top, "paper", label, "text", "chosen" if stage == situation else "grid")
        for stage, boxes in cells.items()
        for left, bottom, right, top, label in boxes
    ]
    figures += [Box(*box[:4], "good" if "8" in box[4] else "paper", box[4]) for box in pays]
    return Scene(tuple(figures), (-0.3, -0.2, 3.3, 3.2), "over" if situation > GAME_B else "")
