"""Recorded runs that were never run: the files of Sacred's record that comparing and batches read."""

import json
from pathlib import Path


def config(results: Path, **settings) -> dict:
    """Return the configuration of a run in a folder of results."""
    return {"name": "alg", "env": "mpe", "env_args": {"scenario": "valley"}, "results_dir": str(results), **settings}


def write(
    results: Path,
    run_id: int,
    returns,
    *,
    name="alg",
    seed=1,
    status="COMPLETED",
    metric="eval/search/return",
    **settings,
):
    """Write one run whose evaluations, 100 steps and 30 seconds of training apart, gave `returns`;
    return its folder.
    """
    folder = results / "sacred" / str(run_id)
    folder.mkdir(parents=True)
    steps = [100 * (i + 1) for i in range(len(returns))]
    metrics = {
        metric: {"steps": steps, "values": list(returns)},
        "time/training_seconds": {"steps": steps, "values": [0.3 * step for step in steps]},
    }
    (folder / "config.json").write_text(json.dumps(config(results, name=name, seed=seed, **settings)))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "run.json").write_text(json.dumps({"status": status, "heartbeat": "2026-01-01T00:00:00"}))
    return folder
