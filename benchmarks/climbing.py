"""How often a game in which miscoordination is dear is learned from scratch, by seed: `python benchmarks/climbing.py`.

Two agents, three actions: climbing, best payoff 11 beside payoffs of -30; `--scenario penalty`, 10 beside -100.
Moves are relabelled, so that the best of them is not the first, which wins ties. A run counts if greedy play
with search gets the best payoff in all evaluation episodes at its end. Every run is one process, timed as a
whole and without its start-up.
"""

import argparse
import tempfile
import time
from pathlib import Path

import harness

OPTIMA = {"climbing": 11.0, "penalty": 10.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", nargs="+", default=["mazero_seq", "mazero_joint", "mazero_ind"])
    parser.add_argument("--scenario", choices=OPTIMA, default="climbing")
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix=f"tandem-{options.scenario}-"))
    rows, result = [], {}
    for config in options.configs:
        runs = []
        for seed in range(1, options.seeds + 1):
            path, began = folder / f"{config}-{seed}", time.monotonic()
            harness.train(
                path,
                config,
                "matrix_game",
                [f"seed={seed}", f"env_args.scenario={options.scenario}", "env_args.relabel=True", "video=False"],
            )
            runs.append(
                {
                    "seed": seed,
                    "return": harness.last(path, "eval/search/return"),
                    "policy_return": harness.last(path, "eval/policy/return"),
                    "env_steps": max(step for step, _ in harness.curve(path, "eval/search/return")),
                    "training_seconds": harness.last(path, "time/training_seconds"),
                    "process_seconds": time.monotonic() - began,
                }
            )
        won = sum(abs(run["return"] - OPTIMA[options.scenario]) < 1e-3 for run in runs)
        slowest = max(run["training_seconds"] for run in runs), max(run["process_seconds"] for run in runs)
        rows.append(
            [config, f"{won} of {options.seeds}", runs[0]["env_steps"], f"{slowest[0]:.1f} s", f"{slowest[1]:.1f} s"]
        )
        result[config] = runs
    print(harness.table(rows, ["config", "optimum played", "env steps", "slowest training", "slowest process"]))
    harness.write(options.scenario, {"runs": result})


if __name__ == "__main__":
    main()
