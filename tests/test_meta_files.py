"""The files around the code: licence, citation, checks for contributors. They agree with one another."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

from tandem import __version__
from tests.conftest import CACHE

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_all_files_name_one_licence_and_one_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert PROJECT["project"]["license"] == citation["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License\n")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys() and citation["version"] == __version__
    assert re.search(r"^## ([0-9.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE).group(1) == __version__


def test_the_workflow_calls_the_tests_as_everybody_does():
    (job,) = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == ["./test.sh"]
    assert "3.11" in job["strategy"]["matrix"]["python"]


def test_pre_commit_has_the_ruff_of_the_lock():
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert f"\nruff=={repo['rev'].removeprefix('v')} " in (ROOT / "requirements-test.lock").read_text()
    assert [hook["id"] for hook in repo["hooks"]] == ["ruff-check", "ruff-format"]


def run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False)


def test_ruff_has_nothing_to_say():
    checked = run("ruff", "check", "--no-cache", ".")
    assert checked.returncode == 0, checked.stdout
    formatted = run("ruff", "format", "--no-cache", "--check", ".")
    assert formatted.returncode == 0, formatted.stdout


def test_the_type_checker_has_nothing_to_say():
    done = run("mypy", f"--cache-dir={CACHE / 'mypy'}")  # from scratch it takes a minute, later a few seconds
    assert done.returncode == 0, done.stdout
