"""Recorded runs as they are compared: configuration, status and metric series, from Sacred's folders or from MongoDB."""

import dataclasses
import datetime
import fnmatch
import glob
import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pymongo.errors import PyMongoError

from src import runs
from src.recording.mongo_place import DEFAULT_DATABASE, Place, open_lazily, reason
from src.recording.mongo_read import read_series

SILENT_SECONDS = 60.0  # a running run's record is touched every ten
STATUS = {"COMPLETED": "done", "INTERRUPTED": "interrupted", "FAILED": "failed", "RUNNING": "running"}
GAUGES = ("time/", "actors/")  # metrics that say nothing of what is learned
SOURCES = "_sources"  # what Sacred keeps beside the runs


class SourceError(ValueError):
    """Runs that cannot be had; `str` is the message for the user."""


@dataclasses.dataclass(frozen=True)
class Series:
    """One metric of one run: finite values in the order of their steps, each step once."""

    steps: np.ndarray  # [X] environment steps, increasing
    values: np.ndarray  # [X] float64


@dataclasses.dataclass(frozen=True)
class History:
    """What a run left that can be compared."""

    label: str  # its id, or the path it was read from
    config: Mapping[str, Any]
    status: str  # done, running, cut off, interrupted, failed, diverged
    series: Mapping[str, Series]
    diverged: int | None = None  # environment step from which its numbers are not finite; what it scores then is chance

    @property
    def seed(self) -> Any:
        return self.config.get("seed")

    @property
    def finished(self) -> bool:
        return self.status == "done"


def series(steps: Iterable[Any], values: Iterable[Any]) -> Series:
    """Return a series in order; of a step that was written twice (a resumed run) the later value counts."""
    held = {int(step): float(value) for step, value in zip(steps, values)}
    kept = sorted(step for step, value in held.items() if math.isfinite(value))
    return Series(np.array(kept, dtype=np.int64), np.array([held[step] for step in kept], dtype=np.float64))


def diverged_at(series_of: Mapping[str, tuple[Sequence[Any], Sequence[Any]]]) -> int | None:
    """Return the step from which some series, steps and values, has no finite values any more; None if all end in one.

    One value between finite ones is no divergence: parameters that are not finite never become so again.
    """
    ends = (_end_of_finite(*points) for name, points in series_of.items() if not name.startswith(GAUGES))
    return min((step for step in ends if step is not None), default=None)


def _end_of_finite(steps: Sequence[Any], values: Sequence[Any]) -> int | None:
    found = None
    for step, value in zip(reversed(steps), reversed(values)):
        if math.isfinite(value):
            break
        found = int(step)
    return found


def status(sacred_status: str, heartbeat: datetime.datetime | None, now: float) -> str:
    """Return how a run stands; a running one that has long been silent was cut off."""
    word = STATUS.get(sacred_status, sacred_status.lower() or "unknown")
    if word == "running" and (heartbeat is None or now - heartbeat.timestamp() > SILENT_SECONDS):
        return "cut off"
    return word


def from_folders(words: Sequence[str], results_dir: str | Path = "results") -> list[History]:
    """Return the runs that the words stand for: ids ("7"), ranges of ids ("3-9"), folders, patterns ("results/*/1*").

    A folder is a run's, or one of results, whose runs are all meant.

    Raises:
      SourceError: a word that stands for no run.
    """
    found = {}
    for word in words:
        for run in _runs(word, results_dir):
            found.setdefault(run.folder.resolve(), run)
    if not found:
        raise SourceError(f"no run among {', '.join(words)}")
    return [_from_folder(run) for run in found.values()]


def _runs(word: str, results_dir: str | Path) -> list[runs.StoredRun]:
    """Return the runs one word stands for; folders that a pattern finds beside runs are passed over."""
    path = Path(word)
    try:
        if ends := _range(word):
            there = [name for name in runs.ids(results_dir) if ends[0] <= int(name) <= ends[1]]
            return _some([runs.find(name, results_dir) for name in there], word)
        if (path / "sacred").is_dir():
            return _some([runs.find(str(folder)) for folder in _folders(str(path / "sacred" / "*"))], word)
        if glob.has_magic(word) and not path.exists():
            return _some([run for name in _folders(word) for run in _runs(name, results_dir)], word)
        if path.name == SOURCES and path.is_dir():  # a shell makes `compare results/sacred/*` of a pattern without quotes
            return []
        return [runs.find(word, results_dir)]
    except ValueError as error:
        raise SourceError(str(error)) from error


def _range(word: str) -> tuple[int, int] | None:
    """Return the ends of "3-9"."""
    first, _, last = word.partition("-")
    return (int(first), int(last)) if first.isdigit() and last.isdigit() else None


def _folders(pattern: str) -> list[str]:
    """Return the folders of runs or results that a pattern finds, runs in the order of their ids."""
    found = [name for name in glob.glob(pattern) if Path(name, "config.json").is_file() or Path(name, "sacred").is_dir()]
    return sorted(found, key=_natural)


def _some(found: list[runs.StoredRun], word: str) -> list[runs.StoredRun]:
    if not found:
        raise SourceError(f"no run matches '{word}'")
    return found


def _natural(path: str) -> tuple[str, int]:
    name = Path(path).name
    return (str(Path(path).parent), int(name)) if name.isdigit() else (path, 0)


def _from_folder(run: runs.StoredRun) -> History:
    """Return a recorded run's history; files that are not there yet count as empty."""
    record, metrics = (_read(run, name) for name in ("run.json", "metrics.json"))
    heartbeat = record.get("heartbeat")
    heard = datetime.datetime.fromisoformat(heartbeat).replace(tzinfo=datetime.UTC) if heartbeat else None
    points = {name: (entry["steps"], entry["values"]) for name, entry in metrics.items()}
    return _history(str(run.folder), run.config, status(record.get("status", ""), heard, time.time()), points)


def _history(
    label: str, config: Mapping[str, Any], word: str, points: Mapping[str, tuple[Sequence[Any], Sequence[Any]]]
) -> History:
    """Return a run's history from the steps and values of its metrics."""
    diverged = diverged_at(points)
    held = {name: series(*found) for name, found in points.items()}
    return History(label, config, word if diverged is None else "diverged", held, diverged)


def _read(run: runs.StoredRun, name: str) -> dict[str, Any]:
    try:
        return run.read(name)
    except FileNotFoundError:
        return {}
    except (OSError, json.JSONDecodeError) as error:
        raise SourceError(f"{run.folder / name} cannot be read: {error}") from error


def from_mongo(place: Place, words: Sequence[str]) -> list[History]:
    """Return the runs in a MongoDB whose ids the words stand for: "7", "3-9", "1*".

    Raises:
      SourceError: no connection, or a word that stands for no run; the message holds no password.
    """
    try:
        with open_lazily(place).client as client:
            database = client.get_default_database(DEFAULT_DATABASE)
            entries = list(database["runs"].find({}, {"config": 1, "status": 1, "heartbeat": 1}).sort("_id"))
            return [_from_entry(entry, database) for entry in _matching(entries, words)]
    except PyMongoError as error:
        raise SourceError(f"MongoDB at {place} {reason(error)}") from None


def _matching(entries: Sequence[Mapping[str, Any]], words: Sequence[str]) -> list[Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for word in words:
        matching = {str(entry["_id"]): entry for entry in entries if _matches(entry["_id"], word)}
        if not matching:
            known = ", ".join(str(entry["_id"]) for entry in entries[-10:])
            raise SourceError(f"no run in the database matches '{word}'; there are {known or 'none'}")
        found |= matching
    return list(found.values())


def _matches(run_id: Any, word: str) -> bool:
    ends = _range(word)
    return isinstance(run_id, int) and ends[0] <= run_id <= ends[1] if ends else fnmatch.fnmatch(str(run_id), word)


def _from_entry(entry: Mapping[str, Any], database: Any) -> History:
    heard = entry.get("heartbeat")
    heard = heard.replace(tzinfo=datetime.UTC) if heard else None
    points = {name: (found.steps, found.values) for name, found in read_series(database, entry["_id"]).items()}
    return _history(f"run {entry['_id']}", entry["config"], status(entry.get("status", ""), heard, time.time()), points)
