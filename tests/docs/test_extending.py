"""The examples of docs/extending.md work as they stand: in a copy of the project each
trains, and the suites find no fault.
"""

import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text()
TINY = [
    "t_max=96", "max_minutes=0", "eval_args.episodes=3", "eval_args.every=96", "runner_args.num_envs=4",
    "runner_args.rollout_length=8", "runner_args.report_every=32", "video=false", "platform=cpu",
    f"compile_cache_dir={os.environ['JAX_COMPILATION_CACHE_DIR']}",
]  # fmt: skip
WITH_MODEL = [
    "network_args.latent_size=6",
    "network_args.hidden_size=7",
    "network_args.projection_size=5",
    "replay_args.batch_size=9",
    "replay_args.min_size=32",
    "replay_args.capacity=700",
    "runner_args.updates_per_step=0.05",
]
# What reports have to show of a run, by words of its command line.
SHOWN = {
    "reinforce": "train/return_to_go", "corridor": "eval/policy/arrived", "lamps": "eval/policy/right",
    "watched": "search/certainty", "sampled": "eval/search/return",
}  # fmt: skip


class Block(NamedTuple):
    """A fenced block of the page."""

    path: str  # what its first line names
    text: str  # the rest


def blocks() -> list[Block]:
    return [Block(*found) for found in re.findall(r"```(?:python|yaml)\n# ([^\n]+)\n(.*?)```", PAGE, flags=re.DOTALL)]


def commands() -> list[str]:
    found = re.findall(r"```sh\n(python src/main.py [^`]*?)\n```", PAGE)
    return [" ".join(command.replace("\\\n", " ").split()) for command in found]


def lines() -> dict[str, list[str]]:
    """Return the lines of the registry by the name of their table."""
    found: dict[str, list[str]] = {}
    for block in blocks():
        if block.path.startswith("src/registry.py, in "):
            found.setdefault(block.path.rpartition(" ")[2], []).append(block.text)
    return found


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the project with all examples in it, and nothing else that is new."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tandem").symlink_to("src")
    shutil.copy(ROOT / "pyproject.toml", folder)
    registry = folder / "src" / "registry.py"
    text = registry.read_text()
    for table, entries in lines().items():
        assert text.count(f"\n{table} = {{\n") == 1
        text = text.replace(f"\n{table} = {{\n", f"\n{table} = {{\n{''.join(entries)}")
    registry.write_text(text)
    for block in blocks():
        if "," not in block.path:
            assert not (folder / block.path).exists()
            (folder / block.path).write_text(block.text)
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=400, check=False)


def test_each_family_has_an_example_and_every_example_a_command():
    assert set(lines()) == {"PLANNERS", "LEARNERS", "ENVS", "NETWORKS"}
    names = re.findall(r'^"(\w+)": Entry', "".join(sum(lines().values(), [])), flags=re.MULTILINE)
    assert len(names) == 6
    assert all(any(re.search(rf"[=_]{name}\b", command) for command in commands()) for name in names)
    assert all(len(block.text.splitlines()) <= 75 for block in blocks())


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.removeprefix("python src/main.py "))
def test_the_commands_train(command, copy, tmp_path):
    words = shlex.split(command)[2:]
    tiny = [*TINY, *(WITH_MODEL if "mazero" in command else []), f"results_dir={tmp_path}"]
    done = run(copy, sys.executable, "src/main.py", *words, *([] if "with" in words else ["with"]), *tiny)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "sacred" / "1" / "metrics.json").read_text())
    for name in ["train/return", *(shown for word, shown in SHOWN.items() if word in command)]:
        values = metrics[name]["values"]
        assert values and all(math.isfinite(value) for value in values), name


@pytest.mark.parametrize(("suite", "names"), [
    ("tests/envs/test_conformance.py", "corridor"),
    ("tests/envs/test_host_conformance.py", "lamps"),
    ("tests/planners/test_every_planner.py", "sampled or watched"),
    # With one algorithm of each kind: what the page's environments are is all the same to the others.
    ("tests/test_build.py", " or ".join(
        [f"{kind}-{env}" for kind in ("ippo", "mazero_seq", "pqn_vdn") for env in ("corridor", "lamps")]
        + ["linear", "sampled", "watched", "refused", "says"]
    )),
])  # fmt: skip
def test_the_suites_know_the_new_parts_and_find_no_fault(suite, names, copy):
    done = run(copy, sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", suite, "-k", names)
    assert done.returncode == 0, done.stdout[-3000:]


def test_an_environment_can_be_chosen_over_the_file_of_another(copy):
    words = "print_config --config=mappo --env-config=switch_riddle with env=corridor env_args.length=7".split()
    shown = run(copy, sys.executable, "src/main.py", *words)
    assert shown.returncode == 0, shown.stderr
    assert (
        all(word in shown.stdout for word in ("corridor", "length = 7", "5000000")) and "remember" not in shown.stdout
    )


def test_a_typed_setting_that_the_chosen_part_lacks_is_refused_and_one_of_a_file_is_not(copy):
    words = "print_config --config=mappo --env-config=corridor".split()
    assert run(copy, sys.executable, "src/main.py", *words).returncode == 0
    refused = run(copy, sys.executable, "src/main.py", *words, "with", "network_args.reward_limit=2.0")
    assert refused.returncode == 2 and "network 'actor_critic' has no such setting" in refused.stderr
