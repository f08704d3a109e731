"""The figure of a transfer matrix: trained teams as rows, tested tasks as columns, scores as colours."""

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tandem.analysis.figure import STYLE
from tandem.analysis.transfer_matrix import WON, Row, Task, mean

COLOURS = "YlGnBu"  # from pale to dark, for any colour vision and in grey
DARK = 0.6  # scores above it are written in white
UNKNOWN = "#f0f0f0"
HOME = "#D55E00"
EXPLANATION = (
    "large: score, 0 random play, 1 the expert; small: mean return, and share of wins where there are any; "
    "framed: trained there"
)


def draw(rows: Sequence[Row], tasks: Sequence[Task]) -> Figure:
    """Return the figure; below the matrix are the returns of random play and of the expert."""
    with matplotlib.rc_context(STYLE | {"axes.grid": False, "axes.spines.left": False, "axes.spines.bottom": False}):
        size = (2.6 + 1.15 * len(tasks), 1.9 + 0.85 * len(rows))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        colours = matplotlib.colormaps[COLOURS]
        for y, row in enumerate(rows):
            for x, task in enumerate(tasks):
                _cell(axes, x, y, row, task, colours)
        axes.set_xlim(-0.5, len(tasks) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xticks(range(len(tasks)), [_column(task) for task in tasks])
        axes.set_yticks(range(len(rows)), [_label(row) for row in rows])
        axes.tick_params(length=0)
        axes.set_xlabel("tested on")
        scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(0.0, 1.0), COLOURS)
        figure.colorbar(scale, ax=axes, label="score", fraction=0.05, pad=0.02)
        figure.suptitle("\n".join(textwrap.wrap(EXPLANATION, int(size[0] * 16))), fontsize=8, x=0.01, ha="left")
        return figure


def _cell(axes: Any, x: int, y: int, row: Row, task: Task, colours: Any) -> None:
    """Draw one cell: its colour, its numbers, and a frame where the row was trained on the column."""
    score = row.score(task)
    shade = UNKNOWN if score is None else colours(min(max(score, 0.0), 1.0))
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=shade, edgecolor="white"))
    ink = "white" if score is not None and score > DARK else "black"
    axes.text(x, y - 0.08, "-" if score is None else f"{score:.2f}", ha="center", va="center", color=ink, fontsize=12)
    won = row.mean(task, WON)
    small = f"{row.mean(task):.1f}" + ("" if won is None else f", won {won:.2f}")
    axes.text(x, y + 0.27, small, ha="center", va="center", color=ink, fontsize=7)
    if row.home == task.label:
        frame = Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, fill=False, edgecolor=HOME, linewidth=2)
        axes.add_patch(frame)


def _column(task: Task) -> str:
    expert = "no expert" if task.expert is None else f"{task.expert_name} {mean(task.expert):.1f}"
    return f"{task.label}\n\nrandom {mean(task.random):.1f}\n{expert}"


def _label(row: Row) -> str:
    return textwrap.fill(row.label, 28) + (f"\n{len(row.runs)} seeds" if len(row.runs) > 1 else "")
