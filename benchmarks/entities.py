"""What networks that see entities learn in a few minutes: `python benchmarks/entities.py SUITE`.

Suites: `spread` (simple_spread with 3, 5 and 8 agents) and `smax` (four maps, entities against flat). A run is judged
by greedy play of 256 episodes. Of simple_spread the score says how far that is from random play, 0, to the hand
controller that knows the best assignment, 1. The result is benchmarks/results/entities_SUITE.json. Which parts of the
networks matter is asked by the ablation src/config/ablations/entities.yaml. With `--jobs=2` two runs at a time share
the cores. Runs go on where they were left if `--folder` is named again.
"""

import argparse
import tempfile
from pathlib import Path

import harness

FLAT = "network_args.encoder=flat"
SPREAD = {3: 1.0, 5: 3.0, 8: 10.0}  # {agents: minutes}
MAPS = ("3s5z_vs_3s6z", "5m_vs_6m", "27m_vs_30m", "smacv2_10_units")
GOALS = (0.9, 0.95, 1.0)  # scores whose first evaluation is reported


def cells(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Return (label, environment, settings) of every cell of the suite."""
    every = "eval_args.every=100000 video=False"
    if options.suite == "spread":
        return [
            (f"{n} agents", "mpe", f"env_args.num_agents={n} max_minutes={options.minutes or minutes} {every}")
            for n, minutes in SPREAD.items()
            if n in (options.agents or SPREAD)
        ]
    return [
        (f"{name}, {label}", "smax", f"env_args.map_name={name} max_minutes={options.minutes or 5.0} {every} {change}")
        for name in MAPS
        for label, change in (("entities", ""), ("flat", FLAT))
    ]


def main() -> None:
    options = parse()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="tandem-entities-"))).resolve()
    runs = {
        (label, seed): (path(folder, label, seed), options.config, env, [f"seed={seed}", *words.split()])
        for label, env, words in cells(options)
        for seed in range(1, options.seeds + 1)
    }
    harness.train_many(list(runs.values()), options.jobs)
    results = [row(label, seed, run[0]) for (label, seed), run in runs.items()]
    print(harness.table([list(found.values()) for found in results], list(results[0])))
    about = {"suite": options.suite, "config": options.config, "jobs": options.jobs}
    harness.write(f"entities_{options.suite}", about | {"runs": results})


def path(folder: Path, label: str, seed: int) -> Path:
    """Return the folder of a cell's run."""
    return folder / f"{label.replace(' ', '-')}-{seed}"


def parse() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", choices=("spread", "smax"))
    parser.add_argument("--config", default="mappo")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--agents", type=int, nargs="+", help="sizes of the team on simple_spread")
    parser.add_argument("--minutes", type=float, help="of training, start-up apart, instead of the suite's")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each on its share of the cores")
    parser.add_argument("--folder", type=Path, help="keep the runs here; completed ones are not repeated")
    return parser.parse_args()


def row(label: str, seed: int, path: Path) -> dict[str, object]:
    """Return one row of the table."""
    measured = harness.metrics(path)
    name = "eval/policy/score" if "eval/policy/score" in measured else "eval/policy/won"
    judged, seconds = measured[name], measured["time/training_seconds"]
    trained = dict(zip(seconds["steps"], seconds["values"], strict=True))
    reached = {
        f"{goal} after s": next(
            (round(trained[step], 1) for step, value in zip(judged["steps"], judged["values"]) if value >= goal), "-"
        )
        for goal in GOALS
    }
    steps = judged["steps"][-1]
    return {
        "cell": label,
        "seed": seed,
        name.rpartition("/")[2]: round(judged["values"][-1], 3),
        "return": round(measured["eval/policy/return"]["values"][-1], 2),
        "steps": steps,
        "steps/s": round(steps / trained[steps]),
        **reached,
    }


if __name__ == "__main__":
    main()
