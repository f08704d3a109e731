"""Hyperparameter search: the settings of a sweep, their checks, and its course from the first trial to the report."""

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
    """The settings of a sweep."""

    file: str  # of the space, as it was typed
    space: tuple[search_space.Dimension, ...]
    sampler: str  # one of SAMPLERS
    samples: int | None = None  # draws from the space; None = SAMPLES
    scheduler: str = "asha"  # one of SCHEDULERS
    grace: float = 11.0  # asha: percent of its budget that every trial gets
    metric: str | None = None  # None = the metric that ranks runs of the configuration
    mode: str = "max"  # one of MODES
    concurrent: int | None = None  # number of parallel trials; None = as many as fit
    ray_address: str | None = None  # of a cluster to join; None = start Ray here

    @property
    def draws(self) -> int:
        """The number of draws of each combination of the space's lists."""
        return self.samples or (1 if self.sampler == "grid" else SAMPLES)

    @property
    def trials(self) -> int:
        """The total number of trials."""
        if self.sampler == "grid":
            return math.prod(len(one.values) for one in self.space)
        return self.draws * (search_space.grid_size(self.space) if self.sampler == "random" else 1)


def default_sampler(space: tuple[search_space.Dimension, ...]) -> str:
    """Return the default sampler: a grid if the space has only lists."""
    return "grid" if all(one.kind == search_space.GRID for one in space) else "random"


def check_sampler(search: Search) -> None:
    """Raise if the sampler cannot search this space, or if there would be too many trials."""
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
      request: the configuration that all trials share.

    Raises:
      UsageError: the space cannot be searched this way, or a trial could not be trained.
    """
    check_sampler(search)
    config = resolve(request)
    source = str(search_space.find(search.file))
    search_space.check(search.space, source, request)
    # Otherwise all trials would fail with the same mistake.
    resolve(search_space.first_trial(search.space, source, request), builds=True)
    search = dataclasses.replace(search, metric=search.metric or follower.default_metric(config))
    try:
        return drive(search, request, config)
    except RunError as error:  # its message is complete
        print(error, file=sys.stderr)
        return FAILED


def drive(search: Search, request: Request, config: dict[str, Any]) -> int:
    """Run the trials, print the results and return the exit status."""
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
    """Return the number of parallel trials on this machine; None = as many as fit a cluster."""
    if search.concurrent or search.ray_address:
        return search.concurrent and min(search.concurrent, search.trials)
    num_gpus = len(capacity.gpus(config["platform"]))
    return min(search.trials, capacity.default_jobs(len(machine.cores()), machine.free_memory().free, num_gpus))


def make_folder(config: dict[str, Any]) -> Path:
    """Return a new folder for the sweep's own results."""
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
    """Whether the user asked the sweep to end. At the first signal its runs save
    themselves; a second one does not wait for them.
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
        """Within this context SIGINT, SIGTERM and a closed terminal request the end."""
        with handled(self):
            yield
