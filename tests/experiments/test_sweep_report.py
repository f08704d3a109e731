"""What a sweep finds among its trials, read from their records."""

import json
import math

from tandem.experiments import sweep_report
from tests.commands import stub_runs

METRIC = "eval/search/return"


def trial(results, folder, run_id: int, returns, losses=(0.5, 0.5), status="COMPLETED") -> None:
    """Write a trial and its run."""
    record = stub_runs.write(results, run_id, returns, status=status, t_max=200, max_minutes=0.0)
    metrics = json.loads((record / "metrics.json").read_text())
    metrics["train/loss"] = {"steps": [100, 200], "values": list(losses)}
    (record / "metrics.json").write_text(json.dumps(metrics))
    folder.mkdir(exist_ok=True)
    (folder / f"{run_id}.json").write_text(json.dumps({"settings": {"seed": run_id}, "run": str(run_id)}))


def test_a_trial_that_diverged_is_never_the_best(tmp_path):
    folder = tmp_path / "trials"
    trial(tmp_path, folder, 1, [1.0, 2.0])
    trial(tmp_path, folder, 2, [1.0, 11.0], losses=(0.5, math.nan))  # what a policy that is not a number gets
    trial(tmp_path, folder, 3, [1.0, math.nan], losses=(0.5, math.nan), status="FAILED")
    found = sweep_report.collect(folder, tmp_path, METRIC)
    assert [one.status for one in found] == ["done", "diverged", "diverged"]
    assert sweep_report.best(found, "max").run.id == "1"
    assert sweep_report.best(found[1:], "max") is None is sweep_report.best(found[1:], "min")
