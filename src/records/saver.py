"""When a run's checkpoints are written, in the background, and which are kept."""

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

HANGING_SECONDS = 600.0  # a checkpoint that takes longer will never be there


class Saver:
    """Saves run states: at an interval, after the best evaluation so far, and when told to.

    Training waits only while the state is copied in memory. What keeps the state is written by a thread of its own, one
    checkpoint at a time: one that is due by the interval while another is being written waits for the next report.
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
        config: the settings that decide what a state means, kept with it.
        before: called in the thread with the environment step, before a checkpoint of that step can be seen.
        say: told in one line that a checkpoint cannot be written, at once, and that it has been.
        """
        self.models, self.settings, self.config, self.before, self.say = models, settings, dict(config), before, say
        self.best = _best(models)
        self.last_step, self.last_time = 0, time.monotonic()
        self.buffers: Arrays = {}
        self.preparing: Future | None = None
        self.writing: Future | None = None
        self.give_way = threading.Event()  # what cannot be written is to be left, for a newer state or at the end
        self.hung = False  # the thread has not come back for very long
        self.problem: str | None = None  # why the last checkpoint could not be written
        self.blocked, self.written = [], []  # seconds of each checkpoint: training waited, in all

    def start_at(self, begun: int) -> None:
        """Go on from a step: what half a checkpoint a killed process left is removed,
        and checkpoints after the step.
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
        """Copy the state and have it written; a checkpoint being written is waited for, one that fails is left."""
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
        """Get the memory that states are copied to; getting it takes longer than copying
        (0.14 s against 0.02 for 56 MB).
        """
        self.buffers = {name: np.full(shape, 0, dtype) for name, (shape, dtype) in shapes.items()}

    def _copy(self, arrays: Mapping[str, Any]) -> None:
        """Copy arrays into the memory kept for them."""
        for name, array in jax.device_get(dict(arrays)).items():
            if name in self.buffers:
                np.copyto(self.buffers[name], array)
            else:
                self.buffers[name] = np.array(array)

    def _write(self, meta: Meta, began: float) -> None:
        """Write what was copied, again and again until it is there; runs in the thread."""
        while not self._written(meta) and not self.give_way.wait(RETRY_SECONDS):
            pass
        self.written.append(time.monotonic() - began)

    def _written(self, meta: Meta) -> bool:
        """Write a checkpoint, remove what need not be kept, and return whether that went well; trouble is said once."""
        try:
            self.before(meta.step)
            checkpoint.write(self.models / str(meta.step), self.buffers, meta)
            for step in _superfluous(self.models, self.settings):
                checkpoint_folder.remove(self.models / str(step))
        except Exception as error:  # a full disk must not end the training
            checkpoint_folder.tidy(self.models)  # what is half written takes the room of what is tried next
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
        """Return whether the thread has ended, waiting for it no longer than so many seconds."""
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
        """Note that the thread does not come back, as where a network disk is gone, and say it once."""
        self.problem = f"a checkpoint in {self.models} has hung for {HANGING_SECONDS:.0f} seconds while it was written"
        if not self.hung:
            self.say(f"{self.problem}; the run continues without checkpoints")
        self.hung = True

    def close(self, last: tuple[Report, PyTree] | None, patience: float = PATIENCE) -> None:
        """Save the run's last state, if it is not saved yet, and wait until it is on the disk.

        A disk that takes nothing is waited for `patience` seconds; `problem` says then what is missing.
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


def _in_background(call: Callable[..., None], *args: Any) -> Future:
    """Call in a thread that keeps no process from ending, as one of an executor would if the disk hangs."""
    future: Future = Future()

    def work() -> None:
        try:
            future.set_result(call(*args))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="checkpoint", daemon=True).start()
    return future


def _score(report: Report) -> float | None:
    """Return what checkpoints are compared by, if this report holds an evaluation."""
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
    """Return which of the ascending steps remain where checkpoints are kept so many steps apart: the first after each
    multiple of `apart`; none where it is 0.
    """
    if not apart:
        return set()
    first = {step // apart: step for step in reversed(steps)}
    return {step for multiple, step in first.items() if multiple > 0}


def _superfluous(models: Path, settings: Mapping[str, Any]) -> list[int]:
    """Return the steps of checkpoints that are neither among the last, nor the best, nor kept along the way."""
    steps = checkpoint_folder.steps(models)
    kept = set(steps[-settings["keep_last"] :]) | along_the_way(steps, settings["keep_every_steps"])
    if settings["keep_best"]:
        kept.add(int(checkpoint_folder.best(models).name))
    return [step for step in steps if step not in kept]
