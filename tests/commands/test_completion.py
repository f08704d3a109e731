"""`completion bash|zsh|fish`: what a shell offers is what there is."""

import shutil
import subprocess

import pytest

from tandem import main
from tandem.commands import completion
from tandem.config import files, schema
from tandem.registry import FAMILIES


@pytest.fixture(scope="module")
def known():
    return completion.known()


@pytest.fixture(scope="module")
def script(known, tmp_path_factory):
    """Return the path of bash's script."""
    path = tmp_path_factory.mktemp("completion") / "tandem"
    path.write_text(completion.SHELLS["bash"](known))
    return path


def offered(script, line: str) -> list[str]:
    """Return what bash would offer at the end of a line."""
    ask = 'compopt() { :; }; source "$1"; COMP_LINE=$2; COMP_POINT=${#2}; _tandem; printf "%s\\n" "${COMPREPLY[@]}"'
    command = ["bash", "--norc", "-c", ask, "bash", str(script), line]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    "line, expected",
    [
        ("tandem ev", ["evaluate"]),
        ("tandem train --conf", ["--config="]),
        ("tandem --config=mapp", ["mappo", "mappo_continuous", "mappo_distil", "mappo_ns"]),
        ("tandem --config=mappo --env-config=matr", ["matrix_game"]),
        ("tandem train --config=mappo wi", ["with"]),
        ("tandem train with planner=root", ["root_only"]),
        ("tandem with planner_args.num_simul", ["planner_args.num_simulations="]),
        ("tandem with seed=3 vid", ["video="]),
        ("tandem with video=", ["true", "false"]),
        ("tandem export --run=3 --format=o", ["onnx"]),
        ("tandem show --d", ["--diff"]),
        ("tandem list planner.pl", ["planner.plies"]),
        ("tandem completion f", ["fish"]),
        ("tandem train --diff", []),
    ],
)
def test_bash_completes_what_was_begun(script, line, expected):
    assert offered(script, line) == expected


def test_all_that_can_be_named_is_offered(script, known):
    assert set(offered(script, "tandem ")) == {"with", *main.COMMANDS, *main.TOOLS}
    assert offered(script, "tandem --env-config=") == files.names("envs")
    assert offered(script, "tandem with env=") == list(FAMILIES["env"])
    assert {f"{key}=" for key in schema.fields(schema.RunConfig)} < set(offered(script, "tandem with "))
    assert known.settings["network_args.policy_head"] == ["sum", "attention", "gru"]
    assert all(known.flags[name] for name in main.TOOLS if name != "completion")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_command_prints_a_script_that_its_shell_can_read(known, monkeypatch, capsys, tmp_path, shell):
    monkeypatch.setattr(completion, "known", lambda: known)
    assert main.main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert "mazero_seq" in text and "planner_args.num_simulations" in text and "{" + "{" not in text
    if shutil.which(shell):
        (tmp_path / "script").write_text(text)
        check = "--no-execute" if shell == "fish" else "-n"
        done = subprocess.run([shell, check, str(tmp_path / "script")], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and not done.stderr


def test_a_shell_that_is_not_known_is_told(capsys):
    assert main.main(["completion", "bsh"]) == 2
    assert "no script for 'bsh'; did you mean bash?" in capsys.readouterr().err
    assert main.main(["completion"]) == 2 and "required: bash|zsh|fish" in capsys.readouterr().err
