"""A whole comparison of recorded runs: groups, notes, figure and tables."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tandem.analysis import comparison, estimators
from tandem.analysis.histories import History, SourceError
from tandem.config.writable import problem_of_folder
from tandem.core.metrics import POLICY_RETURN
from tandem.records.places import task

FEW_SEEDS = 5
UNITS = {"steps": "environment steps", "time": "minutes of training"}


@dataclasses.dataclass(frozen=True)
class Question:
    """The settings of a comparison."""

    metric: str = comparison.RETURN  # more is better
    axis: str = "steps"  # one of comparison.AXES
    at: float | None = None  # score at this place of the axis; None = at the end
    threshold: float | None = None  # None = what the weakest group of a task ends at


def write(
    found: Sequence[History],
    left_out: Sequence[str],
    question: Question,
    out: Path,
    tasks: Mapping[str, str] | None = None,
) -> None:
    """Compare runs, print the table, and write figure and tables into a folder; the same runs give the same numbers.

    Args:
      left_out: notes on runs that are not among those found.
      tasks: each run's task by its label; runs are compared within a task. Default: environment and scenario.

    Raises:
      SourceError: these runs cannot be compared, or the folder is not writable.
    """
    tasks = tasks or {history.label: task(history.config) for history in found}
    groups, notes = comparison.groups(found, question.metric, question.axis, tasks)
    if said := problem_of_folder(out):  # checked before figures are drawn in vain
        raise SourceError(f"--out={said}")
    report(groups, [*left_out, *notes, *remarks(groups, question.axis)], question, out)


def report(groups: Sequence[comparison.Group], notes: Sequence[str], question: Question, out: Path) -> None:
    """Write figure and tables, and print the table."""
    from tandem.analysis import figure  # imports matplotlib, so only if there is something to draw
    from tandem.analysis import report as tables

    metric, axis, at = question.metric, question.axis, question.at
    rng = np.random.default_rng(0)
    finals = {place: estimators.over_seeds(group.scores(at), rng) for place, group in enumerate(groups)}
    rows = []
    for place, group in enumerate(groups):
        same_task = [other for other in groups if other.task == group.task]
        level = comparison.default_threshold(same_task, at) if question.threshold is None else question.threshold
        rows.append(tables.row(group, finals[place], at, level))
    improvements = comparison.improvements(groups, at, rng)
    drawn = figure.draw(groups, finals, metric=metric, axis=axis, at=at, rng=rng)
    out.mkdir(parents=True, exist_ok=True)
    about = {"metric": metric, "x": axis, "at": at, "notes": list(notes)}
    paths = [*figure.save(drawn, out, "curves"), *tables.write(out, rows, improvements, about)]
    print(tables.markdown(rows, improvements), *(f"note: {note}" for note in notes), sep="\n")
    print("\n" + "\n".join(str(path) for path in paths), flush=True)


def remarks(groups: Sequence[comparison.Group], axis: str) -> list[str]:
    """Return notes for the reader of the numbers."""
    notes = []
    for group in groups:
        ends = [float(x[-1]) for x, _ in group.curves]
        if len(ends) > 1 and max(ends) > 1.05 * min(ends):
            notes.append(f"{group.label}: its seeds end between {min(ends):,.6g} and {max(ends):,.6g} ({UNITS[axis]})")
    judged: dict[str, dict[str, None]] = {}
    for group in groups:
        for metric in group.metrics:
            judged.setdefault(metric, {})[group.label] = None
    if len(judged) > 1:
        shown = "; ".join(f"{metric} of {', '.join(labels)}" for metric, labels in sorted(judged.items()))
        notes.append(f"different series are compared: {shown}; --metric={POLICY_RETURN} compares the policies alone")
    if any(1 < len(group.histories) < FEW_SEEDS for group in groups):
        notes.append(f"bootstrap intervals of fewer than {FEW_SEEDS} seeds tend to be too narrow")
    return notes
