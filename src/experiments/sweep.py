"""A sweep on Ray Tune: starts Ray or joins a cluster, chooses sampler and scheduler, and drives the trials."""

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tandem.cluster import start as ray_start  # before Ray

TOLD = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the other one prints even if it is told not to
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # because the runs have their own records
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Tandem handles signals
}
os.environ.update(TOLD)  # before Ray Tune is imported, which reads some of them then

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler  # noqa: E402
from ray.tune.search.basic_variant import BasicVariantGenerator  # noqa: E402

from tandem import machine  # noqa: E402
from tandem.cluster.authentication import NoCluster  # noqa: E402
from tandem.experiments import capacity, search_space, tied  # noqa: E402
from tandem.experiments.trial import Sweep, Trial  # noqa: E402
from tandem.experiments.sweep_report import shown  # noqa: E402
from tandem.experiments.tuning import Search  # noqa: E402
from tandem.config.commandline import Request, UsageError  # noqa: E402

STORE_BYTES = 100_000_000  # bytes of Ray's object store, which holds nothing large
SECONDS_TO_SPARE = 15.0  # beyond the minute that a run has to save itself
KILLED = (
    "The sweep's process {pid} was killed (by hand, or because memory ran out), so the sweep has ended. Its trials "
    "save themselves: `python src/main.py train --resume=RUN` continues one."
)
REDUCTION = 3.0  # ASHA continues the better third at each rung


class Cluster(NamedTuple):
    """The capacity of Ray."""

    concurrent: int  # trials at once
    cores: int  # of each
    gpus: float  # of each; less than 1 = shared


@contextmanager
def cluster(address: str | None, slots: int | None, platform: str) -> Iterator[Cluster]:
    """Start Ray on this machine, or join a cluster; afterwards none of its new processes is left.

    Args:
      slots: number of parallel trials; None = one for each GPU of the cluster, or for each core if it has none.

    Raises:
      UsageError: there is no such cluster.
      RunError: Ray cannot be started.
    """
    cores, gpus = max(1, len(machine.cores()) // (slots or 1)), len(capacity.gpus(platform))
    has = {"CPU": (slots or 1) * cores, "GPU": gpus}
    with ExitStack() as stack:
        try:
            killed = KILLED.format(pid=os.getpid())
            stack.enter_context(ray_start.cluster(address or "", has, STORE_BYTES, killed, TOLD))
        except NoCluster as error:
            raise UsageError(f"--ray-address={error}") from None
        yield joined(slots, platform) if address else Cluster(slots, cores, share(gpus, slots))


def joined(slots: int | None, platform: str) -> Cluster:
    """Return the capacity of a cluster that others have started."""
    there = ray.cluster_resources()
    cores, gpus = int(there.get("CPU", 1)), 0 if platform == "cpu" else int(there.get("GPU", 0))
    slots = slots or gpus or cores
    return Cluster(slots, max(1, cores // slots), share(gpus, slots))


def share(gpus: int, slots: int) -> float:
    """Return each trial's share of a GPU: a whole one, or a part if there are more trials."""
    return min(1.0, gpus / slots) if gpus else 0.0


def sweep(folder: Path, metric: str, request: Request, config: Mapping[str, Any], cluster: Cluster) -> Sweep:
    """Return the data that all trials share."""
    return Sweep(
        name=folder.name,
        folder=folder.resolve(),
        results=Path(config["results_dir"]).resolve(),
        workdir=os.getcwd(),
        words=("train", f"--config={request.config}", f"--env-config={request.env_config}"),
        typed=tuple(f"{update.key}={update.raw}" for update in request.updates),
        metric=metric,
        cores=cluster.cores,
        gpus=cluster.gpus,
    )


def search(
    shared: Sweep, asked: Search, seed: int, cluster: Cluster, stopping: Any, say: Callable[[str], None]
) -> None:
    """Run the trials to their end, or until `stopping.asked`."""
    for name in ("ray", "ray.tune", "ray.air", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    algorithm = searcher(asked.sampler, seed, cluster.concurrent)
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(Trial, sweep=shared), {"cpu": cluster.cores, "gpu": cluster.gpus}),
        param_space={one.key: domain(one, asked.sampler) for one in asked.space},
        tune_config=tune.TuneConfig(
            metric="score",
            mode=asked.mode,
            num_samples=asked.draws,
            search_alg=algorithm,
            scheduler=scheduler(asked),
            max_concurrent_trials=None if isinstance(algorithm, BasicVariantGenerator) else cluster.concurrent,
        ),
        run_config=tune.RunConfig(
            name="ray",
            storage_path=str(shared.folder),
            stop=Halt(stopping),
            callbacks=[Told(shared, stopping, say)],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # because runs save themselves
            verbose=0,
        ),
    )
    tuner.fit()


def searcher(sampler: str, seed: int, concurrent: int) -> Any:
    """Return Ray's search algorithm; the same seed draws the same trials (optuna: as long
    as they end in the same order).
    """
    if sampler != "optuna":
        return BasicVariantGenerator(max_concurrent=concurrent, random_state=seed)
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return OptunaSearch(seed=seed)


def scheduler(asked: Search) -> Any:
    """Return Ray's scheduler; ASHA compares trials that have used as much of their budget, by steps or by the clock."""
    if asked.scheduler == "none":
        return FIFOScheduler()
    return AsyncHyperBandScheduler(
        time_attr="percent", max_t=100, grace_period=asked.grace, reduction_factor=REDUCTION, stop_last_trials=False
    )


def domain(one: search_space.Dimension, sampler: str) -> Any:
    """Return Ray's view of a dimension; for optuna, which knows no grid, lists are choices."""
    if one.listed:
        values = [repr(value) if isinstance(value, (list, dict)) else value for value in one.values]
        grid = sampler == "grid" or (sampler == "random" and one.kind == search_space.GRID)
        return tune.grid_search(values) if grid else tune.choice(values)
    low, high = one.values
    return {
        "uniform": tune.uniform,
        "log_uniform": tune.loguniform,
        "int_uniform": lambda low, high: tune.randint(low, high + 1),
        "log_int_uniform": lambda low, high: tune.lograndint(low, high + 1),
    }[one.kind](low, high)


class Halt(tune.Stopper):
    """Ends the sweep if the user asks for it, or if all trials have a problem; trials then end as on Ctrl-C."""

    def __init__(self, stopping: Any):
        self.stopping = stopping

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.stopping.asked or self.stopping.hopeless

    def __getstate__(self) -> dict[str, Any]:
        return {"stopping": None}  # Ray writes its state down; the way to stop is of this process alone


class Told(tune.Callback):
    """Prints the progress of the trials."""

    def __init__(self, shared: Sweep, stopping: Any, say: Callable[[str], None]):
        self.shared, self.stopping, self.say = shared, stopping, say
        self.numbers: dict[str, int] = {}

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        number = self.numbers.setdefault(trial.trial_id, len(self.numbers) + 1)
        self.say(f"trial {number}: " + ", ".join(f"{key}={shown(value)}" for key, value in trial.config.items()))

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        result = trial.last_result
        how = f"{result['score']:.3f}, {result['percent']:.0f} % of its budget used" if result else "no score"
        self.say(f"trial {self.numbers.get(trial.trial_id, '?')}: {how}")

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        facts = (
            json.loads(self.shared.facts(trial.trial_id).read_text())
            if self.shared.facts(trial.trial_id).exists()
            else {}
        )
        self.stopping.hopeless |= facts.get("hopeless", False)
        self.say(f"trial {self.numbers.get(trial.trial_id, '?')}: failed, see {self.shared.log(trial.trial_id)}")

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def get_state(self) -> None:
        return None


def wait_for_runs(shared: Sweep) -> None:
    """Wait until no run of the sweep is alive; a run that is asked to end has a minute to save itself."""
    deadline = time.monotonic() + tied.PATIENCE + SECONDS_TO_SPARE
    for log in shared.trials.glob("*.log"):
        with open(log) as file:
            while time.monotonic() < deadline:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(0.1)
