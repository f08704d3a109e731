"""Draw the README's figure from recorded results: `python benchmarks/overview_figure.py`."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
from harness import RESULTS, ROOT
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from tandem.analysis.estimators import over_seeds
from tandem.analysis.figure import COLOURS, STYLE

PLANNERS = {
    "sequential": "in turns (mazero_seq)",
    "independent": "each by itself (mazero_ind)",
    "joint": "joint search (mazero_joint)",
}
WITHOUT_SEARCH = ("mappo_distil", "mappo", "mappo_ns")
Curves = Mapping[str, Sequence[Sequence[tuple[float, float]]]]  # of each seed, by label


def main() -> None:
    found = {name: json.loads((RESULTS / f"{name}.json").read_text()) for name in ("spread_gpu", "smax_distil")}
    with rc_context(STYLE):
        figure = Figure(figsize=(11, 3.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        draw(left, planners(found["spread_gpu"]["runs"]))
        left.set_title("Planners: eight agents, simple_spread, one GPU, 3 seeds", fontsize=10)
        left.set_ylabel("team return while exploring")
        draw(right, battles(found["smax_distil"]["runs"]))
        right.set_title("Without search: SMAX 3m, one core, 5 seeds", fontsize=10)
        right.set_ylabel("greedy battles won")
        note = "Line: interquartile mean over seeds; band: its 95 % bootstrap interval. "
        marks = (f"{name}.json at {one['machine']['commit']}" for name, one in found.items())
        figure.supxlabel(note + "Data: benchmarks/results, " + ", ".join(marks), fontsize=7, color="#666666")
        figure.savefig(ROOT / "docs" / "figures" / "overview.png", dpi=130)


def planners(runs: Sequence[Mapping]) -> Curves:
    """Return the training returns of each planner's seeds."""
    return {label: [run["train/return"] for run in runs if run["planner"] == name] for name, label in PLANNERS.items()}


def battles(runs: Sequence[Mapping]) -> Curves:
    """Return the wins on 3m of each algorithm's seeds, with its default configuration."""
    return {
        name: [
            [(steps, wins) for steps, _, _, wins in run["curve"]]
            for run in runs
            if run["config"] == name and run["map"] == "3m"
        ]
        for name in WITHOUT_SEARCH
    }


def draw(axes: Axes, curves: Curves) -> None:
    """Draw one line and one band for each label, as far as all of its seeds come."""
    rng = np.random.default_rng(0)
    for colour, (label, seeds) in zip(COLOURS, curves.items(), strict=False):
        length = min(len(seed) for seed in seeds)
        steps = [point[0] for point in seeds[0][:length]]
        found = over_seeds(np.array([[point[1] for point in seed[:length]] for seed in seeds]), rng)
        axes.plot(steps, found.value, color=colour, label=label)
        axes.fill_between(steps, found.low, found.high, color=colour, alpha=0.2, linewidth=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel("environment steps")
    axes.legend(frameon=False, fontsize=8, loc="lower right")


if __name__ == "__main__":
    main()
