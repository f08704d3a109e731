"""Sweeps as a user starts them, with Ray and real runs."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import yaml

from src.config import loader
from tests.test_main import CACHE, ROOT, SMALL, type_in

SPACE = "learner_args.learning_rate: {log_uniform: [1.0e-3, 1.0e-2]}\nlearner_args.value_weight: {choice: [0.25, 0.5]}\n"
SETTINGS = [*[word for word in SMALL if not word.startswith("eval_args.every")], "eval_args.every=600", CACHE]
SWEEP = ["tune", "--config=mazero_seq", "--env-config=matrix_game", "--space=space.yaml", "--concurrent=1"]


def strangers() -> set[str]:
    """Return processes that Ray or a run of ours may have left: name and id."""
    found = set()
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if any(word in line for word in ("raylet", "gcs_server", "ray::", "ray/_private", "src/main.py", "tether.py")):
            found.add(f"{process.pid} {line[:90]}")
    return found


def read(folder: Path, run: int, name: str) -> dict:
    return json.loads((folder / "results" / "sacred" / str(run) / name).read_text())


def test_a_sweep_trains_ordinary_runs_and_writes_the_best_configuration(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    before = strangers()
    done = type_in(tmp_path, *SWEEP, "--samples=2", "with", *SETTINGS, "max_minutes=0.01")
    assert done.returncode == 0 and done.stderr == "", done
    assert strangers() <= before
    configs = [read(tmp_path, run, "config.json") for run in (1, 2)]
    rates = [config["learner_args"]["learning_rate"] for config in configs]
    assert rates[0] != rates[1] and all(0.001 <= rate <= 0.01 for rate in rates)
    assert all(read(tmp_path, run, "run.json")["status"] == "COMPLETED" for run in (1, 2))
    assert all(read(tmp_path, run, "run.json")["meta"]["comment"].startswith("sweep mazero_seq") for run in (1, 2))
    scores = [read(tmp_path, run, "metrics.json")["eval/search/return"]["values"][-1] for run in (1, 2)]
    assert all(f"{score:.3f}" in done.stdout for score in scores) and done.stdout.count(" done ") == 2
    (best,) = (tmp_path / "results" / "sweeps").glob("*/best.yaml")
    assert loader.load(str(best), "matrix_game") == configs[scores.index(max(scores))] | {"mongo_url": None}
    assert yaml.safe_load(best.read_text())["learner_args"]["learning_rate"] in rates


def test_ctrl_c_ends_a_sweep_with_its_trials_saved_and_nothing_left_behind(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    before = strangers()
    command = [sys.executable, str(ROOT / "src" / "main.py"), *SWEEP, "with", *SETTINGS, "max_minutes=0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert any("trial 1" in line for line in process.stdout)
        while not list((tmp_path / "results" / "sacred").glob("1/metrics.json")):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and err == "interrupted: ending the trials (again to leave at once) ...\n", err
    assert strangers() <= before
    assert read(tmp_path, 1, "run.json")["status"] == "INTERRUPTED" and "stopped early" in out
    assert list((tmp_path / "results" / "models" / "1").glob("[0-9]*"))
    assert not (tmp_path / "results" / "sacred" / "2").exists()
