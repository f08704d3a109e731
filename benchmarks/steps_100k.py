"""Who learns most from 50,000 and from 100,000 environment steps: `python benchmarks/steps_100k.py`.

Every cell of the table is one algorithm on one task, over several seeds. `--rows` and `--columns` choose a part of it.
A run is judged by greedy play of 256 episodes, each agent by itself: battles won in SMAX, the score of simple_spread (0
is random play, 1 a controller), else the return. Beside the interquartile mean over seeds and its 95 % interval stand
the minutes of training. Steps are cheap here and dear elsewhere: the last column, wins or score per minute, says what
the same algorithm is worth where they are cheap. The result is benchmarks/results/steps_100k.json. Runs go on
where they were left if `--folder` is named again.
"""

import argparse
import json
import tempfile
from pathlib import Path

import harness
import numpy as np

NAME = "steps_100k"
STEPS = (50_000, 100_000)
ROWS = {  # {label: (config, settings)}
    "marie": ("marie", ""),
    "dreamer_ma": ("dreamer_ma", ""),
    "mazero_seq": ("mazero_seq", ""),
    "mazero_ind": ("mazero_ind", ""),
    "mazero_joint": ("mazero_joint", ""),
    "vdn": ("vdn", ""),
    "qmix": ("qmix", ""),
    "pqn_vdn": ("pqn_vdn", ""),
    "mappo": ("mappo", ""),
    "mappo, 16 environments": ("mappo", "runner_args.num_envs=16 runner_args.report_every=2048"),
}
COLUMNS = {  # {label: (environment, settings, metric)}
    **{
        name: ("smax", f"env_args.map_name={name}", "won")
        for name in ("2m_vs_1m", "3m", "2s3z", "3s_vs_3z", "8m")
    },
    "simple_spread": ("mpe", "", "score"),
    "simple_speaker_listener": ("mpe", "env_args.scenario=simple_speaker_listener", "return"),
    "simple_reference": ("mpe", "env_args.scenario=simple_reference", "return"),
    "lbf": ("lbf", "", "return"),
}  # fmt: skip


def main() -> None:
    options = parse()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="tandem-100k-"))).resolve()
    runs = {
        (row, column, seed): run(folder, row, column, seed)
        for row in options.rows
        for column in options.columns
        for seed in range(1, options.seeds + 1)
    }
    harness.train_many(list(runs.values()), options.jobs)
    cells = [
        cell(row, column, [runs[row, column, seed][0] for seed in range(1, options.seeds + 1)])
        for column in options.columns
        for row in options.rows
    ]
    print(harness.table([list(found.values()) for found in cells], list(cells[0])))
    harness.keep_cells(NAME, cells, ("task", "algorithm"))


def run(folder: Path, row: str, column: str, seed: int) -> tuple[Path, str, str, list[str]]:
    """Return the folder of a run, its configurations and its settings."""
    (config, own), (env, task, _) = ROWS[row], COLUMNS[column]
    clocks = f"t_max={STEPS[-1]} max_minutes=0 eval_args.every={STEPS[0]} video=False seed={seed}"
    name = f"{row}-{column}-{seed}".replace(" ", "-").replace(",", "")
    return folder / name, config, env, [*task.split(), *own.split(), *clocks.split()]


def cell(row: str, column: str, paths: list[Path]) -> dict[str, object]:
    """Return one line of the table, over all seeds."""
    from tandem.analysis.estimators import over_seeds

    metric = f"eval/policy/{COLUMNS[column][2]}"
    found: dict[str, object] = {"task": column, "algorithm": row, "metric": metric}
    scores = np.array([[after(path, metric, steps) for steps in STEPS] for path in paths])
    minutes = np.mean([harness.last(path, "time/training_seconds") for path in paths]) / 60
    for i, steps in enumerate(STEPS):
        estimate = over_seeds(scores[:, i], np.random.default_rng(0))
        found[f"after {steps}"] = round(float(estimate.value), 3)
        if estimate.low is not None:
            found[f"after {steps}"] = f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
        found[f"least after {steps}"] = round(float(scores[:, i].min()), 3)
    per_minute = float(scores[:, -1].mean() / minutes) if minutes else float("nan")
    found |= {"minutes": round(float(minutes), 1), "per minute": round(per_minute, 3)}
    commits = {commit(path) for path in paths}
    return found | {"seeds": len(paths), "commits": ", ".join(sorted(commits))}


def commit(path: Path) -> str:
    """Return the commit that a run was made at, short."""
    record = json.loads(next(path.glob("sacred/*/run.json")).read_text())
    return record["experiment"]["repositories"][0]["commit"][:7]


def after(path: Path, metric: str, steps: int) -> float:
    """Return a metric at the first evaluation from `steps` on, or at the last where a report ended before that."""
    curve = list(harness.curve(path, metric))
    return next((value for at, value in curve if at >= steps), curve[-1][1])


def parse() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=list(COLUMNS))
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each on its share of the cores")
    parser.add_argument("--folder", type=Path, help="keep the runs here; completed ones are not repeated")
    return parser.parse_args()


if __name__ == "__main__":
    main()
