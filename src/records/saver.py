"""Writes a run's checkpoints in the background, and decides which ones to keep."""

import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tandem.records import checkpoint, checkpoint_folder
from tandem.records.checkpoint import Arrays
from tandem.records.checkpoint_folder import CheckpointError, Meta
from tandem.core import PyTree, Report
from tandem.core.metrics import result
from tandem.records.disk import PATIENCE, RETRY_SECONDS, reason, tell

HANGING_SECONDS = 600.0  # a checkpoint that takes longer will never be complete


class Saver:
    """Saves run states: at an interval, after the best evaluation so far, and on request.

    Training waits only while the state is copied in memory. A thread then writes one checkpoint at a time. If one is
    due by the interval while another is being written, it waits for the next report.
    """

    def __init__(
        self,
        models: Path,
        settings: Mapping[str, Any],
        config: Mapping[str, Any],
        before: Callable[[int], None],
        say: Callable[[str], Any] = tell,
    ):
        """Args:
        models: the folder of the run's checkpoints.
        settings: the section `checkpoint_args`.
        config: the settings on which a state depends, stored with it.
        before: called in the thread with the environment step, before a checkpoint of that step is visible.
        say: gets one line when a checkpoint cannot be written, and one when it has been written.
        """
        self.models, self.settings, self.config, self.before, self.say = models, settings, dict(config), before, say
        self.best = _best(models)
        self.last_step, self.last_time = 0, time.monotonic()
        self.buffers: Arrays = {}
        self.preparing: Future | None = None
        self.writing: Future | None = None
        self.give_way = threading.Event()  # set to give up a failing write, for a newer state or at the end
        self.hung = False  # the thread has hung for very long
        self.problem: str | None = None  # why the last checkpoint could not be written
        self.blocked: list[float] = []  # seconds that training waited, for each checkpoint
        self.written: list[float] = []  # seconds until each checkpoint was written

    def start_at(self, begun: int) -> None:
        """Continue from a step: remove incomplete checkpoints of a killed process, and
        checkpoints after the step.
        """
        checkpoint_folder.tidy(self.models)
        for step in checkpoint_folder.steps(self.models):
            if step > begun:
                checkpoint_folder.remove(self.models / str(step))
        self.best, self.last_step = _best(self.models), begun

    def offer(self, report: Report, state: PyTree) -> None:
        """Save the state if it is due."""
        if self.preparing is None:
            arrays, _ = checkpoint.split(state)
            shapes = {name: (array.shape, array.dtype) for name, array in arrays.items()}
            self.preparing = _in_background(self._prepare, shapes)
        score = _score(report)
        best = self.settings["keep_best"] and score is not None and score > self.best
        busy = self.writing is not None and not self.writing.done()
        if best or (self._due(report.step) and not busy):
            self.save(report, state)

    def _due(self, step: int) -> bool:
        steps, minutes = self.settings["every_steps"], self.settings["every_minutes"]
        by_steps = 0 < steps <= step - self.last_step
        apart = self.settings["keep_every_steps"]
        along_the_way = 0 < apart and step // apart > self.last_step // apart
        return by_steps or along_the_way or 0 < 60 * minutes <= time.monotonic() - self.last_time

    def save(self, report: Report, state: PyTree) -> None:
        """Copy the state and start writing it, after the present checkpoint is written or has failed."""
        if not self._leave_what_fails():
            return
        began = time.monotonic()
        arrays, keys = checkpoint.split(state)
        self._copy(arrays)
        score = _score(report)
        self.best = max(self.best, -math.inf if score is None else score)
        self.last_step, self.last_time = report.step, time.monotonic()
        meta = Meta(step=report.step, update=report.update, score=score, config=self.config, keys=keys)
        self.blocked.append(time.monotonic() - began)
        self.writing = _in_background(self._write, meta, began)

    def _prepare(self, shapes: Mapping[str, tuple]) -> None:
        """Allocate the memory for copies of states, because this takes longer than copying
        (0.14 s against 0.02 for 56 MB).
        """
        self.buffers = {name: np.full(shape, 0, dtype) for name, (shape, dtype) in shapes.items()}

    def _copy(self, arrays: Mapping[str, Any]) -> None:
        """Copy arrays into their allocated memory."""
        for name, array in jax.device_get(dict(arrays)).items():
            if name in self.buffers:
                np.copyto(self.buffers[name], array)
            else:
                self.buffers[name] = np.array(array)

    def _write(self, meta: Meta, began: float) -> None:
        """Write the copy, and repeat until this succeeds; runs in the thread."""
        while not self._written(meta) and not self.give_way.wait(RETRY_SECONDS):
            pass
        self.written.append(time.monotonic() - began)

    def _written(self, meta: Meta) -> bool:
        """Write a checkpoint, remove old ones, and return whether this succeeded; a failure is reported once."""
        try:
            self.before(meta.step)
            checkpoint.write(self.models / str(meta.step), self.buffers, meta)
            for step in _superfluous(self.models, self.settings):
                checkpoint_folder.remove(self.models / str(step))
        except Exception as error:  # a full disk must not end the training
            checkpoint_folder.tidy(self.models)  # an incomplete checkpoint takes up space for the next attempt
            what = f"the checkpoint at step {meta.step:,}"
            if self.problem is None:
                self.say(f"{what} cannot be written: {reason(error)}; it is tried again")
            self.problem = f"{what} could not be written: {reason(error)}"
            return False
        if self.problem is not None:
            self.say(f"the checkpoint at step {meta.step:,} is written")
        self.problem = None
        return True

    def _wait(self, seconds: float = HANGING_SECONDS) -> bool:
        """Return whether the thread has ended, after at most this many seconds."""
        tasks = [task for task in (self.preparing, self.writing) if task is not None]
        done, left = wait(tasks, seconds)
        for task in done:
            task.result()
        return not left

    def _leave_what_fails(self) -> bool:
        """Return whether the memory for states is free: a checkpoint that fails leaves it, and was not the best."""
        self.give_way.set()
        if not self._wait(0.0 if self.hung else HANGING_SECONDS):
            self._hang()
            return False
        self.give_way.clear()
        self.hung = False
        if self.problem:
            self.best = _best(self.models)
        return True

    def _hang(self) -> None:
        """Note that the thread hangs, for instance on an unreachable network disk, and report it once."""
        self.problem = f"a checkpoint in {self.models} has hung for {HANGING_SECONDS:.0f} seconds while being written"
        if not self.hung:
            self.say(f"{self.problem}; the run continues without checkpoints")
        self.hung = True

    def close(self, last: tuple[Report, PyTree] | None, patience: float = PATIENCE) -> None:
        """Save the run's last state, if it is not saved yet, and wait until it is on the disk.

        If the disk fails, this waits for `patience` seconds; then `problem` says what is missing.
        """
        if last is not None and last[0].step != self.last_step:
            self.save(*last)
        deadline = time.monotonic() + patience
        while not self._wait(RETRY_SECONDS / 5):
            if self.problem and time.monotonic() >= deadline:
                self.give_way.set()
            if self.hung or time.monotonic() >= deadline + HANGING_SECONDS:
                self._hang()
                return


def _in_background(call: Callable[..., Any], *args: Any) -> Future:
    """Call in a daemon thread, because an executor's thread would keep the process alive if the disk hangs."""
    future: Future = Future()

    def work() -> None:
        try:
            future.set_result(call(*args))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="checkpoint", daemon=True).start()
    return future


def _score(report: Report) -> float | None:
    """Return the score that ranks checkpoints, if this report has an evaluation."""
    score = result(report.metrics)
    return None if score is None or not math.isfinite(score) else float(score)


def _best(models: Path) -> float:
    scores = [_saved_score(models / str(step)) for step in checkpoint_folder.steps(models)]
    return max(scores, default=-math.inf)


def _saved_score(path: Path) -> float:
    try:
        score = checkpoint_folder.read_meta(path).score
    except CheckpointError:
        score = None
    return -math.inf if score is None or not math.isfinite(score) else score


def along_the_way(steps: list[int], apart: int) -> set[int]:
    """Return which of the ascending steps to keep for a distance of `apart`: the first after each multiple; none for
    0.
    """
    if not apart:
        return set()
    first = {step // apart: step for step in reversed(steps)}
    return {step for multiple, step in first.items() if multiple > 0}


def _superfluous(models: Path, settings: Mapping[str, Any]) -> list[int]:
    """Return the steps of checkpoints to remove: not among the last, not the best, and not kept by distance."""
    steps = checkpoint_folder.steps(models)
    kept = set(steps[-settings["keep_last"] :]) | along_the_way(steps, settings["keep_every_steps"])
    best = checkpoint_folder.best(models)
    if settings["keep_best"] and best is not None:
        kept.add(int(best.name))
    return [step for step in steps if step not in kept]
