"""Checks that the output files of a command can be written, before anything is computed or created."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tandem.config import values
from tandem.config.commandline import UsageError


def check_results(config: Mapping[str, Any]) -> None:
    """Raise if the folder of records in the configuration is not writable.

    Raises:
      UsageError: it says why.
    """
    if said := problem_of_folder(config["results_dir"]):
        raise UsageError(f"results_dir={said}")


def problem_of_folder(folder: str | Path) -> str:
    """Return why no files can be written into a folder, or ""; creates nothing."""
    try:
        if not str(folder) or _odd(folder):
            return f"{values.shown(str(folder))}: no name that a folder can have"
        if str(folder).startswith("~"):
            return f"{folder}: there is no such home folder"
        there = next(place for place in (Path(folder).absolute(), *Path(folder).absolute().parents) if place.exists())
    except OSError as error:
        return f"{values.shortened(str(folder), values.MOST_OF_A_PATH)}: {error.strerror}"
    if not there.is_dir():
        return f"{folder}: {there} is a file; name a folder"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"{folder}: nothing can be written into {there}; name another folder"
    return ""


def problem_of_file(file: str | Path) -> str:
    """Return why a file cannot be written, or ""."""
    if said := problem_of_folder(Path(file).parent):
        return said
    if not Path(file).parent.is_dir():
        return f"{file}: there is no folder {Path(file).parent}"
    odd = not Path(file).name or _odd(file) or Path(file).is_dir()
    return f"{values.shown(str(file))}: no name that a file can have" if odd else ""


def _odd(path: str | Path) -> bool:
    """Return whether a path is invalid on every file system: it has control characters or too long a name."""
    return values.odd_characters(str(path)) or any(len(os.fsencode(part)) > 255 for part in Path(path).parts)
