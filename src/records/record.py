"""Drives a run: reports go to Sacred, TensorBoard and the screen, and run states to
checkpoints.
"""

import contextlib
import logging
import math
import shlex
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, NamedTuple

from tandem import program
from tandem.records import checkpoint_folder
from tandem.config import schema
from tandem.core import PyTree, Report, RunError, Runner
from tandem.core.metrics import result
from tandem.records import provenance
from tandem.records.curves import Curves
from tandem.records.delivery import Delivery
from tandem.records.disk import PATIENCE, need
from tandem.records.files import FileRecord
from tandem.records.places import Places, title
from tandem.records.progress import Progress, not_finite
from tandem.records.saver import Saver
from tandem.records.screen import Screen, summary
from tandem.records.transcript import Transcript
from tandem.signals import Stopping

# Settings that change neither what is learned nor what a state means, so that they may change
# when a run is resumed. Its length is one.
FREE = ("t_max", "max_minutes", *(key for key in schema.bookkeeping() if key not in schema.SECTIONS))
FREE_SECTIONS = tuple(key for key in schema.bookkeeping() if key in schema.SECTIONS)


class Resume(NamedTuple):
    """The point at which an interrupted run continues."""

    run_id: str
    step: int  # of the checkpoint; later records are dropped and made again
    state: PyTree  # None = from the beginning
    metrics: dict[str, float]  # latest value of each until then
    curves: str | None  # folder of its curves, under the results folder


def decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that determine what is learned and what a run state means."""
    return {key: value for key, value in config.items() if key not in FREE + FREE_SECTIONS}


def record(sacred_run: Any, config: Mapping[str, Any], run: Runner, resume: Resume | None = None) -> float | None:
    """Drive a run to its end, record every report, and return the last evaluation's return
    (with search, if any).

    Every metric goes to the Sacred run's observers and to TensorBoard under its own name, at its environment step.
    A signal ends the run at its next report; all reports are recorded, and its state is saved.

    Raises:
      RunError: the numbers of the run are no longer finite, and on_nan is "stop".
      KeyboardInterrupt: the run was interrupted; raised after it is saved, so that Sacred marks it INTERRUPTED.
      RunError: the run has reached its end, but its record or last checkpoint could not be written completely.
    """
    # It warns of every NaN; Tandem warns once.
    logging.getLogger("tensorboardX").setLevel(logging.ERROR)
    places = Places(config, sacred_run._id, resume.curves if resume else None)
    progress = Progress(config["t_max"], 60 * config["max_minutes"], getattr(run, "clock", "environment steps"))
    transcript = Transcript()
    transcript.keep_with(sacred_run)
    screen = Screen(progress, transcript)
    curves = _begin(sacred_run, config, places, progress, screen, resume)
    with Stopping() as stopping:
        delivery, saver = Delivery(sacred_run, curves, screen.say), None
        try:
            saver = _saver(config, places, delivery, resume, screen.say)
            reports = run(config["seed"], resume.state) if resume else run(config["seed"])
            broken = Broken(stops=config.get("on_nan") == "stop")
            drive = Drive(sacred_run, progress, delivery, screen, saver, stopping, broken)
            interrupted = drive.to_the_end(reports)
            if not interrupted:
                curves.finish()
            screen.say(summary(config, progress, places, interrupted))
            if interrupted and saver and checkpoint_folder.steps(saver.models):
                again = f"{program.SCRIPT} train --resume={shlex.quote(str(places.record))}"
                screen.say(program.named(f"to continue: {again}"))
        finally:
            waited = saver and saver.problem  # for the same disk
            unwritten = delivery.close(PATIENCE if stopping.patient and not waited else 0.0)
    _end(sacred_run, [unwritten, saver and saver.problem], interrupted, screen)
    return _finite(result(progress.last))


class Broken:
    """Watches for numbers that are not finite, and reports them once."""

    def __init__(self, stops: bool):
        self.stops, self.told = stops, False

    def see(self, report: Report, say: Callable[[str], None]) -> str:
        """Return why the run has to end after this report; "" if it need not."""
        names = not_finite(report.metrics)
        if names and not self.told:
            self.told = True
            say(f"not finite at step {report.step:,}: {', '.join(names)}")
        if not names or not self.stops:
            return ""
        return (
            f"the run has ended at step {report.step:,}, because these are not finite numbers: {', '.join(names[:3])}"
            f"{' and others' if len(names) > 3 else ''}; lower the learning rate or the scale of rewards, or "
            "train on all "
            "the same with on_nan=continue"
        )


class Drive(NamedTuple):
    """The recorder of a running run's reports and states."""

    sacred_run: Any
    progress: Progress
    delivery: Delivery
    screen: Screen
    saver: Saver | None
    stopping: Stopping
    broken: Broken

    def to_the_end(self, reports: Generator[tuple[Report, PyTree]]) -> bool:
        """Drive the run and return whether it was interrupted in any way.

        Raises:
          RunError: numbers are not finite; the state with them is not saved.
        """
        try:
            with self.screen, contextlib.closing(reports):
                return self._drive(reports)
        except KeyboardInterrupt:
            return True

    def _drive(self, reports: Iterable[tuple[Report, PyTree]]) -> bool:
        """Record all reports; return whether the run was asked to stop before its end."""
        last = None
        for report, state in reports:
            last, self.stopping.reported = (report, state), True  # from here on there is something to save
            self._keep(report)
            if problem := self.broken.see(report, self.screen.say):
                if self.saver:
                    self.saver.close(None)
                raise RunError(problem)
            if self.stopping.asked:
                break
            if self.saver:
                self.saver.offer(report, state)
        interrupted = self.stopping.asked
        if self.saver:
            self.saver.close(last, PATIENCE)
        return interrupted

    def _keep(self, report: Report) -> None:
        """Record a report and show it."""
        self.progress.add(report)
        self.delivery.add(report)
        if result(report.metrics) is not None:
            self.sacred_run.result = _finite(result(report.metrics))  # recorded even if the run never finishes
        self.screen.show(report)
        for note in report.notes:
            self.screen.say(note)


def _begin(sacred_run, config, places: Places, progress: Progress, screen: Screen, resume: Resume | None) -> Curves:
    """Print that the run begins or continues, record its provenance, and return its curves."""
    step = resume.step if resume else None
    screen.say(f"{title(config)}\n{places}")
    if resume:
        progress.step, progress.last = resume.step, dict(resume.metrics)
        sacred_run.result = result(resume.metrics)
        screen.say(f"resuming from step {resume.step:,}")
    need(f"the record {places.record}", lambda: provenance.add(sacred_run, config, places, step), screen.say)
    curves = Curves(places.curves, config, step)
    need(f"the curves {places.curves}", curves.flush, screen.say)
    return curves


def _end(sacred_run: Any, problems: Iterable[str | None], interrupted: bool, screen: Screen) -> None:
    """Report what could not be written, if anything, and raise if the run did not end well.

    Raises:
      KeyboardInterrupt, RunError: the run was interrupted, or its record is incomplete.
    """
    problem = "; ".join(filter(None, problems))
    if problem:
        for observer in sacred_run.observers:
            if isinstance(observer, FileRecord):
                observer.patience = 0.0  # the wait is over
    if interrupted:
        if problem:
            screen.say(problem)
        raise KeyboardInterrupt
    if problem:
        raise RunError(f"the run has reached its end, but not all of it could be written: {problem}")


def _finite(score: float | None) -> float | None:
    return score if score is not None and math.isfinite(score) else None


def _saver(
    config: Mapping[str, Any], places: Places, delivery: Delivery, resume: Resume | None, say: Callable[[str], Any]
) -> Saver | None:
    """Return the saver of checkpoints; None if the run has no record to which they could belong."""
    if places.models is None:
        return None

    def flush(step: int) -> None:
        """Write all metrics up to a step to the disk, because a run that resumes there does not compute them again."""
        delivery.flush()

    def prepare() -> None:
        if resume is None and places.models.exists():  # left by a run whose record was removed
            stamp = time.strftime("%Y%m%d-%H%M%S")
            places.models.rename(places.models.with_name(f"{places.models.name}.before-{stamp}"))
        places.models.mkdir(parents=True, exist_ok=True)

    need(f"the folder {places.models}", prepare, say)
    saver = Saver(places.models, config["checkpoint_args"], decisive(config), flush, say)
    saver.start_at(resume.step if resume else 0)
    return saver
