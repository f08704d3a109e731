"""The layers of docs/architecture.md, enforced: who may import whom, and module names that would break Python."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"
PAGE = ROOT / "docs" / "architecture.md"


def layers(page: str) -> dict[str, set[str]]:
    """Return what each folder or file may import, as the page says: the block whose first
    line lists who imports nothing.
    """
    block = re.search(r"all that it may import from `tandem`:\n\n((?:    .*\n)+)", page).group(1)
    first, *lines = block.strip().splitlines()
    allowed = {name: set() for name in first.split(", ")}
    for name, *others in map(str.split, lines):  # a name with many has several lines
        allowed.setdefault(name, set()).update(others)
    return allowed


ALLOWED = layers(PAGE.read_text())
SINGLE_FILES = {name for names in ALLOWED.values() for name in names if "." in name}
MODULES = sorted(SRC.rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))


def part(path: Path) -> str:
    """Return the part a file belongs to: its folder under src/, or its own name."""
    return path.relative_to(SRC).with_suffix("").parts[0]


def imported_parts(path: Path) -> set[str]:
    """Return the parts of tandem that a file imports, also inside functions; a file of ALLOWED counts by itself."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write `from tandem.x import y`"
            module = node.module or ""
            inner = {f"{module}.{alias.name}" for alias in node.names}
            found |= {name if module == "tandem" or _file(name).exists() else module for name in inner}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    assert not [name for name in found if name.split(".")[0] == "src"], f"{path}: the package's name is tandem"
    return {_place(name.removeprefix("tandem.")) for name in found if name.startswith("tandem.")}


def _place(module: str) -> str:
    """Return the name under which the page allows a module: its folder under src/, or one that is allowed by itself."""
    return next((name for name in SINGLE_FILES if f"{module}.".startswith(f"{name}.")), module.split(".")[0])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_a_part_imports_only_what_its_layer_may(path):
    own = part(path)
    assert own in ALLOWED, f"say in docs/architecture.md what {own} may import"
    foreign = {name for name in imported_parts(path) if name.split(".")[0] != own}
    assert foreign <= ALLOWED[own] | {name for name in SINGLE_FILES if name.split(".")[0] in ALLOWED[own]}


@pytest.mark.parametrize("name", ALLOWED)
def test_the_page_allows_no_import_that_nobody_makes(name):
    used = set().union(*(imported_parts(path) for path in MODULES if part(path) == name))
    assert ALLOWED[name] <= used, sorted(ALLOWED[name] - used)


def test_imports_go_down_only():
    above: set[str] = set()
    for name, allowed in ALLOWED.items():
        assert {each.split(".")[0] for each in allowed} - {name} <= above, name
        above.add(name)


def test_only_planners_that_search_import_mctx():
    users = {
        path.relative_to(SRC).parts[:2]
        for path in MODULES
        if re.search(r"^import mctx", path.read_text(), re.MULTILINE)
    }
    assert users == {("planners", "search")}


def test_ray_is_started_in_one_place_alone():
    # Every other start would have to be kept from strangers, from long paths and from what RAY_ADDRESS says once more.
    starts = re.compile(r"\bray\.init\b")
    starting = {str(path.relative_to(ROOT)) for path in [*MODULES, *BENCHMARKS] if starts.search(path.read_text())}
    assert starting == {"src/cluster/start.py"}


@pytest.mark.parametrize("family", ["planners", "learners", "envs", "data", "runners", "models", "ops"])
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
    from tandem.registry import FAMILIES

    for entries in FAMILIES.values():
        for entry in entries.values():
            names = {getattr(node, "name", "") for node in ast.parse(_file(entry.module).read_text()).body}
            assert {"Config", "make"} <= names, entry.module
            assert entry.help


def _file(module: str) -> Path:
    path = SRC.parent / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def test_no_line_is_too_long_to_be_read():
    files = [path for folder in ("src", "tests", "benchmarks", "docs") for path in (ROOT / folder).rglob("*.py")]
    long = [
        f"{path.relative_to(ROOT)}:{i}"
        for path in files
        for i, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > 120
    ]
    assert not long
