"""Reads a run's folder as the document that Sacred would have put into MongoDB."""

import contextlib
import hashlib
import json
import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from tandem.records import checkpoint_folder, runs

FORMAT = "MongoObserver-0.7.0"  # Sacred's name for the schema
IDENTITY = "mongo.json"  # the file that identifies the run in a database, whatever happens to its other files
TIMES = ("start_time", "stop_time", "heartbeat")
OUTPUT_LIMIT = 4_000_000  # last characters of the captured output, because a document may have 16 MB
VIDEOS = ("*.mp4", "*.gif")
CHECKPOINT_LIMIT = 256_000_000  # bytes; a larger one is not uploaded, and the run's document says so
SECONDS_TO_WRITE = 2.0  # a file; until then what cannot be read is taken to be half written


def read_entry(folder: Path) -> dict[str, Any]:
    """Return a run's document: run.json, config.json, info.json and captured output, without metrics and files' ids.

    Raises:
      OSError, ValueError: a file is missing or broken.
    """
    entry = read_run(folder / "run.json")
    for key in (key for key in TIMES if isinstance(entry.get(key), str)):
        try:
            entry[key] = datetime.fromisoformat(entry[key])
        except ValueError as error:
            raise runs.RecordError(f"{folder / 'run.json'} is damaged: {key}: {error}") from error
    entry["format"] = FORMAT
    entry["config"] = read_json(folder / "config.json")
    entry["info"] = read_json(folder / "info.json") if (folder / "info.json").exists() else {}
    output = folder / "cout.txt"
    entry["captured_out"] = output.read_text(errors="ignore")[-OUTPUT_LIMIT:] if output.exists() else ""
    entry["tandem"] = {"uid": identity(folder), "run": folder.name, "folder": str(folder.resolve())}
    return entry


def read_run(path: Path) -> dict[str, Any]:
    """Return run.json after a check of the fields that are used.

    Raises:
      FileNotFoundError, RecordError: there is no such file, or it is damaged.
    """
    entry = read_json(path)
    experiment = entry.setdefault("experiment", {})
    fits = isinstance(experiment, dict) and _are_pairs(experiment.setdefault("sources", []))
    fits = fits and all(isinstance(experiment.get(key, ""), str) for key in ("base_dir", "name"))
    fits = fits and isinstance(entry.setdefault("artifacts", []), list)
    if not (fits and isinstance(entry.setdefault("host", {}), dict)):
        raise runs.RecordError(f"{path} is damaged: 'experiment', 'artifacts' or 'host' is not as Sacred writes it")
    return entry


def _are_pairs(sources: Any) -> bool:
    """Return whether these are source files in Sacred's form: [[name, path of the copy], ...]."""
    return isinstance(sources, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair) for pair in sources
    )


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file; if Sacred is writing it at this moment, the content afterwards.

    Raises:
      FileNotFoundError, RecordError: there is no such file, or it is damaged.
    """
    deadline = time.monotonic() + SECONDS_TO_WRITE
    while True:
        try:
            return runs.read_json(path)
        except runs.RecordError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def identity(folder: Path) -> str:
    """Return the run's unique name: as first stored, else derived from its time and place."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads((folder / IDENTITY).read_text())["uid"])
    entry, config = read_run(folder / "run.json"), read_json(folder / "config.json")
    origin = [folder.name, entry.get("start_time"), entry["host"].get("hostname"), config]
    uid = hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()[:24]
    with contextlib.suppress(OSError):  # a read-only folder gives the same name the next time
        partial = folder / f".{IDENTITY}"
        partial.write_text(json.dumps({"uid": uid}) + "\n")
        os.replace(partial, folder / IDENTITY)
    return uid


def sources(folder: Path, entry: dict[str, Any]) -> list[tuple[str, Path]]:
    """Return the names of a run's source files, with Sacred's copies beside the runs.

    Raises:
      RecordError: the record names a file outside that folder.
    """
    named = [(name, runs.inside(folder.parent, where)) for name, where in entry["experiment"]["sources"]]
    return [(name, path) for name, path in named if path.is_file()]


def artifacts(folder: Path, entry: dict[str, Any], final: bool) -> dict[str, Path]:
    """Return a run's artifacts by name: the resolved configuration, the files that the run added and, if `final`, its
    videos and the folder of its best checkpoint.

    Raises:
      RecordError: the record names an artifact outside the run's folder.
    """
    found = {"config.json": folder / "config.json"}
    named = {name: runs.inside(folder, name) for name in entry["artifacts"]}
    found |= {name: path for name, path in named.items() if path.is_file()}
    if final:
        found |= {path.name: path for pattern in VIDEOS for path in sorted(folder.rglob(pattern))}
        best = best_checkpoint(folder)
        size = sum(file.stat().st_size for file in best.rglob("*") if file.is_file()) if best else 0
        if best and size > CHECKPOINT_LIMIT:
            entry["tandem"]["left_out"] = f"best checkpoint, {size // 10**6} MB: {best.resolve()}"
        elif best:
            found["best_checkpoint.tar"] = best
    return found


def best_checkpoint(folder: Path) -> Path | None:
    """Return the run's checkpoint with the best evaluation, results/models/<id>/<step>; None if none was evaluated."""
    best = checkpoint_folder.best(checkpoint_folder.folder(folder.parent.parent, folder.name))
    with contextlib.suppress(checkpoint_folder.CheckpointError):
        return None if best is None or checkpoint_folder.score(best) is None else best
    return None
