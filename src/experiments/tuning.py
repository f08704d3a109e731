"""Hyperparameter search: what a sweep is asked for, its checks, and its course from the first trial to the report."""

import dataclasses
import math
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from tandem import machine
from tandem.config.commandline import Request, UsageError
from tandem.core import RunError
from tandem.experiments import capacity, follower, search_space, sweep_report
from tandem.experiments.configuration import resolve
from tandem.signals import handled

OK, FAILED, INTERRUPTED = 0, 1, 130
SAMPLERS = ("random", "grid", "optuna")
SCHEDULERS = ("asha", "none")
MODES = ("max", "min")
SAMPLES = 10
MOST_TRIALS = 100_000


@dataclasses.dataclass(frozen=True)
class Search:
    """What a sweep is asked for."""

    file: str  # of the space, as it was typed
    space: tuple[search_space.Dimension, ...]
    sampler: str  # one of SAMPLERS
    samples: int | None = None  # draws from the space; None = SAMPLES
    scheduler: str = "asha"  # one of SCHEDULERS
    grace: float = 11.0  # asha: percent of its budget that every trial gets
    metric: str | None = None  # None = by what runs of the configuration are judged
    mode: str = "max"  # one of MODES
    concurrent: int | None = None  # trials at once; None = as many as there is room for
    ray_address: str | None = None  # of a cluster to join; None = start Ray here

    @property
    def draws(self) -> int:
        """How often every combination of the space's lists is drawn."""
        return self.samples or (1 if self.sampler == "grid" else SAMPLES)

    @property
    def trials(self) -> int:
        """How many trials the sweep has in all."""
        if self.sampler == "grid":
            return math.prod(len(one.values) for one in self.space)
        return self.draws * (search_space.grid_size(self.space) if self.sampler == "random" else 1)


def default_sampler(space: tuple[search_space.Dimension, ...]) -> str:
    """Return the sampler of a sweep that names none: a grid where the space has only lists."""
    return "grid" if all(one.kind == search_space.GRID for one in space) else "random"


def check_sampler(search: Search) -> None:
    """Complain where the sampler cannot search this space, or would have to try more of it than anybody waits for."""
    if search.trials > MOST_TRIALS:
        raise UsageError(f"--space={search.file}: {search.trials:,} trials; at most {MOST_TRIALS:,} can be run")
    ranges = [one.key for one in search.space if not one.listed]
    if search.sampler != "grid":
        return
    if ranges:
        raise UsageError(
            f"--sampler=grid: {', '.join(ranges)} in {search.file} is a range; a grid needs lists or choices"
        )
    if search.samples:
        raise UsageError("--samples: a grid tries every combination; leave --samples out, or choose another --sampler")


def run(search: Search, request: Request) -> int:
    """Check and run a sweep, and return the exit status: 0 a best configuration is written, 1 none, 130 interrupted.

    Args:
      request: the configuration that all trials stand upon.

    Raises:
      UsageError: the space cannot be searched so, or a trial could not be trained.
    """
    check_sampler(search)
    config = resolve(request)
    source = str(search_space.find(search.file))
    search_space.check(search.space, source, request)
    # Trials would all end of the same mistake.
    resolve(search_space.first_trial(search.space, source, request), builds=True)
    search = dataclasses.replace(search, metric=search.metric or follower.default_metric(config))
    try:
        return drive(search, request, config)
    except RunError as error:  # its message says all
        print(error, file=sys.stderr)
        return FAILED


def drive(search: Search, request: Request, config: dict[str, Any]) -> int:
    """Run the trials, print what they found and return the exit status."""
    from tandem.experiments import sweep  # Ray is slow to import, so mistakes are reported before

    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 120)
    say = partial(console.print, soft_wrap=True, markup=False)
    stopping = Stopping()
    asked = (search.ray_address, slots(search, config), config["platform"])
    with stopping.on_signals(), sweep.cluster(*asked) as cluster:
        folder = make_folder(config)
        shared = sweep.sweep(folder, search.metric, request, config, cluster)
        say(f"{search.trials} trials, {cluster.concurrent} at once; logs: {shared.trials}")
        sweep.search(shared, search, config["seed"], cluster, stopping, say)
        sweep.wait_for_runs(shared)
    found = sweep_report.collect(shared.trials, shared.results, search.metric)
    winner = sweep_report.best(found, search.mode)
    console.print(sweep_report.table(found, winner, search.metric))
    for problem in dict.fromkeys(trial.problem for trial in found if trial.problem):
        say(f"failed: {problem}")
    if winner:
        sweep_report.write_best(folder / "best.yaml", winner, request, search.metric)
        say(f"best: run {winner.run.id}; --config={shlex.quote(str(folder / 'best.yaml'))}")
    return INTERRUPTED if stopping.asked else OK if winner else FAILED


def slots(search: Search, config: dict[str, Any]) -> int | None:
    """Return how many trials go on at once on this machine; None = as a cluster has room for."""
    if search.concurrent or search.ray_address:
        return search.concurrent and min(search.concurrent, search.trials)
    num_gpus = len(capacity.gpus(config["platform"]))
    return min(search.trials, capacity.default_jobs(len(machine.cores()), machine.free_memory().free, num_gpus))


def make_folder(config: dict[str, Any]) -> Path:
    """Return a new folder for what the sweep leaves beside its runs."""
    name = f"{config['name']}-{config['env']}-{time.strftime('%Y%m%d-%H%M%S')}"
    base = Path(config["results_dir"]) / "sweeps"
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        folder = base / f"{name}{suffix}"
        try:
            (folder / "trials").mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
    raise UsageError(f"{base / name}: too many sweeps in one second")


class Stopping:
    """Whether the user asked the sweep to end: at the first signal its runs save
    themselves, a second one does not wait.
    """

    def __init__(self):
        self.asked = False
        self.hopeless = False  # all trials have the same problem

    def __call__(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        os.write(2, b"interrupted: ending the trials (again to leave at once) ...\n")

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Within this context SIGINT, SIGTERM and a closed terminal ask for the end."""
        with handled(self):
            yield
