"""How fast and how well the algorithms without search learn SMAX battles: `python benchmarks/smax_wins.py`.

Win rate of 256 greedy episodes on fresh environments, and the training time after which it first was 0.9. Words after
`--with` are settings for every run: `--with network_args.actor_memory=gru learner_args.chunk_length=16`.
"""

import argparse
import tempfile
from pathlib import Path

import harness

GOAL = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", nargs="+", default=["mappo", "mappo_distil"])
    parser.add_argument("--maps", nargs="+", default=["3m"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None, help="keep the runs here")
    parser.add_argument("--with", nargs="+", default=[], dest="settings", help="settings for every run")
    options = parser.parse_args()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="tandem-smax-"))).resolve()
    runs = {
        (config, map_name, seed): folder / f"{config}-{map_name}-{seed}"
        for map_name in options.maps for config in options.configs for seed in range(1, options.seeds + 1)
    }
    harness.train_many(
        [
            (path, config, "smax", [f"seed={seed}", f"env_args.map_name={name}", f"max_minutes={options.minutes}", *options.settings])
            for (config, name, seed), path in runs.items()
        ],
        options.jobs,
    )
    results = [result(*name, path) for name, path in runs.items()]
    print(harness.table([list(row.values())[:-1] for row in results], list(results[0])[:-1]))
    harness.write("smax_wins", {"minutes": options.minutes, "jobs": options.jobs, "settings": options.settings, "runs": results})


def result(config: str, map_name: str, seed: int, path: Path) -> dict:
    """Return one row of the table, and the curve."""
    wins = list(harness.curve(path, "eval/policy/won"))
    clock = dict(harness.curve(path, "time/training_seconds"))
    seconds, steps = harness.last(path, "time/training_seconds"), wins[-1][0]
    reached = [f"{clock[step]:.0f} s" for step, won in wins if won >= GOAL]
    first = min(clock)  # the first report compiles and is not timed
    return {
        "config": config, "map": map_name, "seed": seed, "wins": f"{wins[-1][1]:.3f}", f"{GOAL} reached": reached[0] if reached else "no",
        "env steps": steps, "steps/s": f"{(steps - first) / seconds:.0f}", "won": wins,
    }


if __name__ == "__main__":
    main()
