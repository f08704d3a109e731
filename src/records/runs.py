"""Recorded runs on disk: finding them by id or path, reading them, and their status.

A record may come from someone else, or be damaged. So all its JSON files are read by `read_json`, which checks the type
of the content, and all names in them by `inside`, which keeps them within their folder.
"""

import dataclasses
import fcntl
import json
import os
import struct
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LOCK = ".lock"  # the file in a record that the run's process keeps locked
FLOCK = "hhqqi"  # the system's struct flock: type, whence, start, length, process
WHOLE_FILE = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
CARD = "card.json"  # the file that marks an entry of the zoo: src/records/zoo.py
KINDS = {dict: "an object", list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false"}


class RecordError(ValueError):
    """A record cannot be used; `str` is the message for the user."""


@dataclasses.dataclass(frozen=True)
class StoredRun:
    """A recorded run, as in Sacred's files."""

    folder: Path  # results/sacred/<id>
    config: dict[str, Any]  # as it was checked when the run began

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def in_zoo(self) -> bool:
        """Whether it is an entry of the zoo, which has a run's parameters but not its record."""
        return (self.folder / CARD).is_file()

    @property
    def results(self) -> Path:
        """The results folder of the run; for an entry of the zoo, the folder for new results."""
        return Path("results") if self.in_zoo else self.folder.parent.parent

    @property
    def models(self) -> Path:
        """The folder of the run's checkpoints."""
        return self.folder / "models" if self.in_zoo else self.results / "models" / self.id

    @property
    def status(self) -> str:
        """Sacred's status of the run: COMPLETED, RUNNING, INTERRUPTED or FAILED; "" if there is none."""
        try:
            word = self.read("run.json").get("status")
        except (OSError, RecordError):
            return ""
        return word if isinstance(word, str) else ""

    @property
    def running(self) -> bool:
        """Whether a process has locked the run's record, so that the run is running."""
        return is_locked(self.folder)

    def read(self, name: str) -> dict[str, Any]:
        """Return one of the record's JSON files: "run.json", "info.json".

        Raises:
          FileNotFoundError: there is no such file (yet).
          RecordError: the file is damaged or has other content.
        """
        return read_json(self.folder / name)


def find(run: str, results_dir: str | Path = "results") -> StoredRun:
    """Return the recorded run with this id under `results_dir`, or at this path.

    Raises:
      RecordError: there is no such run, or its record cannot be used; one sentence says what was searched.
    """
    folder = _folder(run, Path(results_dir))
    try:
        config = read_json(folder / "config.json")
    except FileNotFoundError as error:
        raise RecordError(f"run '{run}': {folder / 'config.json'} does not exist; is this a run's folder?") from error
    except RecordError as error:
        raise RecordError(f"run '{run}': {error}; is this a run's folder?") from error
    found = StoredRun(folder, config)
    check_contents(folder)
    if found.models.exists():
        check_contents(inside(found.models.parent, found.models.name))
    return found


def _folder(run: str, results_dir: Path) -> Path:
    """Return the folder of an id or a path."""
    path = Path(run)
    try:
        folder = results_dir / "sacred" / run if is_number(run) else path.parent if path.is_file() else path
        if folder.is_dir():  # `..` and `.` have no name, and ./7 is in no visible results folder
            return folder if len(folder.parts) > 2 and ".." not in folder.parts else Path(os.path.abspath(folder))
    except OSError as error:  # the name is too long, or the folder may not be read
        raise RecordError(f"no run '{run}': {error.strerror}") from error
    known = ids(results_dir)
    there = f"there are runs {', '.join(known[-10:])}" if known else "there are no runs there"
    raise RecordError(f"no run '{run}': {folder} does not exist; in {results_dir / 'sacred'} {there}")


def ids(results_dir: str | Path = "results") -> list[str]:
    """Return the ids of all recorded runs, oldest first; other files beside them are ignored."""
    found = (path for path in (Path(results_dir) / "sacred").glob("[0-9]*") if is_number(path.name))
    return sorted((path.name for path in found if path.is_dir()), key=int)


def is_number(text: str) -> bool:
    """Return whether a text is a whole number in plain digits, because Python also calls "²" a digit."""
    return text.isascii() and text.isdigit()


def read_json(path: Path, kind: type = dict) -> Any:
    """Return the content of a record's JSON file.

    Raises:
      FileNotFoundError: there is no such file.
      RecordError: the file cannot be read, or has another type of content; one sentence names the file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path} is damaged: {error}") from error
    if not isinstance(content, kind):
        raise RecordError(f"{path} is damaged: it holds {KINDS.get(type(content), 'nothing')} instead of {KINDS[kind]}")
    return content


def read_series(path: Path) -> dict[str, dict[str, list]]:
    """Return the series in a run's metrics.json, by metric.

    Raises:
      FileNotFoundError, RecordError: as `read_json`; also if a series is not as Sacred writes it.
    """
    found = read_json(path)
    for name, series in found.items():
        if not _is_series(series):
            raise RecordError(f"{path} is damaged: '{name}' is no series of numbers at steps")
    return found


def _is_series(series: Any) -> bool:
    if not isinstance(series, Mapping):
        return False
    columns = series.values()
    if not {"steps", "values"} <= series.keys() or not all(isinstance(column, list) for column in columns):
        return False
    kinds: dict[str, set[type]] = {"steps": {int}, "values": {int, float}, "timestamps": {str}}
    even = len({len(column) for column in columns}) == 1
    return even and all({type(item) for item in series.get(name, ())} <= kind for name, kind in kinds.items())


def inside(folder: Path, name: Any) -> Path:
    """Return the path of `name` from a record, after a check that it lies in `folder` when links are followed.

    Raises:
      RecordError: the name is absolute, holds `..`, or is a link that leads out of the folder.
    """
    fits = isinstance(name, str) and name and "\0" not in name
    fits = fits and not os.path.isabs(name) and ".." not in Path(name).parts
    if fits and Path(os.path.realpath(folder / name)).is_relative_to(os.path.realpath(folder)):
        return folder / name
    raise RecordError(
        f"the record names {name!r}, which leads out of {folder}; it is not followed, because the record may come from "
        "someone else. Put the file itself there, or remove the name"
    )


def check_contents(folder: Path) -> None:
    """Raise if anything in a record's folder is not its own file or folder.

    Raises:
      RecordError: there is a link that leads out of the folder, or a device or pipe, at which reading would hang.
    """
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent, name) for name in (*folders, *files)):
            if path.is_symlink():
                inside(folder, str(path.relative_to(folder)))
            elif not path.is_dir() and not path.is_file():
                raise RecordError(f"{path} is neither a file nor a folder; remove it, because reading it may hang")


def is_locked(folder: Path) -> bool:
    """Return whether a process has locked a record.

    This check takes no lock itself, so a run that starts at this moment is not refused.
    """
    try:
        with open(folder / LOCK, "rb") as file:
            answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, WHOLE_FILE)
    except OSError:  # there is no lock yet, or the file system has no locks, so this is unknown
        return False
    return struct.unpack(FLOCK, answer)[0] != fcntl.F_UNLCK


class Lock:
    """Locks a record for this process until it is closed or garbage-collected, or the process ends."""

    def __init__(self, handle: int):
        self.close = weakref.finalize(self, os.close, handle)  # may be called again

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()


def lock(folder: Path) -> Lock:
    """Lock a record and return the lock.

    Raises:
      BlockingIOError: another process has locked it.
    """
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    held = Lock(handle)
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, WHOLE_FILE)
    except BlockingIOError:
        held.close()
        raise
    except OSError:  # the file system has no locks
        pass
    return held
