"""`train --resume=RUN` and `rerun --run=RUN`: configurations that come from a recorded run instead of files."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from src import checkpoint, restored, runs
from src.commands.arguments import results_dir, settings
from src.config.commandline import Request, UsageError
from src.core import Runner
from src.recording import files, provenance
from src.recording.record import FREE, FREE_SECTIONS, Resume, decisive


class Again(NamedTuple):
    """A recorded run that is gone on with or repeated."""

    run: runs.StoredRun
    config: dict[str, Any]
    path: Path | None  # of the checkpoint to go on from; None = from the beginning, as a new run

    @property
    def resume_at(self) -> int | None:
        return int(self.path.name) if self.path else None


def prepare(request: Request) -> Again:
    """Return what is to be gone on with or repeated; nothing is changed on disk.

    Raises:
      UsageError: no such run or checkpoint, a setting that may not change, a run that is over or still going on.
    """
    flag = "--run" if request.command == "rerun" else "--resume"
    _check_flags(request, flag)
    try:
        run = runs.find(request.named[flag], results_dir(request.updates))
        if request.command == "rerun":
            return _rerun(run, request)
        _check_resumable(run, request)
        path = checkpoint.pick(checkpoint.folder(run.results, run.id), request.named.get("--checkpoint", "last"))
        again = Again(run, restored.checked_config(run, settings(request.updates)), path)
        _check_same(again)
        return again
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from None


def _check_flags(request: Request, flag: str) -> None:
    if request.command not in ("train", "rerun") or flag not in request.named:
        raise UsageError("which run? `train --resume=ID|PATH` goes on with one, `rerun --run=ID|PATH` repeats one")
    for other in ("--config", "--env-config"):
        if other in request.named:
            raise UsageError(f"{other}: a recorded run brings its own configuration; leave the flag out")
    free = [key for key in FREE] + [f"{section}.*" for section in FREE_SECTIONS]
    wrong = [update.key for update in request.updates if update.key.split(".")[0] not in FREE + FREE_SECTIONS]
    if wrong:
        raise UsageError(
            f"{', '.join(wrong)}: cannot be changed for a recorded run; what can be: {', '.join(free)}. "
            "For other settings start a new run"
        )


def _check_resumable(run: runs.StoredRun, request: Request) -> None:
    """Complain of a run that is still going on, or over with nothing left to do."""
    try:
        files.lock(run.folder).close()
    except BlockingIOError:
        raise UsageError(f"run '{run.id}' is still running; stop it first ({run.folder})") from None
    more = {update.key for update in request.updates} & {"t_max", "max_minutes"}
    if not more and _status(run) == "COMPLETED":
        raise UsageError(
            f"run '{run.id}' is complete; to train it further: --resume={run.id} with t_max=... or max_minutes=... "
            f"(they were {run.config.get('t_max')} and {run.config.get('max_minutes')})"
        )


def _status(run: runs.StoredRun) -> str:
    try:
        return run.read("run.json")["status"]
    except (OSError, ValueError, KeyError):
        return "unknown"


def _check_same(again: Again) -> None:
    """Complain of a checkpoint that was made with other settings than the run's."""
    odd = checkpoint.differences(checkpoint.read_meta(again.path).config, decisive(again.config))
    if odd:
        raise UsageError(
            f"the checkpoint {again.path} is of another configuration than {again.run.folder / 'config.json'}: "
            f"they differ in {', '.join(odd)}"
        )


def _rerun(run: runs.StoredRun, request: Request) -> Again:
    """Return a run to be repeated, after saying what is not as it was then."""
    config = restored.checked_config(run, settings(request.updates))
    diff = run.folder / provenance.DIFF
    now, diff_now = provenance.collect(config)
    then = diff.read_text() if diff.exists() else ""
    for change in provenance.changes(provenance.read(run.folder), then, now, diff_now):
        print(f"not as in run {run.id}: {change}", flush=True)
    return Again(run, config, None)


def state(again: Again, runner: Runner) -> Resume:
    """Return where the run goes on.

    Raises:
      UsageError: a checkpoint that is damaged or does not fit.
    """
    try:
        saved = checkpoint.read(again.path, runner.shapes())
    except checkpoint.CheckpointError as error:
        raise UsageError(str(error)) from None
    series = files.until(_metrics(again.run), again.resume_at)
    latest = {name: values["values"][-1] for name, values in series.items()}
    curves = provenance.read(again.run.folder).get("curves")
    return Resume(again.run.id, again.resume_at, saved, latest, curves)


def _metrics(run: runs.StoredRun) -> dict[str, Any]:
    try:
        return run.read("metrics.json")
    except FileNotFoundError:  # killed before any was written
        return {}
    except json.JSONDecodeError as error:
        raise UsageError(f"{run.folder / 'metrics.json'} is damaged: {error}") from None
