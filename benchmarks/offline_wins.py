"""What is learned from recorded battles: `python benchmarks/offline_wins.py --maps 3m --levels medium --rows iql_cql`.

First three runs of `mappo` are trained on the map, and a dataset of 50,000 rows is recorded of each level: the data.
Every cell of the table is one algorithm on one of these datasets, over several seeds. It is judged by the battles that
its last parameters win, in greedy play of 256 episodes, beside those that the data win. The row `NAME, unregularised`
is that algorithm without its penalty. Cells are kept in benchmarks/results/offline_wins.json, and new ones replace old
ones. Runs and datasets are not made again if `--folder` is named again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import harness
import numpy as np

NAME = "offline_wins"
CONFIGS = ("bc", "iql_cql", "vdn_cql", "qmix_cql", "iql_bcq", "maicq", "sac_brac", "sac_bear")
ROWS = {name: (name, "") for name in CONFIGS}  # {label: (config, settings)}
ROWS["iql_cql, unregularised"] = ("iql_cql", "learner_args.conservatism=none")
LEVELS = ("expert", "medium", "mixed")
ENDS = {"wins": "eval/policy/won", "q_bias": "offline/q_bias", "ood_share": "offline/ood_share"}


def main() -> None:
    options = parse()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="tandem-offline-"))).resolve()
    results = []
    for name in options.maps:
        train_behaviour(folder, name, options)
        for level in options.levels:
            rows = recorded(folder, name, level, options.data_rows)
            results += [cell(folder, name, level, rows, label, options) for label in options.rows]
            harness.keep_cells(NAME, results, ("map", "level", "algorithm"))
    print(harness.table([list(found.values()) for found in results], list(results[0])))


def train_behaviour(folder: Path, name: str, options: argparse.Namespace) -> None:
    """Train the runs that play what is recorded, and keep what they had learned along the way."""
    settings = f"env_args.map_name={name} t_max={options.behaviour_steps} max_minutes=0 eval_args.every=200000"
    kept = f"checkpoint_args.keep_every_steps={options.behaviour_steps // 50} checkpoint_args.every_minutes=0"
    saved = f"checkpoint_args.every_steps={options.behaviour_steps // 50} video=False"
    words = [*settings.split(), *kept.split(), *saved.split()]
    runs = [(behaviour(folder, name, seed), "mappo", "smax", [*words, f"seed={seed}"]) for seed in (1, 2, 3)]
    harness.train_many(runs, options.jobs)


def behaviour(folder: Path, name: str, seed: int) -> Path:
    """Return the folder of a run that plays what is recorded."""
    return folder / f"mappo-{name}-{seed}"


def recorded(folder: Path, name: str, level: str, rows: int) -> Path:
    """Return the folder of a dataset, which is made if it is not there."""
    out = folder / f"data-{name}-{level}"
    if not out.exists():
        runs = ",".join(str(newest(behaviour(folder, name, seed))) for seed in (1, 2, 3))
        command = [sys.executable, "src/main.py", "record", f"--run={runs}", f"--level={level}"]
        subprocess.run([*command, f"--rows={rows}", f"--out={out}"], cwd=harness.ROOT, check=True)
    return out


def newest(folder: Path) -> Path:
    """Return the newest record under a run's folder."""
    return max((folder / "sacred").glob("[0-9]*"), key=lambda path: int(path.name))


def cell(folder: Path, name: str, level: str, rows: Path, label: str, options: argparse.Namespace) -> dict[str, object]:
    """Train an algorithm on a dataset with every seed; return one line of the table."""
    from tandem.analysis.estimators import over_seeds

    config, own = ROWS[label]
    clock = f"t_max={options.updates} max_minutes=0 eval_args.every={options.updates // 2} video=False"
    words = [f"env_args.map_name={name}", f"runner_args.rows={rows}", *own.split(), *clock.split()]
    start = f"{label}-{name}-{level}".replace(" ", "-").replace(",", "")
    paths = [folder / f"{start}-{seed}" for seed in range(1, options.seeds + 1)]
    runs = [(path, config, "smax", [*words, f"seed={seed}"]) for seed, path in enumerate(paths, start=1)]
    harness.train_many(runs, options.jobs)
    data = json.loads((rows / "card.json").read_text())
    found = {"map": name, "level": level, "algorithm": label, "updates": options.updates, "seeds": options.seeds}
    found["data"] = round(of_data(data), 3)
    for key, metric in ENDS.items():
        values = np.array([harness.last(path, metric) for path in paths if metric in harness.metrics(path)])
        if len(values):
            estimate = over_seeds(values, np.random.default_rng(0))
            found[key] = round(float(estimate.value), 3)
            found[f"{key}, interval"] = [round(float(x), 3) for x in (estimate.low, estimate.high) if x is not None]
            found[f"{key}, by seed"] = [round(float(x), 3) for x in values]
    found["minutes"] = round(float(np.mean([harness.last(path, "time/training_seconds") for path in paths])) / 60, 1)
    return found | {"commit": harness.machine()["commit"], "date": harness.machine()["date"]}


def of_data(card: dict) -> float:
    """Return the share of battles that a dataset's episodes win."""
    return float(card["metrics"]["won"])


def parse() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", nargs="+", default=["3m", "2s3z"])
    parser.add_argument("--levels", nargs="+", choices=LEVELS, default=list(LEVELS))
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="algorithms")
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--updates", type=int, default=10_000, help="of every run")
    parser.add_argument("--data-rows", type=int, default=50_000, help="rows of every dataset")
    parser.add_argument("--behaviour-steps", type=int, default=3_000_000, help="of every run that is recorded")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each on its share of the cores")
    parser.add_argument("--folder", type=Path, help="keep runs and data here; completed ones are not repeated")
    return parser.parse_args()


if __name__ == "__main__":
    main()
