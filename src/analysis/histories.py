"""Reads recorded runs for comparisons: configuration, status and metric series, from
Sacred's folders or from MongoDB.
"""

import dataclasses
import datetime
import fnmatch
import glob
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pymongo.errors import PyMongoError

from tandem.records import runs
from tandem.records.mongo_place import DEFAULT_DATABASE, Place, open_lazily, reason
from tandem.records.mongo_read import read_series
from tandem.records.series import of as recorded

SILENT_SECONDS = 60.0  # a running run's record is touched every ten
STATUS = {"COMPLETED": "done", "INTERRUPTED": "interrupted", "FAILED": "failed", "RUNNING": "running"}
LONGEST_ID = 20  # digits
GAUGES = ("time/", "actors/")  # metrics that do not measure learning


class SourceError(ValueError):
    """Runs cannot be found or read; `str` is the message for the user."""


@dataclasses.dataclass(frozen=True)
class Series:
    """One metric of one run: finite values in the order of their steps, each step once."""

    steps: np.ndarray  # [X] environment steps, increasing
    values: np.ndarray  # [X] float64


@dataclasses.dataclass(frozen=True)
class History:
    """The comparable data of a run."""

    label: str  # its id, or the path it was read from
    config: Mapping[str, Any]
    status: str  # done, running, cut off, interrupted, failed, diverged
    series: Mapping[str, Series]
    diverged: int | None = None  # environment step from which its numbers are not finite; later scores are chance

    @property
    def seed(self) -> Any:
        return self.config.get("seed")

    @property
    def finished(self) -> bool:
        return self.status == "done"


def series(steps: Iterable[Any], values: Iterable[Any]) -> Series:
    """Return a series in order; if a step was written twice (by a resumed run), the later value counts."""
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
    """Return a run's status; a running one without recent writes was cut off."""
    word = STATUS.get(sacred_status, sacred_status.lower() or "unknown")
    if word == "running" and (heartbeat is None or now - heartbeat.timestamp() > SILENT_SECONDS):
        return "cut off"
    return word


def from_folders(words: Sequence[str], results_dir: str | Path = "results") -> tuple[list[History], list[str]]:
    """Return the runs that the words name, and notes on unusable ones among several.

    A word is an id ("7"), a range of ids ("3-9"), a folder or a pattern ("results/*/1*"). A folder is a run's, or one
    of results, which stands for all its runs.

    Raises:
      SourceError: a word names no run, or a single one whose record cannot be used.
    """
    found: dict[Path, History] = {}
    notes: list[str] = []
    for word in words:
        several = _several(word, results_dir)
        for name in [word] if several is None else several:
            try:
                history = _from_folder(runs.find(name, results_dir))
                found.setdefault(Path(history.label).resolve(), history)
            except (OSError, runs.RecordError) as error:
                if several is None:
                    raise SourceError(str(error)) from error
                notes.append(f"left out: {error}")
    if not found:
        raise SourceError("; ".join([f"no run among {', '.join(words)}", *notes]))
    return list(found.values()), notes


def _several(word: str, results_dir: str | Path) -> list[str] | None:
    """Return the ids or folders of runs if a word names several; None if it names one.

    Raises:
      SourceError: there is none.
    """
    path = Path(word)
    if ends := _range(word):
        found = [name for name in runs.ids(results_dir) if ends[0] <= int(name) <= ends[1]]
    elif _is_folder(path / "sacred"):
        found = [str(path / "sacred" / name) for name in runs.ids(path)]
    elif _is_folder(path):
        return [] if _beside_runs(path) else None
    elif glob.has_magic(word):
        found = [name for folder in _folders(word) for name in _several(folder, results_dir) or [folder]]
    else:
        return None
    if not found:
        raise SourceError(f"no run matches '{word}'")
    return found


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # the name is too long; the error is raised where the run is searched
        return False


def _beside_runs(path: Path) -> bool:
    """Return whether a folder only lies beside runs, because a shell expands `results/sacred/*` to it, too."""
    return path.parent.name == "sacred" and not runs.is_number(path.name) and not (path / "config.json").is_file()


def _range(word: str) -> tuple[int, int] | None:
    """Return the ends of "3-9"."""
    first, _, last = word.partition("-")
    ends = (first, last)
    return (int(first), int(last)) if all(runs.is_number(end) and len(end) < LONGEST_ID for end in ends) else None


def _folders(pattern: str) -> list[str]:
    """Return the folders of runs or results that a pattern finds, runs in the order of their ids.

    Leading folders of the pattern are taken literally if they exist, even with brackets.
    """
    parts = Path(pattern).parts
    plain = max((cut for cut in range(len(parts)) if _is_folder(Path(*parts[:cut]))), default=0)
    literal = glob.escape(str(Path(*parts[:plain])))
    found = glob.glob(str(Path(literal, *parts[plain:])))
    return sorted((name for name in found if _holds_runs(Path(name))), key=_natural)


def _holds_runs(path: Path) -> bool:
    """Return whether a folder is a run's, or one of results."""
    return (path / "config.json").is_file() or (path / "sacred").is_dir()


def _natural(path: str) -> tuple[str, int]:
    name = Path(path).name
    return (str(Path(path).parent), int(name)) if runs.is_number(name) else (path, 0)


def _from_folder(run: runs.StoredRun) -> History:
    """Return a recorded run's history; missing files count as empty.

    Raises:
      RecordError: one of its files is damaged, or the run is of another kind of experiment.
    """
    try:
        record = run.read("run.json")
    except FileNotFoundError:
        record = {}
    _check_config(run.config, str(run.folder / "config.json"))
    stands = "running" if run.running else status(run.status, _time(record.get("heartbeat")), time.time())
    points = {name: (found.steps, found.values) for name, found in recorded(run.folder).items()}
    return _history(str(run.folder), run.config, stands, points)


def _history(
    label: str, config: Mapping[str, Any], word: str, points: Mapping[str, tuple[Sequence[Any], Sequence[Any]]]
) -> History:
    """Return a run's history from the steps and values of its metrics."""
    diverged = diverged_at(points)
    held = {name: series(*found) for name, found in points.items()}
    return History(label, config, word if diverged is None else "diverged", held, diverged)


def _time(text: Any) -> datetime.datetime | None:
    """Return a time in a record in UTC; None if there is none."""
    try:
        return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)
    except (TypeError, ValueError):
        return None


def _check_config(config: Any, where: str) -> None:
    """Raise if a configuration does not say what was run."""
    kinds = {"name": str, "env": str, "env_args": Mapping}
    found = config if isinstance(config, Mapping) else {}
    odd = [key for key, kind in kinds.items() if not isinstance(found.get(key), kind)]
    if odd:
        raise runs.RecordError(f"{where} does not say '{odd[0]}'; is this a run of Tandem?")


def from_mongo(place: Place, words: Sequence[str]) -> list[History]:
    """Return the runs in a MongoDB with the ids that the words name: "7", "3-9", "1*".

    Raises:
      SourceError: there is no connection, or a word names no run; the message contains no password.
    """
    try:
        with open_lazily(place).client as client:
            database = client.get_default_database(DEFAULT_DATABASE)
            entries = list(database["runs"].find({}, {"config": 1, "status": 1, "heartbeat": 1}).sort("_id"))
            return [_from_entry(entry, database) for entry in _matching(entries, words)]
    except PyMongoError as error:
        raise SourceError(f"MongoDB at {place} {reason(error)}") from None
    except runs.RecordError as error:
        raise SourceError(str(error)) from error


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
    _check_config(entry.get("config"), f"run {entry['_id']} in the database")
    points = {name: (found.steps, found.values) for name, found in read_series(database, entry["_id"]).items()}
    return _history(f"run {entry['_id']}", entry["config"], status(entry.get("status", ""), heard, time.time()), points)
