"""Who covers its landmarks best after the same time on one core: `python benchmarks/spread_cores.py --jobs 2`.

The planners and team sizes of src/config/ablations/spread.yaml. Learning rates are annealed to the end of a run, so a
run has to
know how many steps it will make: each planner is timed first, then trained for the steps that it makes in `--minutes`
on its core.
`--jobs 2` trains two runs at a time, each on half of the cores; give a run a core of its own.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import harness

from tandem.experiments import ablation
from tandem.runners import jax_sync

SPREAD = harness.ROOT / "src" / "config" / "ablations" / "spread.yaml"
MINUTES = {3: 3.0, 5: 3.0, 8: 5.0}
PLANNERS = ("sequential", "joint", "independent")
PLAYERS = ("search", "autoregressive", "policy")
TIMED = 48_000  # environment steps by which a planner is timed; the first third is left out
REPORT = jax_sync.Config().report_every  # environment steps: runs are whole reports long


def main() -> None:
    cells = {
        (int(cell.environment.rpartition("_")[2]), cell.variant): cell
        for cell in ablation.read(SPREAD, None, "results").cells
    }
    variants = list(dict.fromkeys(planner for _, planner in cells))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, nargs="+", default=list(MINUTES), choices=list(MINUTES))
    parser.add_argument(
        "--planners", nargs="+", default=list(PLANNERS), choices=variants, help="variants of spread.yaml"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--minutes",
        type=float,
        help=f"of each run (default: {', '.join(f'{n} agents {m:g}' for n, m in MINUTES.items())})",
    )
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--folder", type=Path, help="keep the runs here; those already completed there are not repeated"
    )
    parser.add_argument("--name", default="spread_cores", help="of the result")
    options = parser.parse_args()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="tandem-spread-"))).resolve()
    chosen = {(agents, planner): cells[agents, planner] for agents in options.agents for planner in options.planners}

    timed = {(agents, planner): folder / f"{planner}-{agents}-timed" for agents, planner in chosen}
    harness.train_many([run(timed[key], cell, 1, TIMED, 8) for key, cell in chosen.items()], options.jobs)
    speeds = {key: speed(path) for key, path in timed.items()}
    steps = {key: round(60 * (options.minutes or MINUTES[key[0]]) * speeds[key] / REPORT) * REPORT for key in chosen}
    seeds = range(1, options.seeds + 1)
    runs = {
        (agents, planner): {seed: folder / f"{planner}-{agents}-{seed}" for seed in seeds} for agents, planner in chosen
    }
    harness.train_many(
        [run(runs[key][seed], chosen[key], seed, steps[key], 256) for seed in seeds for key in chosen], options.jobs
    )
    report(options, speeds, runs)


def run(path: Path, cell: ablation.Cell, seed: int, steps: int, episodes: int) -> tuple[Path, str, str, list[str]]:
    """Return what the harness trains: a cell for so many steps, evaluated at its end alone."""
    own = ("max_minutes=", "results_dir=")
    settings = [setting for setting in cell.settings if not setting.startswith(own)]
    mine = [
        f"seed={seed}",
        f"t_max={steps}",
        "max_minutes=0",
        f"eval_args.episodes={episodes}",
        f"eval_args.every={10 * steps}",
    ]
    return path, cell.request.config, cell.request.env_config, [*settings, *mine]


def speed(path: Path) -> float:
    """Return the environment steps per second of a timed run, the median of its later reports."""
    values = [value for _, value in harness.curve(path, "time/steps_per_second")]
    return statistics.median(values[len(values) // 3 :])


def report(
    options: argparse.Namespace, speeds: dict[tuple[int, str], float], runs: dict[tuple[int, str], dict[int, Path]]
) -> None:
    """Print the table and write the JSON."""
    rows, result = [], []
    for agents, planner in speeds:
        found = [of_run(path) | {"seed": seed} for seed, path in runs[agents, planner].items()]
        result += [
            {"agents": agents, "planner": planner, "steps_per_second": speeds[agents, planner], **one} for one in found
        ]
        returns = [", ".join(f"{one[who]:.1f}" for one in found) if who in found[0] else "-" for who in PLAYERS]
        mean = statistics.mean(one["search"] for one in found)
        rows.append([agents, planner, f"{mean:.1f}", *returns, f"{found[0]['steps'] / 1000:.0f}k"])
    print(harness.table(rows, ["agents", "planner", "search, mean", *PLAYERS, "steps"]))
    harness.write(
        options.name, {"minutes": {str(n): options.minutes or MINUTES[n] for n in options.agents}, "runs": result}
    )


def of_run(path: Path) -> dict[str, float]:
    """Return what a run reached, by who plays, and in how many steps and seconds of training."""
    recorded = harness.metrics(path)
    reached = {who: recorded[f"eval/{who}/return"]["values"][-1] for who in PLAYERS if f"eval/{who}/return" in recorded}
    return reached | {
        "steps": recorded["eval/search/return"]["steps"][-1],
        "training_seconds": harness.last(path, "time/training_seconds"),
    }


if __name__ == "__main__":
    main()
