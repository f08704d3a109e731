"""How well each algorithm plays MPE simple_spread after ten minutes of training: `python benchmarks/mpe_spread.py`.

Team return over 25 steps, 256 greedy episodes on fresh environments. Score 0 is random play (-78.6), 1 a hand
controller that sees everything (-23.6). `--jobs 2` trains two runs at a time, each on half of the cores. Algorithms
without search have no return with search; for them `--configs mappo --name mpe_spread_mappo` keeps the result apart.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import harness

RANDOM, CONTROLLER = -78.6, -23.6
PLAYERS = ("eval/search/return", "eval/policy/return")


def score(team_return: float) -> float:
    """Return where a team return lies between random play and the hand controller."""
    return (team_return - RANDOM) / (CONTROLLER - RANDOM)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", nargs="+", default=["mazero_seq", "mazero_ind", "mazero_joint"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--name", default="mpe_spread", help="of the result")
    parser.add_argument(
        "--folder", type=Path, default=None, help="keep the runs here; those already completed there are not repeated"
    )
    options = parser.parse_args()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="tandem-spread-"))).resolve()
    pairs = [(config, seed) for config in options.configs for seed in range(1, options.seeds + 1)]
    runs = {(config, seed): folder / f"{config}-{seed}" for config, seed in pairs}
    harness.train_many(
        [
            (path, config, "mpe", [f"seed={seed}", f"max_minutes={options.minutes}"])
            for (config, seed), path in runs.items()
        ],
        options.jobs,
    )
    report(options, runs)


def report(options: argparse.Namespace, runs: dict[tuple[str, int], Path]) -> None:
    """Print the table and write the JSON, curves included."""
    rows = []
    measured = {
        config: [of_run(seed, path) for (name, seed), path in runs.items() if name == config]
        for config in options.configs
    }
    for config, mine in measured.items():
        row = [config]
        for player in PLAYERS:
            returns = [run[player][-1][1] for run in mine if player in run]
            scores = [score(value) for value in returns]
            row += [f"{statistics.mean(returns):.1f}" if returns else "-"]
            row += [f"{statistics.mean(scores):.2f} ({min(scores):.2f} to {max(scores):.2f})" if scores else "-"]
        steps, minutes = (statistics.mean(run[name] for run in mine) for name in ("env_steps", "training_minutes"))
        halves = [run["half_score_minutes"] for run in mine]
        row += [f"{steps / 1000:.0f}k", f"{minutes:.1f}", "never" if None in halves else f"{max(halves):.1f}"]
        rows.append(row)
    head = [
        "config",
        "return, search",
        "score (range)",
        "return, policy",
        "score (range)",
        "env steps",
        "minutes",
        "minutes to 0.5, slowest",
    ]
    print(harness.table(rows, head))
    harness.write(
        options.name, {"seeds": options.seeds, "minutes": options.minutes, "jobs": options.jobs, "runs": measured}
    )


def of_run(seed: int, path: Path) -> dict:
    """Return what one run reached and when its best player's score was first 0.5."""
    recorded = harness.metrics(path)
    curves = {player: list(harness.curve(path, player)) for player in PLAYERS if player in recorded}
    clock = dict(harness.curve(path, "time/training_seconds"))
    best = next(iter(curves.values()))
    half = next((clock[step] / 60 for step, value in best if score(value) >= 0.5), None)
    minutes = harness.last(path, "time/training_seconds") / 60
    return {"seed": seed, "env_steps": best[-1][0], "training_minutes": minutes, "half_score_minutes": half, **curves}


if __name__ == "__main__":
    main()
