"""Recorded runs in the JSON layout of marl-eval (Gorsane et al. 2022), for its plotting tools.

The layout is environment > task > algorithm > "seed_K" > "step_1", "step_2", ... > {"step_count", metric: [values]},
with "absolute_metrics" beside the steps. A record holds the mean over an evaluation's episodes, so each list has one
entry, which marl-eval takes. The absolute metrics are those of the evaluation with the best score.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tandem.analysis.comparison import Group
from tandem.analysis.histories import History
from tandem.records.places import replace_file

Run = dict[str, dict[str, Any]]


def write(groups: Sequence[Group], path: Path) -> list[str]:
    """Write the runs of all groups to a file; return notes on what marl-eval would refuse.

    Raises:
      OSError: the file cannot be written.
    """
    replace_file(path, json.dumps(layout(groups), indent=1) + "\n")
    return notes(groups)


def layout(groups: Sequence[Group]) -> dict[str, dict[str, dict[str, dict[str, Run]]]]:
    """Return the runs in marl-eval's layout."""
    found: dict = {}
    for group in groups:
        env, _, task = group.task.partition("/")
        algorithms = found.setdefault(env, {}).setdefault(task or env, {})
        algorithms[group.label] = {
            f"seed_{history.config['seed']}": _run(history, metric)
            for history, metric in zip(group.histories, group.metrics, strict=True)
        }
    return found


def _run(history: History, judged: str) -> Run:
    """Return one run: its evaluations in order, and the best of them by the series `judged`."""
    steps, scores = history.series[judged].steps, history.series[judged].values
    metrics = _metrics(history, judged)

    def at(place: int) -> dict[str, list[float]]:
        return {name: [float(values[place])] for name, values in metrics.items()}

    run: Run = {f"step_{i + 1}": {"step_count": int(step), **at(i)} for i, step in enumerate(steps)}
    return run | {"absolute_metrics": at(int(np.argmax(scores)))}


def _metrics(history: History, judged: str) -> Mapping[str, np.ndarray]:
    """Return the values [X] of all series that belong to the same player and stand at the same steps, by short name."""
    beginning = judged.rpartition("/")[0] + "/"
    steps = history.series[judged].steps
    return {
        name.removeprefix(beginning): series.values
        for name, series in sorted(history.series.items())
        if name == judged or (name.startswith(beginning) and np.array_equal(series.steps, steps))
    }


def notes(groups: Sequence[Group]) -> list[str]:
    """Return a sentence for each property that should be equal in all runs of an environment, but is not."""
    found = []
    for env in sorted({group.task.partition("/")[0] for group in groups}):
        mine = [group for group in groups if group.task.partition("/")[0] == env]
        counts = {len(run.series[name].steps) for group in mine for run, name in zip(group.histories, group.metrics)}
        seeds = {len(group.histories) for group in mine}
        found += [
            f"marl-eval needs the same number of {what} in all runs of an environment; those of {env} have {_span(of)}"
            for what, of in (("evaluations", counts), ("seeds", seeds)) if len(of) > 1
        ]  # fmt: skip
    return found


def _span(counts: set[int]) -> str:
    return f"{min(counts)} to {max(counts)}"
