"""The package of docs/guides/plugins.md works as it stands, and plug-ins that are wrong are complained of clearly."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tandem import plugins
from tandem.config import listing, loader
from tandem.config.commandline import Update, UsageError
from tandem.registry import FAMILIES

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "guides" / "plugins.md").read_text()
PROJECT, NAME = "pyproject.toml", "signals_for_tandem"
TINY = [
    "t_max=96", "eval_args.episodes=3", "eval_args.every=96", "runner_args.num_envs=4", "runner_args.rollout_length=8",
    "runner_args.report_every=32", "video=false", "platform=cpu",
    f"compile_cache_dir={os.environ['JAX_COMPILATION_CACHE_DIR']}",
]  # fmt: skip


def files() -> dict[str, str]:
    """Return the files of the page's package by their paths."""
    return dict(re.findall(r"```(?:toml|python|yaml)\n# ([^\n]+)\n(.*?)```", PAGE, flags=re.DOTALL))


def install(site: Path, changed: dict[str, str] | None = None) -> Path:
    """Put the package into a folder as pip would do it, some of its files changed, and return the folder."""
    for name, text in {**files(), **(changed or {})}.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (site / NAME / "__init__.py").touch()
    project = tomllib.loads((site / PROJECT).read_text())["project"]
    info = site / f"{NAME}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))
    return site


def call(folder: Path, site: Path | str, *words: str) -> subprocess.CompletedProcess:
    """Run Tandem in a folder, with the packages of `site` installed."""
    command = [sys.executable, str(ROOT / "src" / "main.py"), *words]
    environ = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    return install(tmp_path_factory.mktemp("site"))


def test_the_package_of_the_page_trains(site, tmp_path):
    done = call(tmp_path, site, "train", "--config=ippo_alike", "--env-config=signals", "with", *TINY)
    assert done.returncode == 0, done.stderr[-2000:]
    record = tmp_path / "results" / "sacred" / "1"
    assert "search/alike" in json.loads((record / "metrics.json").read_text())
    config = json.loads((record / "config.json").read_text())
    assert (config["env"], config["planner"], config["name"]) == ("signals", "alike", "ippo_alike")
    assert json.loads((record / "provenance.json").read_text())["packages"]["signals-for-tandem"] == "1.0"


def test_the_page_shows_every_file_that_the_package_needs(site):
    tree = re.search(r"    signals-for-tandem/\n((?:        .*\n)+)", PAGE).group(1)
    shown = set(re.findall(r"[a-z_/]+\.(?:py|toml|yaml)", tree))
    assert {path.rpartition("/")[2] for path in shown} == {Path(name).name for name in files()} | {"__init__.py"}


def test_plug_ins_are_listed_with_the_package_that_brings_them(site, tmp_path):
    said = call(tmp_path, site, "list").stdout
    assert re.search(r"  alike .*choose alike \[signals-for-tandem\]\n", said)
    assert re.search(r"  signals +Agents that must all show one signal\n", said)
    assert "num_signals = 3" in call(tmp_path, site, "list", "env.signals").stdout
    assert "did you mean 'signals'?" in call(tmp_path, site, "list", "env.signal").stderr


BROKEN = {
    "taken name": ({PROJECT: ("\nalike =", "\nactor =")}, "actor", "also used by Tandem itself; rename"),
    "no such module": ({PROJECT: (".entries:ALIKE", ".entry:ALIKE")}, "alike", "No module named '.*entry'"),
    "no such entry": ({PROJECT: ("entries:ALIKE", "entries:ALIK")}, "alike", "has no attribute 'ALIK'"),
    "no entry": ({PROJECT: ("entries:ALIKE", "entries:__doc__")}, "alike", "a str, but must be a .*Entry"),
    "a mistake inside": ({f"{NAME}/alike.py": ("import dataclasses\n", "import dataclass\n")}, "alike", "'dataclass'"),
    "another mistake": ({f"{NAME}/alike.py": ("import dataclasses\n", "1 / 0\n")}, "alike", r"ZeroDiv.*, line \d\)"),
    "no settings": ({f"{NAME}/alike.py": ("Config", "Settings")}, "alike", "has no dataclass `Config`"),
    "no maker": ({f"{NAME}/alike.py": ("def make", "def maker")}, "alike", "has no function `make`"),
}  # fmt: skip


@pytest.fixture
def put(monkeypatch):
    """Return a function that installs packages into this process, until the test is over."""

    def forget():
        plugins._entry_points.cache_clear()
        plugins.folders.cache_clear()
        for family in FAMILIES.values():
            family._brought = None
        for name in [name for name in sys.modules if name.split(".")[0] == NAME]:
            del sys.modules[name]

    def put(*sites: Path):
        for site in sites:
            monkeypatch.syspath_prepend(str(site))
        forget()

    yield put
    monkeypatch.undo()
    forget()


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plug_in_is_complained_of_where_it_is_asked_for(put, tmp_path, case):
    changes, name, complaint = BROKEN[case]
    own = files()
    put(install(tmp_path / "site", {path: own[path].replace(*change) for path, change in changes.items()}))
    with pytest.raises(UsageError, match=complaint) as said:
        loader.load("ippo", "matrix_game", [Update("planner", name, name)])
    assert "signals-for-tandem" in str(said.value) and str(said.value).count("\n") == 1
    assert loader.load("mazero_seq", "signals")["env"] == "signals"


def test_two_packages_that_take_one_name_are_both_named(put, site, tmp_path):
    put(site, install(tmp_path / "other", {PROJECT: files()[PROJECT].replace('"signals-for-tandem"', '"another"')}))
    with pytest.raises(UsageError, match="'signals-for-tandem' cannot be used: the name is also used by another"):
        loader.load("ippo", "matrix_game", [Update("planner", "alike", "alike")])
    with pytest.raises(UsageError, match="write the path of the one that you mean"):
        loader.load("ippo_alike", "matrix_game")


def test_a_configuration_of_a_taken_name_has_to_be_named_by_its_path(put, tmp_path):
    path = f"{NAME}/configs/envs/mpe.yaml"
    put(site := install(tmp_path / "site", {path: "# other particles\n\nenv: matrix_game\n"}))
    with pytest.raises(UsageError, match=f"{site / path}; write the path"):
        loader.load("ippo", "mpe")
    assert loader.load("ippo", str(site / path))["env"] == "matrix_game"


def test_list_tells_what_is_wrong_with_plug_ins_and_nothing_where_there_are_none(put, tmp_path):
    assert "Plug-ins" not in listing.listing([])
    changed = files()[PROJECT].replace('"tandem.planners"', '"tandem.planner"')
    put(
        install(
            tmp_path / "site", {PROJECT: changed.replace('"signals_for_tandem.configs"', '"signals_for_tandem.con"')}
        )
    )
    said = listing.listing([])
    assert "no such group of entry points; did you mean tandem.planners?" in said
    assert "signals_for_tandem.con is no package" in said
