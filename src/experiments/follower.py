"""Follows a running training run by its record in results/sacred/."""

import bisect
import contextlib
from pathlib import Path
from typing import Any, NamedTuple

from tandem.records import runs
from tandem.core.metrics import POLICY_RETURN, SEARCH_RETURN, TRAINING_SECONDS
from tandem.records import series
from tandem.registry import FAMILIES, nearest


class Point(NamedTuple):
    """One value of the metric that a sweep compares."""

    score: float
    step: int
    percent: float  # of the run's t_max or max_minutes, whichever is nearer to its end


class UnknownMetric(ValueError):
    """A run does not report this metric; the text lists those that it does."""


def default_metric(config: dict[str, Any]) -> str:
    """Return the metric that ranks runs of this configuration: the return with search, or of
    the policy if nothing searches.
    """
    return SEARCH_RETURN if FAMILIES["planner"][config["planner"]].leaves == "search" else POLICY_RETURN


def find(results_dir: str | Path, comment: str, after: int) -> runs.StoredRun | None:
    """Return the run with this comment (Sacred's -c) and an id above `after`; None if it has not begun."""
    for run_id in reversed(runs.ids(results_dir)):
        if int(run_id) <= after:
            return None
        try:
            run = runs.find(run_id, results_dir)
            if run.read("run.json")["meta"].get("comment") == comment:
                return run
        except (ValueError, OSError, KeyError, AttributeError):  # the record is just being created, or damaged
            continue
    return None


def last_id(results_dir: str | Path) -> int:
    """Return the highest id of a recorded run, 0 if there is none."""
    return max(map(int, runs.ids(results_dir)), default=0)


class Follower:
    """The values of one metric of a running run; each call reads only new ones."""

    def __init__(self, run: runs.StoredRun, metric: str):
        self.run, self.metric = run, metric
        self.reader = series.Reader(run.folder, only=(metric, TRAINING_SECONDS))
        self.told = 0

    def new(self) -> list[Point]:
        """Return the values since the last call, oldest first.

        Raises:
          UnknownMetric: the run has been evaluated, so that all its metrics are known, and lacks this one.
        """
        try:
            found = self.reader.read()
        except (OSError, ValueError):
            return []
        if self.metric not in found:
            self._complain_if_evaluated()
            return []
        points, clock = found[self.metric], found.get(TRAINING_SECONDS, series.Series())
        new, self.told = range(self.told, len(points)), len(points)
        return [self._point(points.values[i], points.steps[i], clock) for i in new]

    def _complain_if_evaluated(self) -> None:
        names = self.reader.names
        if any(name.startswith("eval/") for name in names):
            guess = nearest(self.metric, names)
            hint = f"did you mean {guess}? " if guess else ""
            known = ", ".join(sorted(names))
            raise UnknownMetric(f"--metric={self.metric}: runs do not report it; {hint}they report {known}")

    def _point(self, value: float, step: int, clock: series.Series) -> Point:
        at = bisect.bisect_left(clock.steps, step)
        known = at < len(clock) and clock.steps[at] == step
        return Point(value, step, percent(self.run.config, step, clock.values[at] if known else 0.0))

    def close(self) -> None:
        self.reader.close()


def points(run: runs.StoredRun, metric: str) -> list[Point]:
    """Return all values of the metric so far, oldest first.

    Raises:
      UnknownMetric: see `Follower.new`.
    """
    with contextlib.closing(Follower(run, metric)) as follower:
        return follower.new()


def percent(config: dict[str, Any], step: int, seconds: float) -> float:
    """Return how much of its budget a run has used, by steps or by the clock, whichever is more."""
    limit = 60.0 * config["max_minutes"]
    return min(100.0, 100.0 * max(step / config["t_max"], seconds / limit if limit else 0.0))
