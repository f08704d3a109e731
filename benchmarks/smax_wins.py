"""How fast and how well the algorithms without search learn SMAX battles: `python benchmarks/smax_wins.py SUITE`.

Win rate of 256 greedy episodes on fresh environments, and when it first was at the goal: seconds of training, and of
the clock from the end of start-up, evaluations and their compiling included. Without `--jobs` one run at a time. Words
after `--with` are settings for every run: `--with learner_args.learning_rate=1e-3`; settings for the runs of one
configuration stand behind its name: `--configs mappo "mappo_distil learner_args.distil_epochs=0"`. Runs go on where
they were left if `--folder` is named again; the result is benchmarks/results/smax_SUITE.json.
"""

import argparse
import dataclasses
import datetime
import os
import resource
import tempfile
import time
from pathlib import Path

import harness


@dataclasses.dataclass(frozen=True)
class Suite:
    """What is run."""

    about: str
    configs: tuple[str, ...]
    maps: tuple[str, ...]
    seeds: int = 3
    minutes: float = 3.0
    goal: float = 0.9
    settings: tuple[str, ...] = ()


# The sizes of JaxMARL's mappo_rnn_smax: two layers of 128 and a GRU of 128, 128 environments
# of 128 steps, whole rollouts.
JAXMARL = (
    "network_args.hidden_size=128",
    "network_args.num_layers=1",
    "network_args.actor_memory=gru",
    "network_args.critic_memory=gru",
    "learner_args.chunk_length=0",
    "learner_args.epochs=4",
    "learner_args.num_minibatches=4",
    "runner_args.num_envs=128",
    "runner_args.rollout_length=128",
    "runner_args.report_every=16384",
)
# With and without distillation, and without shared parameters: as configured, and at four times the learning rates.
FASTER = "learner_args.policy_learning_rate=2e-2 learner_args.value_learning_rate=1.2e-2"
DISTIL = (
    "mappo_distil",
    "mappo_distil learner_args.distil_epochs=0",
    "mappo_ns",
    "mappo",
    f"mappo_distil {FASTER} learner_args.distil_learning_rate=4e-3",
    f"mappo_distil {FASTER} learner_args.distil_epochs=0",
    "mappo_ns learner_args.learning_rate=2e-2 learner_args.critic_learning_rate=1.2e-2",
)
SUITES = {
    "3m": Suite("the easy map", ("mappo",), ("3m",), settings=("eval_args.every=150000",)),
    "2m_vs_1m": Suite(
        "the easiest", ("mappo_distil",), ("2m_vs_1m",), minutes=1, goal=0.95, settings=("eval_args.every=50000",)
    ),
    "maps": Suite("harder maps", ("mappo",), ("2s3z", "3s5z", "8m"), seeds=1, minutes=10),
    "large": Suite(
        "compiling and speed",
        ("mappo",),
        ("27m_vs_30m", "2c_vs_64zg"),
        seeds=1,
        minutes=1,
        settings=("eval_args.episodes=16",),
    ),
    "jaxmarl_sizes": Suite("speed at JaxMARL's sizes", ("mappo",), ("3m",), seeds=1, minutes=1.5, settings=JAXMARL),
    "distil": Suite(
        "distillation against none",
        DISTIL,
        ("3m", "2m_vs_1z"),
        seeds=5,
        minutes=2,
        settings=("eval_args.every=100000", "t_max=600000"),
    ),
}


def main() -> None:
    options = parse()
    suite, folder = options.suite, options.folder or Path(tempfile.mkdtemp(prefix="tandem-smax-"))
    runs = {
        (config, name, seed): folder.resolve() / f"{config.replace(' ', '-')}-{name}-{seed}"
        for name in suite.maps
        for seed in range(options.first_seed, options.first_seed + suite.seeds)
        for config in suite.configs
    }
    for (config, name, seed), path in runs.items() if options.jobs == 1 else ():
        train(path, config, name, seed, suite)
    if options.jobs > 1:
        harness.train_many([(path, *arguments(*run, suite)) for run, path in runs.items()], options.jobs)
    results = [result(*run, path, suite.goal) for run, path in runs.items()]
    print(harness.table([[cell(value) for value in list(row.values())[:-1]] for row in results], list(results[0])[:-1]))
    about = {"suite": options.name, **dataclasses.asdict(suite), "jobs": options.jobs}
    harness.write(f"smax_{options.name}", about | {"runs": results})


def parse() -> argparse.Namespace:
    """Return the command line's options; `suite` with all that was changed in it, `name` what it is called."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="; ".join(f"{name}: {suite.about}" for name, suite in SUITES.items())
    )
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--name", help="of the result, if not the suite's")
    parser.add_argument("--configs", nargs="+")
    parser.add_argument("--maps", nargs="+")
    parser.add_argument("--seeds", type=int, help="how many")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, help="of training, start-up and evaluation apart")
    parser.add_argument("--goal", type=float, help="win rate")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each on its share of the cores")
    parser.add_argument(
        "--folder", type=Path, help="keep the runs here; those that are completed there are not repeated"
    )
    parser.add_argument(
        "--with", nargs="+", default=[], dest="settings", help="settings for every run, over the suite's"
    )
    options = parser.parse_args()
    options.name, suite = options.name or options.suite, SUITES[options.suite]
    named = {key: getattr(options, key) for key in ("configs", "maps", "seeds", "minutes", "goal")}
    changes = {key: value for key, value in named.items() if value is not None}
    options.suite = dataclasses.replace(suite, **changes, settings=(*suite.settings, *options.settings))
    return options


def arguments(config: str, map_name: str, seed: int, suite: Suite) -> tuple[str, str, list[str]]:
    """Return a run's configuration, environment and settings."""
    name, *settings = config.split()
    words = [f"seed={seed}", f"env_args.map_name={map_name}", f"max_minutes={suite.minutes}", "video=False"]
    return name, "smax", [*words, *suite.settings, *settings]


def train(path: Path, config: str, map_name: str, seed: int, suite: Suite) -> None:
    """Train one run, unless it is there, and note how much of the machine it got."""
    run = (path, *arguments(config, map_name, seed, suite))
    if harness.completed(*run):
        return
    began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    harness.train(*run)
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - began
    cores = (after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime) / seconds
    (path / "cores.txt").write_text(f"{cores:.2f} {os.getloadavg()[1]:.1f}\n")


def result(config: str, map_name: str, seed: int, path: Path, goal: float) -> dict:
    """Return one row of the table, and the curve: [step, seconds of training, of the clock, wins]."""
    measured = harness.metrics(path)
    trained = dict(
        zip(measured["time/training_seconds"]["steps"], measured["time/training_seconds"]["values"], strict=True)
    )
    wins = measured["eval/policy/won"]
    stamps = [datetime.datetime.fromisoformat(stamp) for stamp in wins["timestamps"]]
    start = datetime.datetime.fromisoformat(measured["time/training_seconds"]["timestamps"][0])
    curve = [
        (step, round(trained[step], 1), round((stamp - start).total_seconds(), 1), won)
        for step, stamp, won in zip(wins["steps"], stamps, wins["values"], strict=True)
    ]
    reached = next((point for point in curve if point[3] >= goal), None)
    steps, seconds = curve[-1][0], trained[curve[-1][0]]
    share = (path / "cores.txt").read_text().split() if (path / "cores.txt").exists() else (None, None)
    return {
        "config": config,
        "map": map_name,
        "seed": seed,
        "wins at the end": curve[-1][3],
        "best": max(point[3] for point in curve),
        f"{goal} reached, training s": reached and reached[1],
        "on the clock, s": reached and reached[2],
        "after steps": reached and reached[0],
        "steps": steps,
        "training s": seconds,
        "steps/s": round((steps - min(trained)) / seconds),
        "start-up s": measured["time/startup_seconds"]["values"][0],
        "cores it got": share[0] and float(share[0]),
        "load": share[1] and float(share[1]),
        "curve": curve,
    }


def cell(value: object) -> str:
    """Return a table's cell."""
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
