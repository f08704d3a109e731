"""Groups runs by configuration, and computes each group's curve, final score, time to the threshold and ranking."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tandem.analysis import curves, estimators
from tandem.analysis.estimators import Estimate
from tandem.analysis.histories import History, Series, SourceError
from tandem.analysis.identity import differences, essence, fingerprint, without_seed
from tandem.core.metrics import JUDGED_BY, TRAINING_SECONDS

RETURN = "eval/return"  # the evaluation with search, or of the policy where there is no search
AXES = ("steps", "time")
MOST_SHOWN = 3  # differing settings that a label names; compare.json has them all


@dataclasses.dataclass
class Group:
    """The seeds of one configuration on one task."""

    name: str
    task: str
    config: Mapping[str, Any]  # flat, without the seed
    histories: list[History]
    metrics: list[str]  # the series compared, by run
    curves: list[tuple[np.ndarray, np.ndarray]]  # x [X], y [X] by run
    ends: list[float]  # x from which a run that diverged has no score; infinity = never
    differing: dict[str, Any] = dataclasses.field(
        default_factory=dict
    )  # settings in which it differs from groups of the same name
    label: str = ""  # its name, and enough of the differing settings to distinguish it

    @property
    def unfinished(self) -> list[History]:
        return [history for history in self.histories if not history.finished]

    def scores(self, at: float | None) -> np.ndarray:
        """Return the seeds' final scores [R]: their last values, or those at the point `at` of the x axis.

        A seed that had diverged there has minus infinity, so it is worse than all others and not left out.
        """
        at_ends = [np.inf if at is None else at] * len(self.curves)
        found = [np.interp(x_at, x, y) for x_at, (x, y) in zip(at_ends, self.curves)]
        lost = [end < np.inf and end <= x_at for x_at, end in zip(at_ends, self.ends)]
        return np.where(lost, -np.inf, found)

    def diverged(self, at: float | None) -> int:
        """Return how many seeds had diverged."""
        return int(np.isinf(self.scores(at)).sum())

    def mean_curve(self, rng: np.random.Generator) -> tuple[np.ndarray, Estimate] | None:
        """Return the points that all seeds cover and the estimate there; None if the seeds share no range."""
        grid = curves.common_grid([x for x, _ in self.curves])
        return (grid, estimators.over_seeds(curves.on_grid(grid, self.curves), rng)) if len(grid) else None


def metric_of(history: History, metric: str) -> str | None:
    """Return the name of the compared series in this run, or None if it has none."""
    wanted = JUDGED_BY if metric == RETURN else (metric,)
    return next((name for name in wanted if name in history.series and len(history.series[name].steps)), None)


def groups(
    histories: Sequence[History], metric: str, axis: str, tasks: Mapping[str, str]
) -> tuple[list[Group], list[str]]:
    """Return the runs grouped by configuration, and notes on omitted runs.

    Args:
      tasks: the task of each run by its label.

    Raises:
      SourceError: no run has the metric, or the clock that `axis` "time" needs.
    """
    kept, notes = _with_metric(histories, metric, axis)
    kept, more = _one_of_each_seed(kept, metric)
    found: dict[str, Group] = {}
    for history in kept:
        shared = without_seed(history.config)
        key = fingerprint(shared)
        if key not in found:
            found[key] = Group(str(shared.get("name")), tasks[history.label], essence(shared), [], [], [], [])
        name = metric_of(history, metric)
        found[key].histories.append(history)
        found[key].metrics.append(name)
        found[key].curves.append(curve(history, name, axis))
        found[key].ends.append(_divergence(history, axis))
    ordered = sorted(found.values(), key=lambda group: (group.task, group.name))
    _tell_apart(ordered)
    return ordered, notes + more


def _with_metric(histories: Sequence[History], metric: str, axis: str) -> tuple[list[History], list[str]]:
    """Return the runs that can be drawn, and a note for each of the others.

    Raises:
      SourceError: no run can be drawn.
    """
    kept = [run for run in histories if metric_of(run, metric)]
    if not kept:
        raise SourceError(f"no run has the metric '{metric}'; there are {_known(histories)}")
    notes = [
        f"{run.label} ({run.config.get('name')}, {run.status}) has no '{metric}' and is left out; there are: "
        f"{_known([run], 'eval/')}"
        for run in histories
        if run not in kept
    ]
    if axis == "time":
        timed = [run for run in kept if TRAINING_SECONDS in run.series and len(run.series[TRAINING_SECONDS].steps)]
        if not timed:
            raise SourceError(f"--x time: no run has the metric '{TRAINING_SECONDS}'")
        notes += [f"{run.label} has no '{TRAINING_SECONDS}' and is left out" for run in kept if run not in timed]
        kept = timed
    return kept, notes


def _known(histories: Sequence[History], beginning: str = "") -> str:
    """Return the names of the metrics that runs have points of."""
    names = {name for run in histories for name, held in run.series.items() if len(held.steps)}
    return ", ".join(sorted(name for name in names if name.startswith(beginning))) or "none yet"


def _one_of_each_seed(histories: Sequence[History], metric: str) -> tuple[list[History], list[str]]:
    """Return the runs without repetitions of a configuration and seed; the one with the most steps stays."""
    best: dict[str, History] = {}
    notes = []
    for run in histories:
        key = fingerprint(run.config)
        held = best.setdefault(key, run)
        if held is not run:
            best[key], other = (run, held) if _reach(run, metric) >= _reach(held, metric) else (held, run)
            notes.append(f"{other.label} is left out: {best[key].label} has the same settings and seed")
    return list(best.values()), notes


def _reach(run: History, metric: str) -> tuple[bool, int]:
    return run.finished, int(run.series[metric_of(run, metric)].steps[-1])


def _tell_apart(found: Sequence[Group]) -> None:
    """Note the settings in which groups of one name and task differ, and name them by these."""
    alike: dict[tuple[str, str], list[Group]] = {}
    for group in found:
        alike.setdefault((group.name, group.task), []).append(group)
    for same in alike.values():
        for group, differing in zip(same, differences([group.config for group in same])):
            group.differing = differing
        labels = [group.name + in_short(group.differing) for group in same]
        for place, (group, label) in enumerate(zip(same, labels)):
            group.label = label if labels.count(label) == 1 else f"{label} #{1 + labels[:place].count(label)}"


def in_short(differing: Mapping[str, Any]) -> str:
    """Return the first of the settings, each by the last part of its key if that is
    clear, and how many more there are.
    """
    leaves = [key.rpartition(".")[2] for key in differing]
    texts = [
        f"{leaf if leaves.count(leaf) == 1 else key}={value}" for leaf, (key, value) in zip(leaves, differing.items())
    ]
    more = [f"{len(texts) - MOST_SHOWN} more"] if len(texts) > MOST_SHOWN else []
    return f" ({', '.join([*texts[:MOST_SHOWN], *more])})" if texts else ""


def curve(history: History, metric: str, axis: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a run's series as x and y; x is in environment steps or in minutes of training."""
    held = history.series[metric]
    return (
        held.steps.astype(float) if axis == "steps" else minutes_at(history.series[TRAINING_SECONDS], held.steps)
    ), held.values


def _divergence(history: History, axis: str) -> float:
    """Return where on the x axis a run diverged; infinity if it did not."""
    if history.diverged is None:
        return np.inf
    step = np.array([history.diverged], float)
    return float(step[0] if axis == "steps" else minutes_at(history.series[TRAINING_SECONDS], step)[0])


def minutes_at(clock: Series, steps: np.ndarray) -> np.ndarray:
    """Return the minutes of training at some steps of a run; the clock stands at some of its steps."""
    return np.interp(steps, clock.steps, clock.values) / 60


def default_threshold(same_task: Sequence[Group], at: float | None) -> float:
    """Return the final interquartile mean of the weakest group, a threshold that compares all groups' speeds.

    Groups that have diverged do not count; zero if all have.
    """
    finals = [float(estimators.interquartile_mean(group.scores(at))) for group in same_task]
    return min((final for final in finals if np.isfinite(final)), default=0.0)


def reaches(group: Group, threshold: float) -> dict[str, list[float]]:
    """Return for each axis where each seed first reaches the threshold; infinity for
    never, NaN where there is no clock.
    """
    found: dict[str, list[float]] = {}
    for axis in AXES:
        found[axis] = []
        for history, metric in zip(group.histories, group.metrics):
            known = axis == "steps" or TRAINING_SECONDS in history.series
            found[axis].append(curves.first_reach(*curve(history, metric, axis), threshold) if known else float("nan"))
    return found


def improvements(found: Sequence[Group], at: float | None, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return, for each pair of labels, their common tasks and the probability of improvement over these."""
    by_label: dict[str, dict[str, np.ndarray]] = {}
    for group in found:
        by_label.setdefault(group.label, {})[group.task] = group.scores(at)
    rows = []
    for first, second in itertools.combinations(by_label, 2):
        tasks = [task for task in by_label[first] if task in by_label[second]]
        if tasks:
            one, other = ([by_label[label][task] for task in tasks] for label in (first, second))
            rows.append(
                {
                    "first": first,
                    "second": second,
                    "tasks": tasks,
                    "estimate": estimators.probability_of_improvement(one, other, rng),
                }
            )
    return rows
