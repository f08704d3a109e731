"""One trial of a sweep, in a process of Ray's: an ordinary training run, followed and reported to Ray Tune."""

import dataclasses
import fcntl
import json
import math
import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import IO, Any, NoReturn

from ray import tune

from tandem import machine
from tandem.experiments import processes, follower, capacity, search_space, tied
from tandem.records.places import replace_file

BEAT_SECONDS = 2.0  # seconds between writes of a trial's metrics; Sacred's 10 would stop trials late
STEP_SECONDS = 2.0  # seconds that Ray waits for an answer; meanwhile it cannot stop the trial
POLL_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Sweep:
    """The data that all trials share."""

    name: str
    folder: Path  # of the sweep's own files; absolute
    results: Path  # where runs are recorded; absolute
    workdir: str  # base of relative paths on the command line
    words: tuple[str, ...]  # of the training command, before `with`
    typed: tuple[str, ...]  # the settings that all trials share, key=value
    metric: str
    cores: int  # of each trial
    gpus: float  # of each trial, or a part of one

    @property
    def trials(self) -> Path:
        return self.folder / "trials"

    def log(self, trial: str) -> Path:
        return self.trials / f"{trial}.log"

    def facts(self, trial: str) -> Path:
        """Return the file that describes a trial: its settings, its run, its error."""
        return self.trials / f"{trial}.json"

    def comment(self, trial: str) -> str:
        return f"sweep {self.name}, trial {trial}"


class Trial(tune.Trainable):
    """A trial for Ray: each step is a new value of the metric, or a few seconds without one."""

    def setup(self, config: dict[str, Any], sweep: Sweep) -> None:
        os.chdir(sweep.workdir)
        self.sweep, self.settings, self.run = sweep, config, None
        self.after = follower.last_id(sweep.results)
        self.log = open(sweep.log(self.trial_id), "w")
        fcntl.flock(self.log, fcntl.LOCK_EX)  # the run inherits it, so the log is locked while the run is alive
        self.tell()
        flags = ["-c", sweep.comment(self.trial_id), "-b", str(BEAT_SECONDS)]
        words = [*sweep.words, "with", *sweep.typed, *search_space.words(config), *flags]
        cores, self.slot = free_cores(sweep)
        memory = (
            {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{capacity.GPU_MEMORY_USED * sweep.gpus:.2f}"}
            if 0 < sweep.gpus < 1
            else {}
        )
        self.process = Tied(words, self.log, cores, memory)
        self.follower: follower.Follower | None = None
        self.waiting: deque[follower.Point] = deque()  # read, but not yet reported to Ray
        self.told, self.last = False, follower.Point(math.nan, 0, 0.0)

    def step(self) -> dict[str, Any]:
        """Return the next value of the metric, the last one again after STEP_SECONDS, or the end.

        Raises:
          RuntimeError: the run has failed, or ended without the metric.
        """
        deadline = time.monotonic() + STEP_SECONDS
        while True:
            code = self.process.ended(0.0)  # checked before the points are read, so that none is missed at the end
            self.waiting.extend(self.points())
            if self.waiting:
                self.told, self.last = True, self.waiting.popleft()
                return self.result(done=code is not None and not self.waiting)
            if code is not None:
                return self.end(code)
            if time.monotonic() > deadline:
                return self.result(done=False)
            self.process.ended(POLL_SECONDS)

    def end(self, code: int) -> dict[str, Any]:
        """Return the closing result of a run that has ended by itself."""
        if code == 0 and self.told:
            return self.result(done=True)
        line = processes.last_line(self.sweep.log(self.trial_id))
        self.fail(f"exit status {code}: {line}" if code else f"ended without {self.sweep.metric}")

    def points(self) -> list[follower.Point]:
        """Return the values of the metric that are new."""
        if self.run is None:
            self.run = follower.find(self.sweep.results, self.sweep.comment(self.trial_id), self.after)
            if self.run is None:
                return []
            self.tell()
            self.follower = follower.Follower(self.run, self.sweep.metric)
        try:
            return self.follower.new()
        except follower.UnknownMetric as error:
            self.fail(str(error), hopeless=True)

    def result(self, done: bool) -> dict[str, Any]:
        percent = (
            self.last.percent if done else min(self.last.percent, 99.0)
        )  # at 100 ASHA would stop a run that is just ending
        return {"score": self.last.score, "env_step": self.last.step, "percent": percent, "done": done}

    def fail(self, problem: str, hopeless: bool = False) -> NoReturn:
        """Record an error and mark the trial as failed in Ray; a `hopeless` error would affect all trials."""
        self.tell(problem=problem, hopeless=hopeless)
        raise RuntimeError(problem)

    def tell(self, **problem: Any) -> None:
        settings = {key: search_space.plain(value) for key, value in self.settings.items()}
        facts = {"settings": settings, "run": self.run.id if self.run else None, **problem}
        replace_file(self.sweep.facts(self.trial_id), json.dumps(facts) + "\n")

    def cleanup(self) -> None:
        """End the run like Ctrl-C, so that it saves itself and is recorded as interrupted."""
        self.process.end()
        if self.follower:
            self.follower.close()
        self.log.close()
        self.slot.close()


def free_cores(sweep: Sweep) -> tuple[list[int], IO]:
    """Return cores of this machine that no other trial of the sweep uses, and the file that
    reserves them while it is open.
    """
    available = machine.cores()
    slots = max(1, len(available) // sweep.cores)
    for slot in range(slots):
        held = open(sweep.trials / f".cores-{socket.gethostname()}-{slot}", "w")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return capacity.shares(available, slots)[slot], held
        except BlockingIOError:
            held.close()
    return available, open(os.devnull, "w")  # more parallel trials than shares, so any cores are used


class Tied:
    """`python src/main.py WORDS`; it ends when it is asked to, and when this process is killed
    (src/experiments/tied.py).
    """

    def __init__(self, words: list[str], log: IO, cores: list[int], environment: dict[str, str]):
        self.code: int | None = None
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, cores)  # of this thread, for its children to inherit
            self.tether = subprocess.Popen(
                [sys.executable, tied.__file__, sys.executable, str(processes.MAIN), *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        finally:
            os.sched_setaffinity(0, before)

    def ended(self, timeout: float) -> int | None:
        """Return the exit status; None if it still runs after `timeout` seconds."""
        if self.code is None and select.select([self.tether.stdout], [], [], timeout)[0]:
            self.code = int(self.tether.stdout.read() or -9)  # no output, so the tether itself was killed
        return self.code

    def end(self) -> None:
        """End it like Ctrl-C and wait for it."""
        self.tether.stdin.close()
        self.ended(tied.PATIENCE + 10.0)
        self.tether.stdout.close()
        self.tether.wait()
