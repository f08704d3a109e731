"""Sweeps as a user starts them, with Ray and real runs."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from src.config import loader
from tests.test_main import CACHE, ROOT, SMALL

SPACE = "learner_args.learning_rate: {log_uniform: [1.0e-3, 1.0e-2]}\nlearner_args.value_weight: {choice: [0.25, 0.5]}\n"
SETTINGS = [*SMALL, CACHE]
MAIN = [sys.executable, str(ROOT / "src" / "main.py")]
SWEEP = ["tune", "--config=mazero_seq", "--env-config=matrix_game", "--space=space.yaml", "--concurrent=1"]


def environment(folder: Path) -> dict[str, str]:
    """Return an environment that tells the processes of a test, Ray's among them, from all others."""
    return {**os.environ, "TANDEM_TEST": str(folder)}


def alive(folder: Path) -> list[str]:
    """Return the names of processes that were started in `environment(folder)`, however far down."""
    processes = psutil.process_iter(["name", "environ"])
    return [one.info["name"] for one in processes if (one.info["environ"] or {}).get("TANDEM_TEST") == str(folder)]


def read(folder: Path, run: int, name: str) -> dict:
    return json.loads((folder / "results" / "sacred" / str(run) / name).read_text())


def test_a_sweep_trains_ordinary_runs_stops_the_poor_ones_and_writes_the_best_configuration(tmp_path):
    lines = ["learner_args.learning_rate: [0.003, 0.001]", "learner_args.value_weight: {uniform: [0.2, 0.5]}"]
    (tmp_path / "space.yaml").write_text("\n".join(lines))
    # The learning rate as the score: the second trial is worse from the first rung on, whatever is learned.
    # The clock ends the first: 18 seconds, however fast the machine, so that what is stopped after two is far from its end.
    words = [*SWEEP, "--samples=1", "--metric=train/learning_rate", "with", *SETTINGS, "t_max=100000000", "max_minutes=0.3"]
    done = subprocess.run(
        [*MAIN, *words], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0 and done.stderr == "", done
    assert alive(tmp_path) == []
    configs, records = ([read(tmp_path, run, f"{name}.json") for run in (1, 2)] for name in ("config", "run"))
    assert [config["learner_args"]["learning_rate"] for config in configs] == [0.003, 0.001]
    assert all(0.2 <= config["learner_args"]["value_weight"] <= 0.5 for config in configs)
    assert [record["status"] for record in records] == ["COMPLETED", "INTERRUPTED"], done.stdout
    assert all(record["meta"]["comment"].startswith("sweep mazero_seq-matrix_game") for record in records)
    assert list((tmp_path / "results" / "models" / "2").glob("[0-9]*"))
    assert "done" in done.stdout and "stopped early" in done.stdout and "100 % of its budget used" in done.stdout
    (best,) = (tmp_path / "results" / "sweeps").glob("*/best.yaml")
    assert loader.load(str(best), "matrix_game") == configs[0] | {
        "results_dir": "results", "mongo_url": None, "compile_cache_dir": "auto",
    }


def test_ctrl_c_ends_a_sweep_with_its_trials_saved_and_nothing_left_behind(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    command = [*MAIN, *SWEEP, "with", *SETTINGS, "max_minutes=0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path), **pipes) as process:
        assert any("trial 1" in line for line in process.stdout), process.stderr.read()
        while not list((tmp_path / "results" / "sacred").glob("1/metrics.json")):
            assert process.poll() is None
        assert "raylet" in alive(tmp_path)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and err == "interrupted: ending the trials (again to leave at once) ...\n", err
    assert alive(tmp_path) == []
    assert read(tmp_path, 1, "run.json")["status"] == "INTERRUPTED" and "stopped early" in out
    assert list((tmp_path / "results" / "models" / "1").glob("[0-9]*"))
    assert not (tmp_path / "results" / "sacred" / "2").exists()
