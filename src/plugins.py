"""Plug-ins: parts and configurations that the entry points of other installed packages name.

A package says in its pyproject.toml, under `[project.entry-points."tandem.planners"]`, `name = "module:ENTRY"`, where
ENTRY is a `tandem.registry.Entry`. The group `tandem.configs` names packages that hold folders `algs/` and `envs/` of
YAML files. docs/guides/plugins.md has a whole example.
"""

import functools
import importlib.metadata
import importlib.util
import os
import traceback
from pathlib import Path
from typing import Any, NamedTuple

CONFIGS = "tandem.configs"
PREFIX = "tandem."


class Found(NamedTuple):
    """One entry point, loaded."""

    name: str
    origin: str  # its package, as pip names it
    value: Any  # the loaded object; None if it cannot be loaded
    problem: str = ""  # why not


class Point(NamedTuple):
    """One entry point and the package that it belongs to."""

    origin: str
    point: importlib.metadata.EntryPoint


@functools.cache
def _entry_points() -> dict[str, list[Point]]:
    """Return the entry points of Tandem's groups, sorted by package; if a package is found twice, only the first."""
    packages: dict[str, importlib.metadata.Distribution] = {}
    for package in importlib.metadata.distributions():
        packages.setdefault(package.name, package)
    groups: dict[str, list[Point]] = {}
    for name in sorted(packages, key=str):
        for point in packages[name].entry_points:
            if point.group.startswith(PREFIX):
                groups.setdefault(point.group, []).append(Point(name, point))
    return groups


def groups() -> list[str]:
    """Return all groups of entry points with Tandem's prefix, including misspelt ones."""
    return sorted(_entry_points())


def of(group: str) -> list[Found]:
    """Return the objects that installed packages register in a group; unloadable ones say why."""
    return [_load(*each) for each in _entry_points().get(group, ())]


def _load(origin: str, point: importlib.metadata.EntryPoint) -> Found:
    try:
        return Found(point.name, origin, point.load())
    except Exception as error:  # a plug-in's code may raise anything
        return Found(point.name, origin, None, f"{point.value} cannot be loaded: {said(error)}")


@functools.cache
def folders() -> tuple[Found, ...]:
    """Return the folders of configurations in packages, without importing the packages."""
    return tuple(_folder(*each) for each in _entry_points().get(CONFIGS, ()))


def _folder(origin: str, point: importlib.metadata.EntryPoint) -> Found:
    try:
        spec = importlib.util.find_spec(point.value)
    except Exception as error:  # importing the package around it fails
        return Found(point.name, origin, None, f"{point.value} cannot be found: {said(error)}")
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        return Found(point.name, origin, None, f"{point.value} is no package, so it has no folders of files")
    return Found(point.name, origin, Path(places[0]))


def said(error: BaseException) -> str:
    """Return an error of a plug-in's code in one line, with its place."""
    frames = traceback.extract_tb(error.__traceback__)
    inner = [
        frame
        for frame in frames
        if f"{os.sep}importlib{os.sep}" not in frame.filename and "<frozen" not in frame.filename
    ]
    last = inner[-1] if inner else None
    where = f" ({last.filename}, line {last.lineno})" if last and last.filename != __file__ else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"
