"""The layers of docs/architecture.md, enforced: who may import whom, and module names that would break Python."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"
GROUND = {"core", "registry", "ops", "config"}
PARTS = {"envs", "networks", "planners", "learners", "replay", "runners"}
ALLOWED = {
    "scene": set(),
    "machine": set(),
    "cluster": {"core", "machine"},
    "hiding": set(),
    "core": {"scene"},
    "registry": set(),
    "ops": {"core"},
    "config": {"core", "hiding", "registry"},
    "networks": {"core", "ops"},
    "envs": {"core", "registry", "ops", "scene"},
    "replay": {"core", "ops"},
    "planners": {"core", "ops"},
    "learners": {"core", "ops"},
    "runners": {
        "cluster",
        "core",
        "machine",
        "registry",
        "ops",
        "envs.auto_reset",
    },  # the one wrapper that belongs to the loop, not to an environment
    "recording": {"core", "checkpoint", "config", "hiding", "runs"},
    "checkpoint": {"core", "runs"},
    "runs": set(),
    "build": GROUND | PARTS | {"contracts", "matching", "recorded_rows"},
    "contracts": {"core"},
    "matching": {"core", "registry"},
    "recorded_rows": {"checkpoint", "core", "runs"},
    "backend": {"config", "registry"},
    "footprint": {"build", "config", "contracts", "core", "machine", "runners.collect"},
    "restored": {"backend", "build", "checkpoint", "config", "core", "runs"},
    "commands": {
        "backend", "build", "cluster", "config", "core", "footprint", "hiding", "machine", "recording", "checkpoint", "restored", "runs", "analysis",
        "registry",
        "runners.collect", "runners.host_collect", "runners.host_envs",  # episodes are played as in training
    },
    "analysis": {
        "core", "config", "runs", "ops", "scene",
        "recording.series", "recording.mongo_place", "recording.mongo_read",  # runs are also read from the database
    },
    "main": {
        "core", "backend", "build", "checkpoint", "config", "footprint", "hiding", "machine", "recording", "restored", "runs", "commands",
    },
}
SINGLE_FILES = {name for names in ALLOWED.values() for name in names if "." in name}
MODULES = sorted(SRC.rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))


def part(path: Path) -> str:
    """Return the part a file belongs to: its folder under src/, or its own name."""
    return path.relative_to(SRC).with_suffix("").parts[0]


def imported_parts(path: Path) -> set[str]:
    """Return the parts of src that a file imports, also inside functions; a file of ALLOWED counts by itself."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write `from src.x import y`"
            module = node.module or ""
            found |= {f"src.{alias.name}" for alias in node.names} if module == "src" else {module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    inside = {name.removeprefix("src.") for name in found if name.startswith("src.")}
    return {name if name in SINGLE_FILES else name.split(".")[0] for name in inside}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_a_part_imports_only_what_its_layer_may(path):
    own = part(path)
    assert own in ALLOWED, f"say in ALLOWED and in docs/architecture.md what {own} may import"
    foreign = {name for name in imported_parts(path) if name.split(".")[0] != own}
    assert foreign <= ALLOWED[own] | {name for name in SINGLE_FILES if name.split(".")[0] in ALLOWED[own]}


def test_ray_is_started_in_one_place_alone():
    # Every other start would have to be kept from strangers, from long paths and from what RAY_ADDRESS says once more.
    starts = re.compile(r"\bray\.init\b")
    starting = {str(path.relative_to(ROOT)) for path in [*MODULES, *BENCHMARKS] if starts.search(path.read_text())}
    assert starting == {"src/cluster/start.py"}


@pytest.mark.parametrize("family", ["planners", "learners", "envs", "replay", "runners", "networks", "ops"])
def test_parts_neither_log_nor_print(family):
    for path in (SRC / family).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            printing = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            logging = isinstance(node, ast.Import) and any(alias.name == "logging" for alias in node.names)
            assert not printing and not logging, f"{path}:{node.lineno}"


def test_no_module_carries_a_name_of_the_standard_library():
    # `python src/main.py` puts src/ first on Python's path: a src/types.py would take the place of Python's own.
    assert not {part(path) for path in MODULES} & sys.stdlib_module_names
    assert not {path.stem for path in MODULES} - {"__init__"} & sys.stdlib_module_names


def test_every_registered_part_exists_and_has_a_config_and_a_maker():
    from src.registry import FAMILIES

    for entries in FAMILIES.values():
        for entry in entries.values():
            names = {getattr(node, "name", "") for node in ast.parse(_file(entry.module).read_text()).body}
            assert {"Config", "make"} <= names, entry.module
            assert entry.help


def _file(module: str) -> Path:
    path = SRC.parent / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
