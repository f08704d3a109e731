"""Who still coordinates when the team grows: `python benchmarks/penalty_n.py --agents 2 4 8 --seeds 3`.

The penalty game (k = -100) of N agents: 10 if all play 0 or all play 2, -100 if anybody of the team plays against the
others, 3^N joint actions. Every planner imagines N times as many steps per decision as `--simulations` says: `paths`
and `joint` in one search, `plies` and `independent` in N. All learn with the same settings (below: what an improved
policy owes to a difference of 100 is decisive, what it owes to one of 2 is little, so that nobody settles before the
optimum was seen), for 6,000 N steps. A run counts if greedy play gets 10 in all evaluation episodes at its end (agents
number their moves differently, so that ties are no help); what a decision costs is measured apart from training.
"""

import argparse
import tempfile
from pathlib import Path

import harness
import planning_cost

OPTIMUM = 10.0
PLANNERS = {
    "paths": (
        "mazero_seq",
        ["planner=paths", "planner_args.unfinished_backup=best", "planner_args.interior_value_scale=0.05"],
    ),
    "plies": ("mazero_seq", []),
    "joint": ("mazero_joint", ["planner_args.num_samples=64", "planner_args.max_considered=64"]),
    "independent": ("mazero_ind", []),
}
WHOLE = ("paths", "joint")  # one search for the team
PATIENT = [
    "planner_args.q_epsilon=100",
    "planner_args.value_scale=0.05",
    "replay_args.min_size=4800",
    "replay_args.capacity=12000",
    "runner_args.updates_per_step=0.5",
    "max_minutes=0",
    "video=false",
    "eval_args.episodes=32",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, nargs="+", default=list(range(2, 11)))
    parser.add_argument("--planners", nargs="+", default=list(PLANNERS), choices=list(PLANNERS))
    parser.add_argument("--seeds", type=int, default=3, help="0 = measure the cost of a decision alone")
    parser.add_argument("--simulations", type=int, default=32, help="imagined steps per agent and decision")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once")
    parser.add_argument(
        "--folder", type=Path, help="where runs are recorded; those that are finished there are not repeated"
    )
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further settings of all runs")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="tandem-penalty-"))
    rows, result = [], []
    for agents in options.agents:
        for name in options.planners:
            config, settings = PLANNERS[name]
            simulations = options.simulations * (agents if name in WHOLE else 1)
            words = [
                "env_args.scenario=penalty",
                "env_args.relabel=True",
                f"env_args.num_agents={agents}",
                f"t_max={6000 * agents}",
            ]
            words += [f"planner_args.num_simulations={simulations}", *settings, *PATIENT, *options.set]
            cost, _ = planning_cost.decision(planning_cost.construct(config, "matrix_game", words))
            paths = [folder / f"{name}-{agents}-{seed}" for seed in range(1, options.seeds + 1)]
            runs = [(path, config, "matrix_game", [f"seed={seed}", *words]) for seed, path in enumerate(paths, 1)]
            harness.train_many(runs, options.jobs)
            returns = {how: [last(path, how) for path in paths] for how in ("search", "autoregressive", "policy")}
            result.append(
                {
                    "agents": agents,
                    "planner": name,
                    "simulations": simulations,
                    "decision_cpu_ms": cost,
                    "returns": returns,
                }
            )
            won = [
                sum(abs(value - OPTIMUM) < 1e-3 for value in values if value is not None) for values in returns.values()
            ]
            rows.append([agents, name, simulations, f"{cost:.3f}", *(f"{count} of {options.seeds}" for count in won)])
            print(rows[-1], flush=True)
    head = [
        "agents",
        "planner",
        "simulations per search",
        "CPU ms per decision",
        "optimum: search",
        "autoregressive",
        "policy",
    ]
    print(harness.table(rows, head))
    harness.write("penalty_n", {"settings": [*PATIENT, *options.set], "runs": result})


def last(path: Path, how: str) -> float | None:
    """Return the last greedy return of a way to play; None where an algorithm has no such way."""
    name = f"eval/{how}/return"
    return harness.last(path, name) if name in harness.metrics(path) else None


if __name__ == "__main__":
    main()
