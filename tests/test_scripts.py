"""run.sh, test.sh and the lock files, without installing anything."""

import hashlib
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.lock", "requirements-cuda.lock")


@pytest.fixture
def checkout(tmp_path):
    """Return a copy of the scripts with a `.venv` whose python and pip only say what they were asked."""
    for name in ("run.sh", "test.sh", "scripts", *LOCKS):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\n[ "$1" = -c ] || echo "$@" | tee -a asked\n')
    python.chmod(0o755)
    stamp(tmp_path, "requirements.lock")
    return tmp_path


def stamp(checkout, *locks):
    checksum = hashlib.sha256(b"".join((checkout / lock).read_bytes() for lock in locks)).hexdigest()
    (checkout / ".venv" / "tandem-lock").write_text(checksum + "\n")


def call(checkout, *command, **env):
    return subprocess.run(
        command, cwd="/", env={"PATH": "/usr/bin:/bin"} | env, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "words, expected",
    [
        ([], "--config=mazero_seq --env-config=mpe with seed=1 max_minutes=3"),
        (["a", "b"], "--config=a --env-config=b"),
        (["a", "b", "7"], "batch --config=a --env-config=b --seeds=7"),
        (["a", "b", "2,5-6", "x=1", "y.z=2"], "batch --config=a --env-config=b --seeds=2,5-6 with x=1 y.z=2"),
        (["a", "b", "x=1"], "--config=a --env-config=b with x=1"),
    ],
)
def test_run_sh_hands_its_words_on(checkout, words, expected):
    done = call(checkout, str(checkout / "run.sh"), *words)
    assert done.returncode == 0 and done.stdout == f"src/main.py {expected}\n"


@pytest.mark.parametrize("words", [["a"], ["a", "x=1"]])
def test_run_sh_says_how_it_is_used(checkout, words):
    done = call(checkout, str(checkout / "run.sh"), *words)
    assert done.returncode == 2 and "usage: ./run.sh" in done.stderr


def test_test_sh_hands_its_words_to_pytest(checkout):
    said = call(checkout, str(checkout / "test.sh"), "-k", "x").stdout
    assert said.startswith("-m pytest ") and said.endswith(" -k x\n")


def test_packages_are_installed_again_only_when_the_lock_has_changed(checkout):
    with (checkout / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")
    first = call(checkout, str(checkout / "test.sh")).stdout
    second = call(checkout, str(checkout / "test.sh")).stdout
    assert first.startswith("-m pip install") and "--require-hashes --requirement=requirements.lock\n" in first
    assert second.startswith("-m pytest ") and second.count("\n") == 1


def test_cuda_packages_come_on_demand(checkout):
    asked = call(checkout, str(checkout / "test.sh"), TANDEM_CUDA="1").stdout
    assert "--requirement=requirements.lock --requirement=requirements-cuda.lock\n" in asked


def test_a_failed_installation_is_not_taken_for_a_good_one(checkout):
    (checkout / ".venv" / "tandem-lock").unlink()
    (checkout / ".venv" / "bin" / "python").write_text('#!/bin/sh\n[ "$1" = -c ]\n')
    assert call(checkout, str(checkout / "test.sh")).returncode == 1
    assert not (checkout / ".venv" / "tandem-lock").exists()


def pins(lock):
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ;]+)", (ROOT / lock).read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_registry_and_has_a_hash_for_everything(lock):
    text = (ROOT / lock).read_text()
    assert "://" not in text and "--index" not in text and "--find-links" not in text
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) > 10 and all("--hash=sha256:" in entry for entry in entries)


def test_the_lock_holds_every_pin_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = dict(pin.split("==") for pin in project["project"]["dependencies"] + project["dependency-groups"]["test"])
    locked = pins("requirements.lock")
    assert {name: locked.get(name) for name in wanted} == wanted
    assert not set(pins("requirements-cuda.lock")) & set(locked)
    assert pins("requirements-cuda.lock")["jax-cuda13-plugin"] == wanted["jax"]
