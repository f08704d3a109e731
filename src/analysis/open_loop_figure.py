"""How far dreams are from what happens, by how many steps they look ahead: numbers, and a figure with four panels."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tandem.analysis.figure import COLOURS, STYLE
from tandem.ops.open_loop import Errors, Tally
from tandem.records.places import replace_file

IMAGINED, GUESS = COLOURS[0], "#808080"


def numbers(errors: Errors) -> dict[str, Any]:
    """Return lists by step, None where nothing counts: the accuracy of dreams, and of simple guesses beside it.

    Errors of rewards are shares of the rewards' variance over all steps.
    """
    spread = max(float(errors.reward_mean.overall()), 1e-12)
    ends, goes_on = (np.asarray(tally.count, float) for tally in (errors.end, errors.end_feared))
    rate = _means(Tally(ends, ends + goes_on))
    return {
        "obs_error": {"imagined": _means(errors.obs), "nothing_changes": _means(errors.obs_still)},
        "reward_error": {
            "imagined": _means(errors.reward, spread), "mean_reward": _means(errors.reward_mean, spread),
        },
        "reward_variance": float(errors.reward_mean.overall()),
        "end_probability": {
            "where_it_ended": _means(errors.end), "where_it_did_not": _means(errors.end_feared),
            "share_that_ended": rate,
        },
        "legal_agreement": {"imagined": _means(errors.legal), "nothing_changes": _means(errors.legal_still)},
        "rows": np.asarray(errors.reward.count, int).tolist(),
    }  # fmt: skip


def _means(tally: Tally, scale: float = 1.0) -> list[float | None]:
    total, count = np.asarray(tally.total, float), np.asarray(tally.count, float)
    return [float(t / c / scale) if c else None for t, c in zip(total, count, strict=True)]


def draw(found: Mapping[str, Any], title: str) -> Figure:
    """Return the figure of `numbers`."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 5.4), layout="constrained")
        figure.suptitle(title, fontsize=11)
        panels = figure.subplots(2, 2).ravel()
        _panel(panels[0], "error of observations", found["obs_error"], "mean absolute error")
        _panel(panels[1], "error of the expected reward", found["reward_error"], "share of the variance")
        _panel(panels[2], "an end that is expected", found["end_probability"], "probability")
        _panel(panels[3], "legal actions that are known", found["legal_agreement"], "share")
        panels[2].set_ylim(-0.03, 1.03)
        panels[3].set_ylim(top=1.005)
        for panel in panels[2:]:
            panel.set_xlabel("steps ahead, with the real actions")
        return figure


def _panel(axes: Any, title: str, lines: Mapping[str, Sequence[float | None]], unit: str) -> None:
    """Draw lines by step: the model's in colour, simple guesses in grey."""
    looks = [(IMAGINED, "-"), (GUESS, "--"), (GUESS, ":")]
    if "where_it_did_not" in lines:
        looks = [(IMAGINED, "-"), (IMAGINED, "--"), (GUESS, ":")]
    axes.set_title(title, loc="left")
    axes.set_ylabel(unit)
    for (name, values), (colour, style) in zip(lines.items(), looks):
        steps = np.arange(1, len(values) + 1)
        shown = np.array([np.nan if value is None else value for value in values])
        axes.plot(steps, shown, color=colour, linestyle=style, marker="o", markersize=3, label=name.replace("_", " "))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    if all(value is None for value in next(iter(lines.values()))):
        axes.text(0.5, 0.5, "no episode ended here", transform=axes.transAxes, ha="center", color=GUESS)
    axes.legend(frameon=False, fontsize=8)


def save(figure: Figure, found: Mapping[str, Any], out: Path) -> list[Path]:
    """Write `out`.png and `out`.json; return their paths."""
    paths = [out.with_name(f"{out.name}.png"), out.with_name(f"{out.name}.json")]
    with matplotlib.rc_context(STYLE):
        figure.savefig(paths[0], dpi=130)
    replace_file(paths[1], json.dumps(found, indent=1, allow_nan=False) + "\n")
    return paths
