"""The package: what `pip install .` puts in place, and that it works away from the repository, without network."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tandem import __version__, program

ROOT = Path(__file__).parent.parent
BUILD = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"
TINY = "with t_max=96 video=False eval_args.episodes=3 eval_args.every=96"
TINY += " runner_args.num_envs=6 runner_args.rollout_length=8 runner_args.report_every=48"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return the wheel that is built of a copy of the sources."""
    copy, out = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "tandem").symlink_to("src")
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(out)], cwd=copy, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(out / done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def call(wheel, tmp_path_factory):
    """Return a function that runs the installed command in a folder outside the repository."""
    site = tmp_path_factory.mktemp("site")
    wheel.extractall(site)
    entry = "from tandem.main import run; run()"

    def call(folder, *words):
        command = [sys.executable, "-P", "-c", entry, *words]
        return subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            check=False,
        )

    return call


def test_the_wheel_holds_every_module_and_every_configuration_and_nothing_else(wheel):
    own = {f"tandem/{path.relative_to(ROOT / 'src')}" for path in (ROOT / "src").rglob("*") if path.is_file()}
    own = {name for name in own if "__pycache__" not in name}
    inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert inside == own and {"tandem/main.py", "tandem/config/envs/mpe.yaml", "tandem/py.typed"} <= inside


def test_the_wheel_says_what_it_is(wheel):
    (metadata,) = (wheel.read(name).decode() for name in wheel.namelist() if name.endswith("dist-info/METADATA"))
    assert f"\nVersion: {__version__}\n" in metadata and "\nLicense-Expression: MIT\n" in metadata
    assert "\nRequires-Dist: jax" in metadata and "==" not in metadata.split("\n\n")[0].split("Provides-Extra")[0]
    (entries,) = (wheel.read(name).decode() for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "tandem = tandem.main:run" in entries


def test_the_installed_command_lists_the_parts_and_names_itself(call, tmp_path):
    done = call(tmp_path, "list")
    assert done.returncode == 0 and "mazero_seq" in done.stdout and "matrix_game" in done.stdout
    wrong = call(tmp_path, "--config=mapo")
    assert wrong.returncode == 2 and "did you mean mappo?" in wrong.stderr
    assert "tandem --help" in (help := call(tmp_path, "--hlep").stderr) and "src/main.py" not in help


def test_an_installed_tandem_trains_and_records_where_it_is_called(call, tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)  # somebody's own repository, which is not ours
    done = call(tmp_path, "train", "--config=ippo", "--env-config=matrix_game", *TINY.split())
    assert done.returncode == 0, done.stderr[-2000:]
    record = tmp_path / "results" / "sacred" / "1"
    assert json.loads((record / "run.json").read_text())["status"] == "COMPLETED"
    facts = json.loads((record / "provenance.json").read_text())
    assert facts["git"]["commit"] == "" and facts["packages"]["tandem"] == __version__
    assert not [path for path in tmp_path.iterdir() if path.name not in (".git", "results")]
    sources = json.loads((record / "run.json").read_text())["experiment"]["sources"]
    assert sources and all(name.endswith(".py") and "site-packages" not in name for name, _ in sources)
    shown = call(tmp_path, "show", "--run=1")
    assert shown.returncode == 0, shown.stderr


def test_in_a_clone_the_program_is_called_as_the_readme_says():
    assert program.checkout() == ROOT
    assert program.named("see `python src/main.py list`") == "see `python src/main.py list`"
