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

from src import runs

SILENT_SECONDS = 60.0  # a running run's record is touched every ten
STATUS = {"COMPLETED": "done", "INTERRUPTED": "interrupted", "FAILED": "failed", "RUNNING": "running"}
DATABASE = "sacred"  # where a MongoDB URL names none; what runs are recorded in


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
    status: str  # done, running, cut off, interrupted, failed
    series: Mapping[str, Series]

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


def status(sacred_status: str, heartbeat: datetime.datetime | None, now: float) -> str:
    """Return how a run stands; a running one that has long been silent was cut off."""
    word = STATUS.get(sacred_status, sacred_status.lower() or "unknown")
    if word == "running" and (heartbeat is None or now - heartbeat.timestamp() > SILENT_SECONDS):
        return "cut off"
    return word


def from_folders(words: Sequence[str], results_dir: str | Path = "results") -> list[History]:
    """Return the runs that the words stand for: ids ("7"), ranges of ids ("3-9"), folders, patterns ("results/*/1*").

    Raises:
      SourceError: a word that stands for no run.
    """
    found = {}
    for word in words:
        for run in _runs(word, results_dir):
            found.setdefault(run.folder.resolve(), run)
    return [_from_folder(run) for run in found.values()]


def _runs(word: str, results_dir: str | Path) -> list[runs.StoredRun]:
    """Return the runs one word stands for; folders of a pattern that are no runs are passed over."""
    first, dash, last = word.partition("-")
    try:
        if dash and first.isdigit() and last.isdigit():
            there = [name for name in runs.ids(results_dir) if int(first) <= int(name) <= int(last)]
            return _some([runs.find(name, results_dir) for name in there], word)
        if glob.has_magic(word) and not Path(word).exists():
            folders = [path for path in glob.glob(word) if (Path(path) / "config.json").is_file()]
            return _some([runs.find(path) for path in sorted(folders, key=_natural)], word)
        return [runs.find(word, results_dir)]
    except ValueError as error:
        raise SourceError(str(error)) from error


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
    series_of = {name: series(entry["steps"], entry["values"]) for name, entry in metrics.items()}
    return History(str(run.folder), run.config, status(record.get("status", ""), heard, time.time()), series_of)


def _read(run: runs.StoredRun, name: str) -> dict[str, Any]:
    try:
        return run.read(name)
    except FileNotFoundError:
        return {}
    except (OSError, json.JSONDecodeError) as error:
        raise SourceError(f"{run.folder / name} cannot be read: {error}") from error


def from_mongo(url: str, words: Sequence[str], wait_seconds: float = 5.0) -> list[History]:
    """Return the runs in a MongoDB (Sacred's collections `runs` and `metrics`) whose ids match the words ("7", "1*").

    Raises:
      SourceError: no connection, or a word that matches no run; the message holds no password.
    """
    import pymongo

    try:
        with pymongo.MongoClient(url, serverSelectionTimeoutMS=int(1000 * wait_seconds)) as client:
            database = client.get_default_database(DATABASE)
            entries = list(database["runs"].find({}, {"config": 1, "status": 1, "heartbeat": 1}))
            return [_from_entry(entry, database) for entry in _matching(entries, words)]
    except pymongo.errors.PyMongoError as error:
        host = url.rpartition("@")[2].removeprefix("mongodb://")
        raise SourceError(f"MongoDB at {host} cannot be read: {type(error).__name__}; is it running?") from None


def _matching(entries: Sequence[Mapping[str, Any]], words: Sequence[str]) -> list[Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for word in words:
        matching = {str(entry["_id"]): entry for entry in entries if fnmatch.fnmatch(str(entry["_id"]), word)}
        if not matching:
            known = ", ".join(str(entry["_id"]) for entry in entries[-10:])
            raise SourceError(f"no run in the database matches '{word}'; there are {known or 'none'}")
        found |= matching
    return list(found.values())


def _from_entry(entry: Mapping[str, Any], database: Any) -> History:
    heard = entry.get("heartbeat")
    heard = heard.replace(tzinfo=datetime.UTC) if heard else None
    found = database["metrics"].find({"run_id": entry["_id"]}, {"name": 1, "steps": 1, "values": 1})
    return History(
        f"run {entry['_id']}", entry["config"], status(entry.get("status", ""), heard, time.time()),
        {metric["name"]: series(metric["steps"], metric["values"]) for metric in found},
    )
