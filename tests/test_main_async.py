"""A run with actors as a user meets it: Ctrl-C, going on, a learner that is killed, programs
outside JAX; nothing stays behind.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tandem import main
from tandem.runners.ray_async import default_actors
from tests.reference.listening import assert_kept_to_themselves
from tests.test_main import CACHE, ROOT

SMALL = [
    "runner=ray_async",
    "runner_args.num_actors=2",
    "runner_args.num_envs=6",
    "runner_args.rollout_length=4",
    "runner_args.report_every=48",
    "network_args.hidden_size=5",
    "learner_args.num_minibatches=2",
    "eval_args.episodes=11",
    "eval_args.every=500000",
    "platform=cpu",
    "video=false",
    "max_minutes=0",
]
START = ["--config=mappo", "--env-config=matrix_game", "with", *SMALL, "t_max=1000000", CACHE]


@pytest.fixture
def scratch(monkeypatch):
    """Return where runs put Ray's temporary files: its path must be short."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def start(folder, *words) -> subprocess.Popen:
    """Start `python src/main.py WORDS` as the leader of a group of processes, as a terminal does."""
    command = [sys.executable, str(ROOT / "src" / "main.py"), *words]
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, start_new_session=True, env=environment, **pipes)


def wait_for_steps(process: subprocess.Popen) -> list[psutil.Process]:
    """Return all processes of the run, once it trains."""
    line = next((line for line in process.stdout if "of 1,000,000 steps" in line), None)
    assert line and "learner idle" in line and "staleness 0.0" in line, process.stderr.read()
    family = psutil.Process(process.pid).children(recursive=True)
    assert sum("ray::Actor" in " ".join(one.cmdline()) for one in family) == 2
    return family


def keep_interrupting(process: subprocess.Popen, family: list[psutil.Process]) -> None:
    """Interrupt a run again and again while it ends its processes, as who loses patience does."""
    left = family
    while left and process.poll() is None:
        left = psutil.wait_procs(family, timeout=0.05)[1]
        if len(left) < len(family):
            process.send_signal(signal.SIGINT)


def assert_gone(family: list[psutil.Process]) -> None:
    assert not [one for one in psutil.wait_procs(family, timeout=20)[1] if one.status() != psutil.STATUS_ZOMBIE]


def test_ctrl_c_and_a_killed_learner_leave_a_run_that_can_go_on_and_no_process(tmp_path, scratch):
    with start(tmp_path, "train", *START) as process:
        family = wait_for_steps(process)
        assert_kept_to_themselves([psutil.Process(process.pid), *family])
        os.killpg(process.pid, signal.SIGINT)
        keep_interrupting(process, family)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and err == "", err
    assert "seed 1: interrupted" in out and "to continue" in out
    assert_gone(family)
    assert not list(scratch.glob("tandem-ray-*"))
    record = tmp_path / "results" / "sacred" / "1"
    assert json.loads((record / "run.json").read_text())["status"] == "INTERRUPTED"
    reached = json.loads((record / "metrics.json").read_text())["actors/staleness"]["steps"][-1]

    with start(tmp_path, "train", "--resume=1") as process:
        family = wait_for_steps(process)
        process.kill()
        err = process.communicate(timeout=120)[1]
    assert "learner's process" in err and "was killed" in err and "--resume" in err
    assert_gone(family)
    assert not list(scratch.glob("tandem-ray-*"))
    steps = json.loads((record / "metrics.json").read_text())["actors/staleness"]["steps"]
    assert reached in steps and steps == sorted(set(steps))


def test_ppo_learns_from_programs_outside_jax(tmp_path):
    small = [
        word for word in SMALL if not word.startswith(("eval_args", "runner_args.num_envs", "runner_args.report_every"))
    ]
    sizes = [
        "runner_args.num_envs=4",
        "runner_args.report_every=16",
        "eval_args.episodes=3",
        "eval_args.every=1000",
        "t_max=32",
        CACHE,
    ]
    with start(tmp_path, "train", "--config=mappo", "--env-config=pettingzoo", "with", *small, *sizes) as process:
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0 and err == "", err
    assert "mappo on pettingzoo/simple_spread, seed 1: done" in out
    metrics = json.loads((tmp_path / "results" / "sacred" / "1" / "metrics.json").read_text())
    assert metrics["train/policy_loss"]["steps"] == [16, 32] and all(
        value != 0 for value in metrics["train/grad_norm"]["values"]
    )
    (score,) = metrics["eval/policy/return"]["values"]
    assert score < 0  # the pay is minus a distance
    assert metrics["actors/staleness"]["values"] == [0.0, 0.0] and metrics["actors/env_failures"]["values"] == [
        0.0,
        0.0,
    ]


def test_a_run_stores_how_many_actors_this_machine_gave_it(monkeypatch):
    for name in ("NPROC", "XLA_FLAGS"):  # are put back afterwards
        monkeypatch.setenv(name, os.environ.get(name, ""))
    stored = {}
    experiment = SimpleNamespace(add_config=stored.update, sources=[])  # Sacred's own would start git
    stand_ins = {
        "make_experiment": experiment,
        "sacreds_options": {"UPDATE": []},
        "add_train": None,
        "run_command": main.OK,
    }
    for name, value in stand_ins.items():
        monkeypatch.setattr(main, name, lambda *args, value=value, **kwargs: value)
    words = ["runner_args.num_actors=0" if "num_actors" in word else word for word in START]
    assert main.main(["train", *words]) == main.OK
    assert stored["runner_args"]["num_actors"] == default_actors(6) > 0
