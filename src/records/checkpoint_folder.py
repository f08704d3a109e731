"""A run's folder of checkpoints: its steps, the description of each, the newest and the best.

It is `results/models/<run id>/`, and a checkpoint is a folder in it, named by its step. Incomplete checkpoints have
other names, so a folder named by a step is complete.
"""

import contextlib
import math
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tandem.records import series
from tandem.records.runs import RecordError, StoredRun, inside, is_number, read_json

META = "meta.json"
PARTIAL = "."  # prefix of incomplete folders, which are half written or half removed
REPLACED = f"{PARTIAL}replaced-"  # prefix of a complete checkpoint that another of the same step is replacing


class CheckpointError(ValueError):
    """A checkpoint cannot be found or used; `str` is the message for the user."""


class Misfit(CheckpointError):
    """A checkpoint has other arrays than expected."""

    def __init__(self, message: str, name: str, there: str, wanted: str):
        """Args: name: of an array; there, wanted: its type and shape, "" = none."""
        super().__init__(message)
        self.name, self.there, self.wanted = name, there, wanted


class Meta(NamedTuple):
    """The description of a checkpoint."""

    step: int
    update: int
    score: float | None  # score of the evaluation at this step, if there was one
    config: dict[str, Any]  # the settings on which the state depends
    keys: dict[str, str]  # random generators' names of those arrays that are keys
    sums: dict[str, int] = {}  # CRC-32 of each array; `write` fills this in
    files: dict[str, int] = {}  # bytes of each file; `write` fills this in


META_KINDS = {"step": int, "update": int, "config": dict, "keys": dict, "sums": dict, "files": dict}


def folder(results: str | Path, run_id: str) -> Path:
    """Return the folder of a run's checkpoints."""
    return Path(results) / "models" / run_id


def steps(models: Path) -> list[int]:
    """Return the environment steps of a run's checkpoints, oldest first."""
    found = models.glob("[0-9]*") if models.is_dir() else ()
    return sorted(int(path.name) for path in found if is_number(path.name) and path.is_dir())


def pick(models: Path, which: str = "last") -> Path:
    """Return the newest checkpoint ("last"), the one with the best evaluation ("best") or that of a step ("1600").

    Raises:
      CheckpointError: there is no such checkpoint; the message lists the existing ones.
    """
    known = steps(models)
    if not known:
        raise CheckpointError(f"there is no checkpoint in {models}")
    if which == "last":
        return models / str(known[-1])
    if which == "best":
        _check_scores(models, known)
        return best(models) or models / str(known[-1])
    if is_number(which) and int(which) in known:
        return models / which
    raise CheckpointError(f"no checkpoint '{which}' in {models}: choose best, last or one of {_listed(known)}")


def best(models: Path) -> Path | None:
    """Return the checkpoint with the best evaluation, the newest one if none has any; None if there is no checkpoint.

    A checkpoint whose score cannot be read is skipped; `pick` raises for it.
    """
    ranked = [(_rank(models / str(step)), step) for step in steps(models)]
    return models / str(max(ranked)[1]) if ranked else None


def score(path: Path) -> float | None:
    """Return the evaluation's score that a checkpoint was saved with; None if there was none, or not a finite one.

    Raises:
      CheckpointError: its meta.json cannot be read. Its other files are not checked.
    """
    found = _read_meta(path).score
    return None if found is None or not math.isfinite(found) else found


def _rank(path: Path) -> float:
    with contextlib.suppress(CheckpointError):
        found = score(path)
        return -math.inf if found is None else found
    return -math.inf


def _check_scores(models: Path, known: Iterable[int]) -> None:
    """Raise if a checkpoint's score cannot be read, because it might be the best."""
    for step in known:
        try:
            score(models / str(step))
        except CheckpointError as error:
            raise CheckpointError(f"the best checkpoint cannot be found: {error}") from error


def _listed(steps: Iterable[int]) -> str:
    return ", ".join(map(str, steps))


def resumable(run: StoredRun) -> bool:
    """Return whether a run can be resumed, from a checkpoint or, if it had not saved yet,
    from its beginning.
    """
    return just_begun(run) or bool(steps(run.models))


def just_begun(run: StoredRun) -> bool:
    """Return whether a run ended before it saved a checkpoint."""
    models = run.models
    return not steps(models) and (models.is_dir() or not series.begun(run.folder))


def read_meta(path: Path) -> Meta:
    """Return the description of a checkpoint.

    Raises:
      CheckpointError: it cannot be read, or one of its files was changed.
    """
    meta = _read_meta(path)
    for name, size in meta.files.items():
        try:
            file = inside(path, name)
        except RecordError as error:
            raise damaged(path, str(error)) from error
        found = file.stat().st_size if file.is_file() else None
        if found != size:
            is_now = "is missing" if found is None else f"has {found} bytes"
            raise damaged(path, f"{name} {is_now}, {size} were written")
    return meta


def _read_meta(path: Path) -> Meta:
    """Return the description of a checkpoint without checking its other files."""
    if not path.is_dir():
        raise CheckpointError(f"no checkpoint: {path} does not exist")
    try:
        said = read_json(path / META)
        said = {"step": said.pop("env_step"), **said} if "env_step" in said else said  # the name in older ones
        meta = Meta(**said)
    except (OSError, RecordError, TypeError) as error:
        raise damaged(path, f"{META} cannot be read: {error}") from error
    odd = [key for key, kind in META_KINDS.items() if not isinstance(getattr(meta, key), kind)]
    odd += [] if isinstance(meta.score, int | float | None) else ["score"]
    if odd:
        raise damaged(path, f"{META} has a wrong type of {odd[0]}")
    return meta


def damaged(path: Path, reason: str) -> CheckpointError:
    others = [str(step) for step in steps(path.parent) if str(step) != path.name]
    instead = f"; there is also --checkpoint={' or '.join(others)}" if others else ""
    return CheckpointError(f"the checkpoint {path} is damaged ({reason}){instead}")


def remove(path: Path) -> None:
    """Remove a checkpoint; its name disappears first."""
    partial = path.parent / f"{PARTIAL}removed-{path.name}"
    shutil.rmtree(partial, ignore_errors=True)
    path.rename(partial)
    shutil.rmtree(partial)


def tidy(models: Path) -> None:
    """Remove the incomplete checkpoints of a killed process, and restore those that it had not yet replaced."""
    for path in models.glob(f"{REPLACED}*"):
        whole = models / path.name.removeprefix(REPLACED)
        if not whole.exists():
            path.rename(whole)
    for path in models.glob(f"{PARTIAL}*"):
        shutil.rmtree(path, ignore_errors=True)
