"""A seed batch: one configuration with several seeds, as many runs at once as fit the machine."""

import dataclasses
import fcntl
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import IO, Any

from rich.console import Console
from rich.live import Live

from tandem import machine, program
from tandem.config.commandline import MONGO, Request, UsageError
from tandem.config.values import shown
from tandem.experiments import capacity, processes, seeds
from tandem.experiments.batch_table import live_table, summary
from tandem.experiments.configuration import resolve
from tandem.hiding import hidden
from tandem.records import checkpoint_folder, runs
from tandem.records.record import FREE, FREE_SECTIONS
from tandem.signals import Counted

OK, FAILED, INTERRUPTED = 0, 1, 130
AUTO = "auto"  # as many jobs as fit


@dataclasses.dataclass
class Job:
    """One seed's part of the batch."""

    seed: int
    state: str = "waiting"  # skipped, elsewhere, running, done, failed, interrupted
    words: list[str] = dataclasses.field(default_factory=list)  # the arguments of main.py
    slot: int = -1
    process: subprocess.Popen | None = None
    log: IO | None = None

    @property
    def resumes(self) -> bool:
        return any(word.startswith("--resume=") for word in self.words)


def run(request: Request, wanted: Sequence[int], jobs: str) -> int:
    """Train a configuration under all seeds and return the exit status: 0 all are finished, 1 not all, 130 interrupted.

    Args:
      jobs: runs at once; AUTO = as many as fit.

    Raises:
      UsageError: the configuration cannot be used, or `jobs` is no number.
    """
    config = resolve(request, builds=True)  # because all seeds would fail with the same mistake
    devices = capacity.gpus(config["platform"])
    count = number_of_jobs(jobs, len(wanted), len(devices))
    return Drive(seeds.Batch(config, wanted), request, count, capacity.settings(devices, count)).run()


def asked_jobs(flag: str | None) -> str:
    """Return the requested number of parallel runs: by --jobs, else by $JOBS, else AUTO.

    Raises:
      UsageError: it is no number.
    """
    asked = (os.environ.get("JOBS") or AUTO) if flag is None else flag
    check_jobs(asked)
    return asked


def number_of_jobs(asked: str, num_seeds: int, num_gpus: int) -> int:
    """Return the number of parallel runs.

    Raises:
      UsageError: the requested number is no number.
    """
    check_jobs(asked)
    fitting = capacity.default_jobs(len(machine.cores()), machine.free_memory().free, num_gpus)
    return min(num_seeds, fitting if asked == AUTO else int(asked))


def check_jobs(asked: str) -> None:
    """Raise if the requested number of runs is no number.

    Raises:
      UsageError: the message shows it.
    """
    if asked != AUTO and not re.fullmatch(r"0*[1-9][0-9]{0,8}", asked):
        raise UsageError(f"jobs {shown(asked)} (--jobs or $JOBS): expected a whole number, 1 or more")


class Drive:
    """Starts a batch's runs, watches them and ends them."""

    def __init__(self, batch: seeds.Batch, request: Request, jobs: int, environments: Sequence[dict[str, str]]):
        self.batch, self.request, self.environments = batch, request, environments
        self.shares = capacity.shares(machine.cores(), jobs)
        self.free = list(range(jobs))  # slots; a slot is a share of the cores
        self.jobs = [Job(seed) for seed in batch.seeds]
        self.console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 120)

    def run(self) -> int:
        """Run the whole batch and return the exit status."""
        self.batch.logs.mkdir(parents=True, exist_ok=True)
        self.plan()
        self.say(f"{len(self.jobs)} seeds, {len(self.shares)} at once; logs: {self.batch.logs}")
        with Counted() as signals:
            try:
                with self.screen():
                    while not signals.count and any(job.state in ("waiting", "running") for job in self.jobs):
                        self.step()
                        time.sleep(processes.POLL_SECONDS)
                if signals.count:
                    self.say("interrupted: ending the runs (again to kill them) ...")
            finally:
                self.stop(signals)
        self.console.print(summary(self.batch, {job.seed: job.state for job in self.jobs}))
        complete = all(job.state in ("done", "skipped") for job in self.jobs)
        return INTERRUPTED if signals.count else OK if complete else FAILED

    def plan(self) -> None:
        """Decide for each seed whether it is skipped, resumed or started."""
        recorded = self.batch.recorded()
        for job in self.jobs:
            run = recorded.get(job.seed)
            if run and run.status == seeds.DONE:
                job.state = "skipped"
            elif run and run.running:
                job.state = "elsewhere"
            elif run and checkpoint_folder.resumable(run):
                job.words = resume_words(self.request, run)
            else:
                job.words = train_words(self.request, job.seed)

    def step(self) -> None:
        """Collect runs that have ended, and start others."""
        for job in self.jobs:
            if job.process and job.process.poll() is not None and job.state == "running":
                code = job.process.returncode
                self.finish(job, "done" if code == 0 else "interrupted" if code in (130, -15, -2) else "failed")
        for job in self.jobs:
            if job.state == "waiting" and self.free:
                self.start(job)

    def start(self, job: Job) -> None:
        job.log = lock(self.batch.log(job.seed))
        if job.log is None:
            job.state = "elsewhere"
            return self.say(f"seed {job.seed}: another batch is running it")
        job.slot = self.free.pop(0)
        words = [hidden(word) for word in job.words]  # only the run gets MongoDB's password
        command = program.named(f"{program.SCRIPT} {shlex.join(words)}")
        job.log.write(f"\n--- {time.strftime('%Y-%m-%d %H:%M:%S')}  {command}\n")
        job.log.flush()
        job.process = processes.start(job.words, job.log, self.shares[job.slot], self.environments[job.slot])
        job.state = "running"
        self.say(f"seed {job.seed}: {'resumed' if job.resumes else 'started'}")

    def finish(self, job: Job, state: str) -> None:
        job.state = state
        job.log.close()
        self.free.append(job.slot)
        log = self.batch.log(job.seed)
        self.say(
            f"seed {job.seed}: {state}" + (f", see {log}: {processes.last_line(log)}" if state == "failed" else "")
        )

    def stop(self, signals: Counted) -> None:
        """End all running runs."""
        running = [job for job in self.jobs if job.state == "running"]
        processes.end([job.process for job in running], signals)
        for job in running:
            self.finish(job, "done" if job.process.returncode == 0 else "interrupted")

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    def screen(self) -> Any:
        """Return the live table of a terminal; other outputs only get lines."""
        if not self.console.is_terminal:
            return nullcontext()
        return Live(get_renderable=self.table, console=self.console, refresh_per_second=1, transient=True)

    def table(self) -> Any:
        logs = {job.seed: processes.last_line(self.batch.log(job.seed)) for job in self.jobs if job.state == "running"}
        return live_table({job.seed: job.state for job in self.jobs}, logs)


def train_words(request: Request, seed: int) -> list[str]:
    """Return main.py's arguments that train one seed: the words of the batch as typed."""
    typed = [f"{update.key}={update.raw}" for update in request.updates]
    names = [f"--config={request.config}", f"--env-config={request.env_config}"]
    return ["train", *names, *_mongo(request), "with", f"seed={seed}", *typed]


def resume_words(request: Request, run: runs.StoredRun) -> list[str]:
    """Return main.py's arguments that resume a run: its own configuration, with the places of records of this batch.

    A record does not contain the password of its MongoDB, so it must come from here.
    """
    kept = [key for key in FREE + FREE_SECTIONS if key not in ("t_max", "max_minutes", "results_dir")]
    typed = [f"{update.key}={update.raw}" for update in request.updates if update.key.split(".")[0] in kept]
    return ["train", f"--resume={run.folder}", *_mongo(request), *(["with", *typed] if typed else [])]


def _mongo(request: Request) -> list[str]:
    return [f"{MONGO}={request.mongo}"] if request.mongo else []


def lock(log: os.PathLike) -> IO | None:
    """Return the log opened for more, locked for as long as this process or the run that writes to it lives.

    None if it is locked already: the run lives.
    """
    file = open(log, "a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file
    except BlockingIOError:
        file.close()
        return None
