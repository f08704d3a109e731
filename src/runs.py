"""Recorded runs on disk: found by id or path, and read back."""

import dataclasses
import json
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class StoredRun:
    """What Sacred's files hold of a run."""

    folder: Path  # results/sacred/<id>
    config: dict[str, Any]  # as it was checked when the run began

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def results(self) -> Path:
        """The results folder that the run lies in."""
        return self.folder.parent.parent

    def read(self, name: str) -> Any:
        """Return one of the record's JSON files: "run.json", "metrics.json"."""
        return json.loads((self.folder / name).read_text())


def find(run: str, results_dir: str | Path = "results") -> StoredRun:
    """Return the recorded run with this id under `results_dir`, or at this path.

    Raises:
      ValueError: no such run, or a record without a readable configuration; one sentence that says what was looked for.
    """
    path = Path(run)
    folder = Path(results_dir) / "sacred" / run if run.isdigit() else path.parent if path.is_file() else path
    if not folder.is_dir():
        known = ids(results_dir)
        there = f"there are runs {', '.join(known[-10:])}" if known else "there are no runs there"
        raise ValueError(f"no run '{run}': {folder} does not exist; in {Path(results_dir) / 'sacred'} {there}")
    try:
        return StoredRun(folder, json.loads((folder / "config.json").read_text()))
    except (OSError, ValueError) as error:
        raise ValueError(f"run '{run}': {folder / 'config.json'} cannot be read ({error}); is this a run's folder?") from error


def ids(results_dir: str | Path = "results") -> list[str]:
    """Return the ids of all recorded runs, oldest first."""
    return sorted((path.name for path in (Path(results_dir) / "sacred").glob("[0-9]*")), key=int)
