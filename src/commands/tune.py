"""`python src/main.py tune`: automated hyperparameter search, every trial an ordinary recorded run."""

import argparse
import math
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from src import machine
from src.commands import arguments, flags
from src.experiments import follower, capacity, search_space, sweep_report
from src.config.commandline import Request, UsageError
from src.config.values import shown
from src.core import RunError
from src.hiding import hidden
from src.records.stopping import handled

DESCRIPTION = """Search for good settings with Ray Tune. Every trial is an ordinary run under results/sacred/.

The space is a YAML file, or the name of an example in src/config/spaces/ (mazero, mappo). Each line names a setting:
  learner_args.learning_rate: {log_uniform: [3.0e-4, 3.0e-3]}     also: uniform, int_uniform, log_int_uniform
  planner_args.num_simulations: {choice: [4, 8, 16]}              one is drawn
  learner_args.unroll: [2, 4]                                     a list: each of them is tried with every draw"""
EXAMPLE = "example: python src/main.py tune --config=mazero_seq --env-config=mpe --space=mazero with max_minutes=5"
OK, FAILED, INTERRUPTED = 0, 1, 130
SAMPLES = 10
MOST_TRIALS = 100_000


def main(words: Sequence[str]) -> int:
    """Run the command and return the exit status: 0 a best configuration is written, 1 none, 130 interrupted."""
    given, request = read(words)
    space = search_space.read(given.space)
    given.sampler = given.sampler or ("grid" if all(one.kind == search_space.GRID for one in space) else "random")
    check_sampler(given, space)
    config = flags.resolve(request)
    source = str(search_space.find(given.space))
    search_space.check(space, source, request)
    flags.resolve(
        search_space.first_trial(space, source, request), builds=True
    )  # trials would all end of the same mistake
    given.metric = given.metric or follower.default_metric(config)

    from src.experiments import sweep as tune_ray  # Ray is slow to import: mistakes are told before

    try:
        return run(tune_ray, given, request, config, space)
    except RunError as error:  # its message says all
        print(error, file=sys.stderr)
        return FAILED


def read(words: Sequence[str]) -> tuple[argparse.Namespace, Request]:
    """Return the flags and the configuration that all trials stand upon.

    Raises:
      UsageError: a flag or value that there is not.
    """
    own = flags.parser("tune", DESCRIPTION)
    own.epilog = EXAMPLE
    own.add_argument(
        "--space", required=True, metavar="FILE", help="what is searched: a YAML file, or an example's name"
    )
    own.add_argument(
        "--samples", type=int, metavar="N", help=f"draws from the space (default: {SAMPLES}; a grid has none)"
    )
    own.add_argument(
        "--sampler", choices=("random", "grid", "optuna"), help="default: random; grid where the space has only lists"
    )
    own.add_argument(
        "--scheduler", choices=("asha", "none"), default="asha", help="asha (default) stops poor trials early"
    )
    own.add_argument(
        "--grace",
        type=arguments.number,
        default=11.0,
        metavar="PERCENT",
        help="asha: no trial is stopped before this much of its t_max or max_minutes (default: 11)",
    )
    own.add_argument(
        "--metric", help="what is compared (default: eval/search/return, eval/policy/return without search)"
    )
    own.add_argument("--mode", choices=("max", "min"), default="max", help="whether more or less of it is better")
    own.add_argument(
        "--concurrent", type=int, metavar="N", help="trials at once (default: what the machine has room for)"
    )
    own.add_argument("--ray-address", metavar="HOST:PORT", help="join this Ray cluster (also: with ray_address=...)")
    given, request = flags.parse(own, words)
    address = [update.raw for update in request.updates if update.key == "ray_address"]
    given.ray_address = given.ray_address or (address or [None])[-1]
    for name in ("samples", "concurrent"):
        number = getattr(given, name)
        if number is not None and not 1 <= number <= MOST_TRIALS:
            raise UsageError(f"--{name}={shown(number)}: expected a whole number, 1 or more, at most {MOST_TRIALS}")
    if not 0 < given.grace < 100:
        raise UsageError(f"--grace={given.grace:g}: expected a percentage above 0 and below 100")
    if request.mongo:
        raise UsageError("-m: a sweep's trials take MongoDB from TANDEM_MONGO_URL, or from `with mongo_url=URL`")
    if any(update.key == "mongo_url" and hidden(str(update.raw)) != update.raw for update in request.updates):
        raise UsageError(
            "mongo_url: a sweep keeps the words of its trials; name a MongoDB with a password in TANDEM_MONGO_URL"
        )
    return given, request._replace(updates=tuple(one for one in request.updates if one.key != "ray_address"))


def check_sampler(given: argparse.Namespace, space: Sequence[search_space.Dimension]) -> None:
    """Complain where the sampler cannot search this space, or would have to try more of it than anybody waits for."""
    trials = number_of_trials(given, space)
    if trials > MOST_TRIALS:
        raise UsageError(f"--space={given.space}: {trials:,} trials; at most {MOST_TRIALS:,} can be run")
    ranges = [one.key for one in space if not one.listed]
    if given.sampler != "grid":
        return
    if ranges:
        raise UsageError(
            f"--sampler=grid: {', '.join(ranges)} in {given.space} is a range; a grid needs lists or choices"
        )
    if given.samples:
        raise UsageError("--samples: a grid is tried whole; leave one of the two out")


def number_of_trials(given: argparse.Namespace, space: Sequence[search_space.Dimension]) -> int:
    """Return how many trials the sweep has in all."""
    if given.sampler == "grid":
        return math.prod(len(one.values) for one in space)
    return (given.samples or SAMPLES) * (search_space.grid_size(space) if given.sampler == "random" else 1)


def run(
    tune_ray: Any,
    given: argparse.Namespace,
    request: Request,
    config: dict[str, Any],
    space: Sequence[search_space.Dimension],
) -> int:
    """Run the sweep, print what it found and return the exit status."""
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 120)
    say = partial(console.print, soft_wrap=True, markup=False)
    trials = number_of_trials(given, space)
    given.samples = given.samples or (1 if given.sampler == "grid" else SAMPLES)
    stopping = Stopping()
    asked = (given.ray_address, slots(given, config, trials), config["platform"])
    with stopping.on_signals(), tune_ray.cluster(*asked) as cluster:
        folder = make_folder(config)
        sweep = tune_ray.sweep(folder, given, request, config, cluster)
        say(f"{trials} trials, {cluster.concurrent} at once; logs: {sweep.trials}")
        tune_ray.search(sweep, given, space, config["seed"], cluster, stopping, say)
        tune_ray.wait_for_runs(sweep)
    found = sweep_report.collect(sweep.trials, sweep.results, given.metric)
    winner = sweep_report.best(found, given.mode)
    console.print(sweep_report.table(found, winner, given.metric))
    for problem in dict.fromkeys(trial.problem for trial in found if trial.problem):
        say(f"failed: {problem}")
    if winner:
        sweep_report.write_best(folder / "best.yaml", winner, request, given.metric)
        say(f"best: run {winner.run.id}; --config={shlex.quote(str(folder / 'best.yaml'))}")
    return INTERRUPTED if stopping.asked else OK if winner else FAILED


def slots(given: argparse.Namespace, config: dict[str, Any], trials: int) -> int | None:
    """Return how many trials go on at once on this machine; None = as a cluster has room for."""
    if given.concurrent or given.ray_address:
        return given.concurrent and min(given.concurrent, trials)
    return min(
        trials,
        capacity.default_jobs(len(machine.cores()), machine.free_memory().free, len(capacity.gpus(config["platform"]))),
    )


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
    """Whether the user wants the sweep to end: at the first signal its runs save themselves, a second one does not
    wait.
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
