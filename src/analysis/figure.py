"""The picture of a comparison: for each task the curves with their intervals, and the final scores beside them."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from tandem.analysis.comparison import Group
from tandem.analysis.estimators import Estimate
from tandem.core.metrics import AUTOREGRESSIVE_RETURN, POLICY_RETURN, SEARCH_RETURN, TRAIN_RETURN

# Okabe and Ito's colours, which people with any colour vision tell apart, without the yellow that vanishes on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":")  # for more groups than colours
STYLE = {
    "text.parse_math": False,  # a $ in a run's name is a letter like others
    "svg.fonttype": "none",  # text stays text, so that it can be searched, and edited for a paper
    "svg.hashsalt": "tandem",  # so that the same runs give the same file
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e0e0e0",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
}
X_LABELS = {"steps": "environment steps", "time": "training time (minutes)"}
NAMES = {
    "eval/return": "team return of greedy episodes",
    SEARCH_RETURN: "team return of greedy episodes, with search",
    AUTOREGRESSIVE_RETURN: "team return of greedy episodes, no search, earlier agents' actions seen",
    POLICY_RETURN: "team return of greedy episodes, policy alone",
    TRAIN_RETURN: "team return while training",
}
EXPLANATION = (
    "Thick: interquartile mean (IQM) over seeds, where all of them have come; band and bar: its 95 % bootstrap "
    "interval; "
    "thin, dots: single seeds."
)
LEGEND_WIDTH = 110  # characters
FEW_POINTS = 15  # curves with fewer show each of them


def draw(
    found: Sequence[Group],
    finals: Mapping[int, Estimate],
    *,
    metric: str,
    axis: str,
    at: float | None,
    rng: np.random.Generator,
) -> Figure:
    """Return the figure: a row for each task, curves on the left, final scores on the right.

    Args:
      finals: the final score's estimate by the group's place in `found`.
    """
    tasks = list(dict.fromkeys(group.task for group in found))
    labels = list(dict.fromkeys(group.label for group in found))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.5, 3.9 * len(tasks) + 0.3 + 0.25 + 0.22 * len(labels)), layout="constrained")
        panels = figure.subplots(len(tasks), 2, width_ratios=(5, 2), squeeze=False)
        handles: dict[str, Any] = {}
        for (left, right), task in zip(panels, tasks):
            here = [(place, group) for place, group in enumerate(found) if group.task == task]
            for row, (place, group) in enumerate(here):
                look = _look(labels.index(group.label))
                handles.setdefault(group.label, _curve(left, group, look, rng))
                _final(right, row, group, finals[place], look, at)
            _dress(left, right, task, len(here), metric, axis, at)
        texts = ["\n".join(textwrap.wrap(_legend_text(label, found), LEGEND_WIDTH)) for label in handles]
        figure.legend(
            list(handles.values()),
            texts,
            loc="outside lower left",
            frameon=False,
            alignment="left",
            title=EXPLANATION,
            title_fontproperties={"size": 8},
        )
        return figure


def _look(index: int) -> dict[str, Any]:
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": STYLES[index // len(COLOURS) % len(STYLES)]}


def _curve(axes: Any, group: Group, look: Mapping[str, Any], rng: np.random.Generator) -> Any:
    """Draw the mean over seeds with its band; what only some seeds have reached stays
    thin. Return the legend's line.
    """
    for x, y in group.curves:
        axes.plot(x, y, linewidth=0.7, alpha=0.35, **look)
    known = group.mean_curve(rng)
    if known is None:
        return axes.plot([], [], linewidth=2.2, **look)[0]
    grid, estimate = known
    marker = "o" if len(grid) < FEW_POINTS else None
    if estimate.low is not None:
        axes.fill_between(grid, estimate.low, estimate.high, color=look["color"], alpha=0.18, linewidth=0)
    return axes.plot(grid, estimate.value, linewidth=2.2, marker=marker, markersize=4, **look)[0]


def _final(axes: Any, row: int, group: Group, final: Estimate, look: Mapping[str, Any], at: float | None) -> None:
    """Draw one group's final score with its interval, and the seeds as small dots, below those of the groups before."""
    scores = group.scores(at)
    scores = scores[np.isfinite(scores)]  # those that diverged have no place on the axis
    axes.plot(
        scores, np.full(len(scores), row), "o", markersize=3.5, alpha=0.45, color=look["color"], markeredgewidth=0
    )
    if final.low is not None:
        axes.plot(
            [final.low, final.high], [row, row], linewidth=7, alpha=0.3, color=look["color"], solid_capstyle="butt"
        )
    if np.isfinite(final.value):
        axes.plot([final.value] * 2, [row - 0.22, row + 0.22], linewidth=2.2, color=look["color"])


def _dress(left: Any, right: Any, task: str, num_groups: int, metric: str, axis: str, at: float | None) -> None:
    """Give two panels of a task their titles, labels and ticks."""
    left.set_title(task, loc="left", fontweight="bold")
    left.set_xlabel(X_LABELS[axis])
    left.set_ylabel(NAMES.get(metric, metric))
    left.margins(x=0.02)
    if axis == "steps":
        left.xaxis.set_major_formatter(EngFormatter(sep=""))
    right.set_title("final score" if at is None else f"score at {at:g}", loc="left")
    right.set_xlabel("IQM, 95 % interval, seeds")
    right.xaxis.set_major_locator(MaxNLocator(4))
    right.set_yticks([])
    right.set_ylim(num_groups - 0.5, -0.5)
    right.grid(False, axis="y")
    right.spines["left"].set_visible(False)


def _legend_text(label: str, found: Sequence[Group]) -> str:
    """Return what the legend says of a label: how many seeds, on all tasks together if these
    differ, and what is unfinished.
    """
    same = [group for group in found if group.label == label]
    counts = sorted({len(group.histories) for group in same})
    unfinished = sum(len(group.unfinished) for group in same)
    seeds = "1 seed: no interval" if counts == [1] else f"{'-'.join(str(count) for count in counts)} seeds"
    return f"{label}, {seeds}" + (f", {unfinished} unfinished" if unfinished else "")


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write the figure as PNG and SVG and return where."""
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    with matplotlib.rc_context(STYLE):
        figure.savefig(paths[0], dpi=160)
        figure.savefig(paths[1], metadata={"Date": None})
    return paths
