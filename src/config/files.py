"""The configuration files: their names and their descriptions."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tandem import plugins
from tandem.config import yaml_files
from tandem.config.commandline import Update

FOLDER = Path(__file__).parent


def found(folder: str) -> dict[str, list[Path]]:
    """Return the configurations in `algs` or `envs` by name, sorted: our own, then those of plug-ins.

    If several files have one name, `locate` accepts none of them.
    """
    places = [FOLDER, *(each.value for each in plugins.folders() if not each.problem)]
    files: dict[str, list[Path]] = {}
    for path in (path for place in places for path in sorted((place / folder).glob("*.yaml"))):
        files.setdefault(path.stem, []).append(path)
    return {name: files[name] for name in sorted(files)}


def names(folder: str) -> list[str]:
    """Return the names of the configurations in `algs` or `envs`, sorted."""
    return list(found(folder))


def is_path(name: str) -> bool:
    """Return whether the value of --config= or --env-config= is the path of a file and
    not the name of a configuration.
    """
    return "/" in name or (name.endswith((".yaml", ".yml")) and is_file(name))


def is_file(path: str | Path) -> bool:
    """Return whether a file exists; False for a name that is too long for any file."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def locate(folder: str, name: str) -> Path:
    """Return the YAML file of a name in `algs` or `envs`, or of a path; it may not exist."""
    stem = name.removesuffix(".yaml")
    own = FOLDER / folder / f"{stem}.yaml"
    if "/" in name:
        return Path(os.path.expanduser(name))
    if not is_file(own) and (brought := found(folder).get(stem)):
        return brought[0]
    return own if is_file(own) or not is_path(name) else Path(os.path.expanduser(name))


def description(folder: str, name: str) -> str:
    """Return the first comment line of a configuration file."""
    first = locate(folder, name).read_text(encoding="utf-8").partition("\n")[0]
    return first.lstrip("# ") if first.startswith("#") else ""


def peek(
    key: str, config: str, env_config: str, updates: Sequence[Update], stored: Mapping[str, Any] | None = None
) -> Any:
    """Return a run-level value, unchecked, as the loader will find it. This is fast, because it imports nothing slow.

    Args:
      stored: the configuration of a recorded run, which is used instead of the files.
    """
    for update in reversed(updates):
        if update.key == key:
            return update.value
    if stored is not None:
        return stored.get(key)
    for path in (locate("algs", config), locate("envs", env_config), FOLDER / "default.yaml"):
        try:
            content = yaml_files.read(path)
        except yaml_files.Unreadable:  # the loader will raise
            continue
        if isinstance(content, dict) and key in content:
            return content[key]
    return None
