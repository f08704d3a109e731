"""A training run followed while it goes on: what its record in results/sacred/ says so far."""

from pathlib import Path
from typing import Any, NamedTuple

from src import runs
from src.recording.progress import PLAIN_RESULT, RESULT
from src.registry import PLANNERS, nearest


class Point(NamedTuple):
    """One value of the metric that a sweep compares."""

    score: float
    env_step: int
    percent: float  # of the run's t_max or max_minutes, whichever is nearer to its end


class UnknownMetric(ValueError):
    """A metric that a run does not report; the text says which ones it does."""


def default_metric(config: dict[str, Any]) -> str:
    """Return what runs of this configuration are judged by: evaluation with search, by the policy where nothing searches."""
    return RESULT if PLANNERS[config["planner"]].provides == "search" else PLAIN_RESULT


def find(results_dir: str | Path, comment: str, after: int) -> runs.StoredRun | None:
    """Return the run with this comment (Sacred's -c) and an id above `after`; None if it has not begun."""
    for run_id in reversed(runs.ids(results_dir)):
        if int(run_id) <= after:
            return None
        try:
            run = runs.find(run_id, results_dir)
            if run.read("run.json")["meta"].get("comment") == comment:
                return run
        except (ValueError, OSError, KeyError, AttributeError):  # one that is just being made, or a damaged one
            continue
    return None


def last_id(results_dir: str | Path) -> int:
    """Return the highest id of a recorded run, 0 if there is none."""
    return max(map(int, runs.ids(results_dir)), default=0)


def points(run: runs.StoredRun, metric: str) -> list[Point]:
    """Return all values of the metric so far, oldest first.

    Raises:
      UnknownMetric: the run has been evaluated, so that all its metrics are known, and this is none of them.
    """
    try:
        series = run.metrics()
    except (OSError, runs.RecordError):
        return []
    if metric not in series:
        if any(name.startswith("eval/") for name in series):
            guess = nearest(metric, series)
            hint = f"did you mean {guess}? " if guess else ""
            raise UnknownMetric(f"--metric={metric}: runs do not report it; {hint}they report {', '.join(sorted(series))}")
        return []
    clock = series.get("time/training_seconds", {"steps": [], "values": []})
    seconds = dict(zip(clock["steps"], clock["values"], strict=True))
    values = zip(series[metric]["steps"], series[metric]["values"], strict=True)
    return [Point(value, step, percent(run.config, step, seconds.get(step, 0.0))) for step, value in values]


def percent(config: dict[str, Any], env_step: int, seconds: float) -> float:
    """Return how much of its budget a run has used, by steps or by the clock, whichever is more."""
    limit = 60.0 * config["max_minutes"]
    return min(100.0, 100.0 * max(env_step / config["t_max"], seconds / limit if limit else 0.0))
