"""Sweeps as a user starts them, with Ray and real runs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tandem.config import loader
from tests.reference.listening import assert_kept_to_themselves
from tests.test_main import CACHE, ROOT, SMALL

SPACE = (
    "learner_args.learning_rate: {log_uniform: [1.0e-3, 1.0e-2]}\nlearner_args.value_weight: {choice: [0.25, 0.5]}\n"
)
SETTINGS = [*SMALL, CACHE]
MAIN = [sys.executable, str(ROOT / "src" / "main.py")]
SWEEP = ["tune", "--config=mazero_seq", "--env-config=matrix_game", "--space=space.yaml", "--concurrent=1"]


def environment(folder: Path) -> dict[str, str]:
    """Return an environment that tells the processes of a test, Ray's among them, from all others."""
    return {**os.environ, "TANDEM_TEST": str(folder)}


def alive(folder: Path) -> list[psutil.Process]:
    """Return the processes that were started in `environment(folder)`, however far down."""
    processes = psutil.process_iter(["name", "environ"])
    return [one for one in processes if (one.info["environ"] or {}).get("TANDEM_TEST") == str(folder)]


def read(folder: Path, run: int, name: str) -> dict:
    return json.loads((folder / "results" / "sacred" / str(run) / name).read_text())


def test_a_sweep_trains_ordinary_runs_stops_the_poor_ones_and_writes_the_best_configuration(tmp_path):
    lines = ["learner_args.learning_rate: [0.003, 0.001]", "learner_args.value_weight: {uniform: [0.2, 0.5]}"]
    (tmp_path / "space.yaml").write_text("\n".join(lines))
    # The learning rate as the score: the second trial is worse from the first rung on, whatever is learned. The clock
    # ends the first: 18 seconds, however fast the machine, so that what is stopped after two is far from its end.
    words = [
        *SWEEP,
        "--samples=1",
        "--metric=train/learning_rate",
        "with",
        *SETTINGS,
        "t_max=100000000",
        "max_minutes=0.3",
    ]
    (tmp_path / ("a-long-name-" * 8)).mkdir()
    told = {
        "RAY_ADDRESS": "127.0.0.1:9",
        "TMPDIR": str(tmp_path / ("a-long-name-" * 8)),
    }  # neither is for Ray of our own
    done = subprocess.run(
        [*MAIN, *words],
        cwd=tmp_path,
        env=environment(tmp_path) | told,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
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
        "results_dir": "results",
        "mongo_url": None,
        "compile_cache_dir": "auto",
        "video": True,
    }


def begin(folder: Path) -> subprocess.Popen:
    """Start a sweep, and return it when its first trial has reported."""
    (folder / "space.yaml").write_text(SPACE)
    command = [*MAIN, *SWEEP, "with", *SETTINGS, "max_minutes=0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=folder, env=environment(folder), **pipes)
    assert any("trial 1" in line for line in process.stdout), process.stderr.read()
    while not list((folder / "results" / "sacred").glob("1/metrics.json*")):
        assert process.poll() is None
        time.sleep(0.05)
    return process


def assert_saved(folder: Path) -> None:
    """The first trial's run was interrupted, and can go on."""
    assert read(folder, 1, "run.json")["status"] == "INTERRUPTED"
    assert list((folder / "results" / "models" / "1").glob("[0-9]*"))


def test_ctrl_c_ends_a_sweep_with_its_trials_saved_and_nothing_left_behind(tmp_path):
    with begin(tmp_path) as process:
        processes = alive(tmp_path)
        assert "raylet" in [one.name() for one in processes]
        assert_kept_to_themselves(processes)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and err == "interrupted: ending the trials (again to leave at once) ...\n", err
    assert alive(tmp_path) == []
    assert_saved(tmp_path)
    assert "stopped early" in out and not (tmp_path / "results" / "sacred" / "2").exists()


def test_a_sweep_that_is_killed_leaves_its_trials_saved_and_no_process(tmp_path):
    with begin(tmp_path) as process:
        process.kill()
        err = process.communicate(timeout=120)[1]  # ends with the last process that could write there
    assert "The sweep's process" in err and "was killed" in err and "--resume" in err
    assert not [
        one for one in psutil.wait_procs(alive(tmp_path), timeout=90)[1] if one.status() != psutil.STATUS_ZOMBIE
    ]
    assert_saved(tmp_path)


def test_a_cluster_that_cannot_be_joined_is_wrong_usage_told_in_one_sentence(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    words = [*SWEEP, "--ray-address=127.0.0.1:9", "with", *SETTINGS]
    told = environment(tmp_path) | {"HOME": str(tmp_path)}
    for token, sentence in (({}, "Ray's token is missing"), ({"RAY_AUTH_TOKEN": "one"}, "no Ray answers there")):
        done = subprocess.run(
            [*MAIN, *words], cwd=tmp_path, env=told | token, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done
        assert (
            done.stderr.startswith("--ray-address=127.0.0.1:9: cannot join this cluster: ") and sentence in done.stderr
        )
    assert not (tmp_path / "results").exists() and alive(tmp_path) == []
