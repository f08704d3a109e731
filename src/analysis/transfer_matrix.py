"""Scores of teams on other tasks than their own: a matrix of trained-on x tested-on, and its summary.

A score is (R - R_random) / (R_expert - R_random) of mean returns on the task tested on: 0 is random play, 1 the expert.
"""

import csv
import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Summary = Mapping[str, Mapping[str, float | None]]  # {metric: {"mean", "stderr", "min", "max"}}
WON = "won"
COLUMNS = (
    "run", "trained_on", "tested_on", "home", "seed", "step", "episodes", "score", "return", "return_stderr", "won",
    "random_return", "expert_return", "expert",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Task:
    """A column of the matrix."""

    label: str
    random: Summary
    expert: Summary | None = None  # None: no good player is known
    expert_name: str = ""

    def score(self, played: Summary) -> float | None:
        """Return the score of the episodes on this task; None without an expert that beats random play."""
        if self.expert is None:
            return None
        lowest, highest = mean(self.random), mean(self.expert)
        return (mean(played) - lowest) / (highest - lowest) if highest > lowest else None


@dataclasses.dataclass(frozen=True)
class Trained:
    """One run and its returns."""

    run: str
    seed: int
    step: int
    played: Mapping[str, Summary]  # {task's label: ...}


@dataclasses.dataclass(frozen=True)
class Row:
    """Runs that differ only in their seeds."""

    label: str
    trained_on: str
    home: str | None  # the label of the task that they were trained on; None if that is not among those tested on
    runs: Sequence[Trained]

    def score(self, task: Task) -> float | None:
        """Return the mean score over the runs."""
        found = [task.score(run.played[task.label]) for run in self.runs]
        return None if None in found else float(np.mean(found))

    def mean(self, task: Task, metric: str = "return") -> float | None:
        """Return a metric's mean over the runs; None if the task has no such metric."""
        found = [mean(run.played[task.label], metric) for run in self.runs]
        return None if None in found else float(np.mean(found))


def mean(played: Summary, metric: str = "return") -> float | None:
    """Return the mean of a metric; None if there is none."""
    return played[metric]["mean"] if metric in played else None


def short(rows: Sequence[Row], tasks: Sequence[Task]) -> dict[str, Any]:
    """Return the mean score at home (the diagonal) and elsewhere, and the worst of all with its place.

    Missing scores do not count; a mean of nothing is None.
    """
    cells = [(row, task, row.score(task)) for row in rows for task in tasks]
    scored = [cell for cell in cells if cell[2] is not None]
    worst = min(scored, key=lambda cell: float(cell[2]), default=None)
    return {
        "diagonal": _mean(score for row, task, score in scored if row.home == task.label),
        "off_diagonal": _mean(score for row, task, score in scored if row.home != task.label),
        "worst": None if worst is None else worst[2],
        "worst_at": None if worst is None else [worst[0].label, worst[1].label],
    }


def _mean(scores: Iterable[float]) -> float | None:
    found = list(scores)
    return float(np.mean(found)) if found else None


def as_json(rows: Sequence[Row], tasks: Sequence[Task]) -> dict[str, Any]:
    """Return all measurements."""
    return {
        "tasks": {
            task.label: {"random": task.random, "expert": task.expert, "expert_name": task.expert_name}
            for task in tasks
        },
        "rows": [
            {
                "label": row.label,
                "trained_on": row.trained_on,
                "home": row.home,
                "scores": {task.label: row.score(task) for task in tasks},
                "runs": [dataclasses.asdict(run) for run in row.runs],
                **short([row], tasks),
            }
            for row in rows
        ],
        "all": short(rows, tasks),
    }


def as_csv(rows: Sequence[Row], tasks: Sequence[Task], episodes: int) -> str:
    """Return a line for each run on each task."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        for run in row.runs:
            writer.writerows(_line(row, run, task, episodes) for task in tasks)
    return text.getvalue()


def _line(row: Row, run: Trained, task: Task, episodes: int) -> dict[str, Any]:
    played = run.played[task.label]
    return {
        "run": run.run, "trained_on": row.trained_on, "tested_on": task.label, "home": int(row.home == task.label),
        "seed": run.seed, "step": run.step, "episodes": episodes, "score": task.score(played),
        "return": mean(played), "return_stderr": played["return"]["stderr"], "won": mean(played, WON),
        "random_return": mean(task.random), "expert_return": task.expert and mean(task.expert),
        "expert": task.expert_name,
    }  # fmt: skip
