"""Who still coordinates when the team grows: `python benchmarks/penalty_n.py --agents 2 4 8 --seeds 3`.

The penalty game (k = -100) of N agents: 10 if all play 0 or all play 2, -100 if anybody of the team plays against the others,
3^N joint actions. Every planner imagines N times as many steps per decision as `--simulations` says: the sequential one in N
searches, the joint one in a single one, the independent one in N that do not know of one another. A run counts if greedy play
gets 10 in all evaluation episodes at its end (agents number their moves differently, so that ties are no help); what a decision costs is measured apart from training.
"""

import argparse
import tempfile
from pathlib import Path

import harness
import planning_cost

OPTIMUM = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, nargs="+", default=list(range(2, 11)))
    parser.add_argument("--configs", nargs="+", default=["mazero_seq", "mazero_joint", "mazero_ind"])
    parser.add_argument("--seeds", type=int, default=10, help="0 = measure the cost of a decision alone")
    parser.add_argument("--simulations", type=int, default=32, help="imagined steps per agent and decision")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once")
    parser.add_argument("--folder", type=Path, help="where runs are recorded; those that are finished there are not repeated")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further settings of all runs")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="tandem-penalty-"))
    rows, result = [], []
    for agents in options.agents:
        for config in options.configs:
            simulations = options.simulations * (agents if config == "mazero_joint" else 1)
            words = ["env_args.scenario=penalty", "env_args.relabel=True", f"env_args.num_agents={agents}", f"planner_args.num_simulations={simulations}"]
            words += options.set
            cost, _ = planning_cost.decision(config, "matrix_game", words)
            paths = [folder / f"{config}-{agents}-{seed}" for seed in range(1, options.seeds + 1)]
            runs = [(path, config, "matrix_game", [f"seed={seed}", "video=false", *words]) for seed, path in enumerate(paths, 1)]
            harness.train_many(runs, options.jobs)
            returns = {how: [last(path, how) for path in paths] for how in ("search", "autoregressive", "policy")}
            result.append({"agents": agents, "config": config, "simulations": simulations, "decision_cpu_ms": cost, "returns": returns})
            won = [sum(abs(value - OPTIMUM) < 1e-3 for value in values if value is not None) for values in returns.values()]
            rows.append([agents, config, simulations, f"{cost:.3f}", *(f"{count} of {options.seeds}" for count in won)])
            print(rows[-1], flush=True)
    head = ["agents", "config", "simulations per search", "CPU ms per decision", "optimum: search", "autoregressive", "policy"]
    print(harness.table(rows, head))
    harness.write("penalty_n", {"runs": result})


def last(path: Path, how: str) -> float | None:
    """Return the last greedy return of a way to play; None where an algorithm has no such way."""
    name = f"eval/{how}/return"
    return harness.last(path, name) if name in harness.metrics(path) else None


if __name__ == "__main__":
    main()
