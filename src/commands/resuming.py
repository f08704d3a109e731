"""`train --resume=RUN` and `rerun --run=RUN`: configurations that come from a recorded run instead of files."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tandem.records import checkpoint, checkpoint_folder, runs
from tandem import restored
from tandem.build import Built
from tandem.commands.flags import results_dir, settings
from tandem.config import loader
from tandem.config.commandline import Request, UsageError
from tandem.records import provenance, series, zoo
from tandem.records.record import FREE, FREE_SECTIONS, Resume, decisive


class Again(NamedTuple):
    """A recorded run that is resumed or repeated."""

    run: runs.StoredRun
    config: dict[str, Any]
    resumes: bool  # True: continued in the same record; False: repeated as a new run
    path: Path | None  # of the checkpoint to continue from; None = there is none yet, so from the beginning

    @property
    def resume_at(self) -> int | None:
        """The environment step at which the record continues; None = a new record."""
        return (int(self.path.name) if self.path else 0) if self.resumes else None


def prepare(request: Request) -> Again:
    """Return the run to resume or repeat; nothing on disk changes.

    Raises:
      UsageError: the run or checkpoint does not exist, a setting may not change, or the run is complete or running.
    """
    flag = "--run" if request.command == "rerun" else "--resume"
    _check_flags(request, flag)
    try:
        run = runs.find(zoo.located(request.named[flag]), results_dir(request.updates))
        resumes, path = request.command == "train", None
        if resumes:
            _check_resumable(run, request)
            path = _pick(run, request.named.get("--checkpoint"))
        again = Again(run, restored.checked_config(run, settings(request.updates)), resumes, path)
        if path:
            _check_same(again)
        _tell_changes(again)
        return again
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from None


def _check_flags(request: Request, flag: str) -> None:
    if request.command not in ("train", "rerun") or flag not in request.named:
        raise UsageError("which run? `train --resume=ID|PATH` continues one, `rerun --run=ID|PATH` repeats one")
    for other in ("--config", "--env-config"):
        if other in request.named:
            raise UsageError(f"{other}: a recorded run has its own configuration; leave the flag out")
    free = [*FREE] + [f"{section}.*" for section in FREE_SECTIONS]
    wrong = [update.key for update in request.updates if update.key.split(".")[0] not in FREE + FREE_SECTIONS]
    if wrong:
        raise UsageError(
            f"{', '.join(wrong)}: cannot be changed for a recorded run; these can: {', '.join(free)}. "
            "For other settings start a new run"
        )


def _check_resumable(run: runs.StoredRun, request: Request) -> None:
    """Raise if a run is still running, or complete with nothing left to do."""
    if {"-u", "--unobserved"} & set(request.rest):
        raise UsageError("-u: a resumed run needs its record; leave the flag out")
    if run.in_zoo:
        raise UsageError(
            f"{zoo.ZOO}/{run.id} is in the zoo, which stores parameters but not the state of the learner; "
            f"to train the same run again: rerun --run={zoo.ZOO}/{run.id}"
        )
    if run.running:
        raise UsageError(f"run '{run.id}' is still running; stop it first ({run.folder})")
    more = {update.key for update in request.updates} & {"t_max", "max_minutes"}
    if not more and run.status == "COMPLETED":
        raise UsageError(
            f"run '{run.id}' is complete; to train it further: --resume={run.id} with t_max=... or max_minutes=... "
            f"(they were {run.config.get('t_max')} and {run.config.get('max_minutes')})"
        )


def _pick(run: runs.StoredRun, which: str | None) -> Path | None:
    """Return the checkpoint to continue from; None if a run was killed before it saved one."""
    if which is None and checkpoint_folder.just_begun(run):
        return None
    return checkpoint_folder.pick(run.models, which or "last")


def _check_same(again: Again) -> None:
    """Raise if a checkpoint was made with other settings than the run's.

    Both may be older than some of today's settings, so the missing ones are filled in before the comparison.
    """
    saved = checkpoint_folder.read_meta(again.path).config
    with contextlib.suppress(loader.ConfigError):  # an unknown part or setting shows as a difference
        saved = loader.stored(saved, str(again.path / checkpoint_folder.META))
    odd = checkpoint.differences(decisive(saved), decisive(again.config))
    if odd:
        raise UsageError(
            f"the checkpoint {again.path} has another configuration than {again.run.folder / 'config.json'}: "
            f"they differ in {', '.join(odd)}"
        )


def _tell_changes(again: Again) -> None:
    """Print what has changed since the run was started, because other code or packages may give other results."""
    diff = again.run.folder / provenance.DIFF
    then = diff.read_text(errors="replace") if diff.exists() else ""
    now, diff_now = provenance.collect(again.config)
    for change in provenance.changes(provenance.read(again.run.folder), then, now, diff_now):
        print(f"changed since run {again.run.id}: {change}", flush=True)


def state(again: Again, built: Built) -> Resume:
    """Return the state in which the run continues.

    Raises:
      UsageError: a checkpoint or record is damaged or does not fit.
    """
    try:
        return _state(again, built)
    except (checkpoint_folder.CheckpointError, runs.RecordError) as error:
        raise UsageError(str(error)) from None


def _state(again: Again, built: Built) -> Resume:
    saved = checkpoint.read(again.path, built.run.shapes()) if again.path else None
    kept = series.until(series.of(again.run.folder), again.resume_at)
    latest = {name: points.values[-1] for name, points in kept.items()}
    if saved is not None:
        for jump in jumps(again, latest, built.learner.rates(saved.learner.step)):
            print(jump, flush=True)
    return Resume(again.run.id, again.resume_at, saved, latest, provenance.curves(again.run))


def jumps(again: Again, latest: Mapping[str, float], rates: Mapping[str, Any]) -> list[str]:
    """Return a line on what jumps if a run continues with another t_max, which schedules
    of progress and learning rates span.

    Args:
      latest: newest values of the metrics.
      rates: the learning rates from here on, under their metrics' names.
    """
    before, now, step = again.run.config.get("t_max"), again.config["t_max"], again.resume_at
    if before in (None, now) or not step:
        return []
    leaps = [f"progress from {min(step / before, 1.0):.2f} to {min(step / now, 1.0):.2f}"]
    leaps += [f"{name} from {latest[name]:.3g} to {float(rate):.3g}" for name, rate in rates.items() if name in latest]
    return [f"t_max was {before} and is {now}; schedules span all of it, so these jump: {', '.join(leaps)}"]
