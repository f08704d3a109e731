"""How well each algorithm plays MPE simple_spread after ten minutes of training: `python benchmarks/mpe_spread.py`.

Team return over 25 steps, 256 greedy episodes on fresh environments. Score 0 is random play (-78.6), 1 a hand controller
that sees everything (-23.6). `--jobs 2` trains two runs at a time, each on half of the cores.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import harness

RANDOM, CONTROLLER = -78.6, -23.6


def score(team_return: float) -> float:
    """Return where a team return lies between random play and the hand controller."""
    return (team_return - RANDOM) / (CONTROLLER - RANDOM)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", nargs="+", default=["mazero_seq", "mazero_ind", "mazero_joint"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None, help="keep the runs here; those already completed there are not repeated")
    options = parser.parse_args()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="tandem-spread-"))).resolve()
    pairs = [(config, seed) for config in options.configs for seed in range(1, options.seeds + 1)]
    runs = {(config, seed): folder / f"{config}-{seed}" for config, seed in pairs}
    harness.train_many(
        [(path, config, "mpe", [f"seed={seed}", f"max_minutes={options.minutes}"]) for (config, seed), path in runs.items()],
        options.jobs,
    )
    report(options, runs)


def report(options: argparse.Namespace, runs: dict[tuple[str, int], Path]) -> None:
    """Print the table and write the JSON, curves included."""
    rows, result = [], {}
    for config in options.configs:
        mine = [path for (name, _), path in runs.items() if name == config]
        row = [config]
        for player in ("search", "policy"):
            returns = [harness.last(path, f"eval/{player}/return") for path in mine]
            scores = [score(value) for value in returns]
            row += [f"{statistics.mean(returns):.1f}", f"{statistics.mean(scores):.2f} ({min(scores):.2f} to {max(scores):.2f})"]
        steps = [max(step for step, _ in harness.curve(path, "eval/search/return")) for path in mine]
        minutes = [harness.last(path, "time/training_seconds") / 60 for path in mine]
        row += [f"{statistics.mean(steps) / 1000:.0f}k", f"{statistics.mean(minutes):.1f}"]
        rows.append(row)
        result[config] = [
            {
                "seed": seed,
                "env_steps": max(step for step, _ in harness.curve(path, "eval/search/return")),
                "training_minutes": harness.last(path, "time/training_seconds") / 60,
                **{name: list(harness.curve(path, name)) for name in ("eval/search/return", "eval/policy/return")},
            }
            for (name, seed), path in runs.items() if name == config
        ]
    head = ["config", "return, search", "score (range)", "return, policy", "score (range)", "env steps", "minutes"]
    print(harness.table(rows, head))
    settings = {"seeds": options.seeds, "minutes": options.minutes, "jobs": options.jobs}
    harness.write("mpe_spread", settings | {"runs": result})


if __name__ == "__main__":
    main()
