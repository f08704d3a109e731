"""The command line as a user types it, in a process of its own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SMALL = [
    "network_args.latent_size=6",
    "network_args.hidden_size=7",
    "network_args.attention=none",
    "network_args.projection_size=5",
    "planner_args.num_simulations=2",
    "replay_args.batch_size=9",
    "replay_args.min_size=60",
    "replay_args.capacity=700",
    "runner_args.num_envs=3",
    "runner_args.rollout_length=4",
    "runner_args.report_every=120",
    "eval_args.episodes=11",
    "eval_args.every=500000",
    "platform=cpu",
    "video=false",
    "t_max=1000000",
]
CACHE = f"compile_cache_dir={os.environ['JAX_COMPILATION_CACHE_DIR']}"
TINY = [
    "--config=mazero_seq",
    "--env-config=matrix_game",
    "with",
    *SMALL,
    CACHE,
]  # one program for all tests: compiled once


def type_in(folder: Path, *words: str) -> subprocess.CompletedProcess:
    """Run `python src/main.py WORDS` with `folder` as the current directory."""
    command = [sys.executable, str(ROOT / "src" / "main.py"), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def assert_refused(done: subprocess.CompletedProcess, folder: Path, *words: str) -> None:
    assert done.returncode == 2, done
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert list(folder.iterdir()) == []


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / "results" / "sacred" / "1" / name).read_text())


def test_a_run_trains_records_and_sums_up(tmp_path):
    done = type_in(tmp_path, *TINY, "seed=3", "max_minutes=0.003")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "mazero_seq on matrix_game/climbing, seed 3: done" in done.stdout
    assert "ended by" in done.stdout and "max_minutes=0.003, at 0." in done.stdout
    assert "of 1,000,000 steps" in done.stdout and str(Path("results/sacred/1")) in done.stdout
    run, metrics, config = (read(tmp_path, f"{name}.json") for name in ("run", "metrics", "config"))
    assert run["status"] == "COMPLETED" and run["result"] == metrics["eval/search/return"]["values"][-1]
    last = max(step for series in metrics.values() for step in series["steps"])
    evaluated = {metrics[f"eval/{how}/return"]["steps"][-1] for how in ("search", "autoregressive", "policy")}
    assert evaluated == {last} and last < 1000000
    assert (
        config["seed"] == 3 and config["planner_args"]["num_simulations"] == 2 and config["learner_args"]["n_step"] >= 1
    )
    assert len(list((tmp_path / "results" / "tb_logs").rglob("events.*"))) == 1


def test_a_run_without_search_is_judged_by_its_policy(tmp_path):
    small = [
        "network_args.hidden_size=5",
        "runner_args.num_envs=3",
        "runner_args.rollout_length=4",
        "eval_args.episodes=11",
    ]
    minibatches = [f"learner_args.{phase}_minibatches=2" for phase in ("policy", "value", "distil")]
    clocks = ["runner_args.report_every=12", "t_max=24", "platform=cpu"]
    words = ["--config=mappo_distil", "--env-config=matrix_game", "with", *small, *minibatches, *clocks, CACHE]
    done = type_in(tmp_path, *words)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "ended by" not in done.stdout  # it reached t_max
    assert "mappo_distil on matrix_game/climbing, seed 1: done" in done.stdout and "eval/policy/return" in done.stdout
    run, metrics = (read(tmp_path, f"{name}.json") for name in ("run", "metrics"))
    assert run["result"] == metrics["eval/policy/return"]["values"][-1]
    assert "train/distil_kl" in metrics and not any("search" in name for name in metrics)


def test_ctrl_c_ends_a_run_cleanly(tmp_path):
    command = [sys.executable, str(ROOT / "src" / "main.py"), *TINY, "max_minutes=0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, **pipes) as process:
        first = next((line for line in process.stdout if "of 1,000,000 steps" in line), None)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert first and process.returncode == 130 and err == "", err
    assert "seed 1: interrupted" in out
    assert read(tmp_path, "run.json")["status"] == "INTERRUPTED"
    assert "train/return" in read(tmp_path, "metrics.json")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_compiles_ends_a_run_cleanly(tmp_path, number):
    words = [
        "--config=mazero_seq",
        "--env-config=matrix_game",
        "with",
        *SMALL,
        "network_args.hidden_size=65",
        "compile_cache_dir=",
    ]
    fresh = {
        name: value for name, value in os.environ.items() if not name.startswith("JAX_")
    }  # nothing is compiled already
    pipes = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
        "env": fresh | {"JAX_LOG_COMPILES": "1"},
    }
    with subprocess.Popen([sys.executable, str(ROOT / "src" / "main.py"), *words], cwd=tmp_path, **pipes) as process:
        first = next(
            (line for line in process.stdout if "Compiling jit(_report)" in line), None
        )  # XLA is about to begin
        process.send_signal(number)
        process.communicate(timeout=200)
    assert first and process.returncode == 130
    assert read(tmp_path, "run.json")["status"] == "INTERRUPTED"


def test_all_mistakes_come_in_one_message_and_leave_no_record(tmp_path):
    done = type_in(
        tmp_path,
        "train",
        "--config",
        "mazero_sq",
        "--env-config=mpe",
        "with",
        "planner_args.num_simulations=0",
        "seeed=3",
        "learner_args.learning_rate=fast",
    )
    assert_refused(
        done,
        tmp_path,
        "did you mean mazero_seq?",
        "planner_args.num_simulations (command line): got 0",
        "did you mean seed?",
        "got 'fast', expected number",
    )


@pytest.mark.parametrize(
    "words, expected",
    [
        (
            ["--config=mazero_seq", "--env-config=mpe", "with", "env_args.scenario=simple_sprea"],
            ["env 'mpe'", "simple_spread"],
        ),
        (["trian", "with", "seed=3"], ["unknown command 'trian'", "did you mean 'train'?"]),
        (["--config"], ["--config needs a name"]),
        (["--no-such-flag", "with", "seed=3"], ["--no-such-flag", "--help"]),
        (["list", "planner.plis"], ["did you mean 'plies'?"]),
    ],
)
def test_other_mistakes_are_refused_the_same_way(tmp_path, words, expected):
    assert_refused(type_in(tmp_path, *words), tmp_path, *expected)


def test_help_says_how_to_go_on(tmp_path):
    done = type_in(tmp_path, "--help")
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("--config=", "--env-config=", "with", "list", "Examples"))


def test_list_names_every_configuration_and_part_with_a_description(tmp_path):
    from tandem.config import files
    from tandem.registry import FAMILIES

    out = type_in(tmp_path, "list").stdout
    lines = {line.split()[0]: line.split(maxsplit=1)[1:] for line in out.splitlines() if line.startswith("  ")}
    known = [*files.names("algs"), *files.names("envs"), *(name for entries in FAMILIES.values() for name in entries)]
    assert set(lines) == set(known) and all(lines.values())


def test_list_prints_the_settings_of_a_part(tmp_path):
    out = type_in(tmp_path, "list", "planner.plies", "run").stdout
    assert "num_simulations = " in out and "simulations per search" in out and "t_max" in out


def test_a_terminal_that_lacks_the_letters_of_a_name_is_no_reason_to_stop(tmp_path):
    names = ["name=жар", "results_dir=жар/[v1]"]
    command = [
        sys.executable,
        str(ROOT / "src" / "main.py"),
        "print_config",
        "--env-config=matrix_game",
        "with",
        *names,
    ]
    for locale in ({"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}):
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, timeout=300, check=False, env={**os.environ, **locale}
        )
        assert done.returncode == 0 and done.stderr == b"", done
        assert "name = 'жар'".encode() in done.stdout or b"name = '\\u0436\\u0430\\u0440'" in done.stdout
        assert list(tmp_path.iterdir()) == []


def test_a_configuration_that_cannot_be_written_is_told_of_in_a_line(tmp_path):
    (tmp_path / "config.json").mkdir()
    done = type_in(tmp_path, "save_config", "--env-config=matrix_game")
    assert done.returncode == 1 and "config.json" in done.stderr and "Traceback" not in done.stderr


def test_sacreds_own_command_shows_the_merged_configuration(tmp_path):
    done = type_in(
        tmp_path, "print_config", "--config=mazero_joint", "--env-config", "matrix_game", "with", "seed=1234"
    )
    assert done.returncode == 0 and "planner = 'joint'" in done.stdout and "seed = 1234" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flag", ["-v", "-d"])
def test_without_room_for_jax_nothing_is_imported(tmp_path, flag):
    limited = f"ulimit {flag} 300000; exec {sys.executable} {ROOT / 'src' / 'main.py'} {' '.join(TINY)}"
    done = subprocess.run(
        ["bash", "-c", limited], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert_refused(done, tmp_path, "not enough memory to start", f"ulimit {flag}")


def test_a_replay_that_memory_cannot_hold_is_refused(tmp_path):
    assert_refused(
        type_in(tmp_path, *TINY, "replay_args.capacity=1e9"),
        tmp_path,
        "replay_args.capacity=1000000000",
        "GiB are free",
    )
