"""The configuration files: which there are and what they say of themselves."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tandem.config import yaml_files
from tandem.config.commandline import Update

FOLDER = Path(__file__).parent


def names(folder: str) -> list[str]:
    """Return the configurations in `algs` or `envs`, sorted."""
    return sorted(path.stem for path in (FOLDER / folder).glob("*.yaml"))


def is_path(name: str) -> bool:
    """Return whether what follows --config= or --env-config= means a file by its path,
    not a configuration by its name.
    """
    return "/" in name or (name.endswith((".yaml", ".yml")) and is_file(name))


def is_file(path: str | Path) -> bool:
    """Return whether a file is there; a name that no file can have, for it is too long, is none."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def locate(folder: str, name: str) -> Path:
    """Return the YAML file that a name in `algs` or `envs` or a path stands for; it may not exist."""
    own = FOLDER / folder / f"{name.removesuffix('.yaml')}.yaml"
    return own if "/" not in name and (is_file(own) or not is_path(name)) else Path(os.path.expanduser(name))


def description(folder: str, name: str) -> str:
    """Return the first comment line of a configuration file."""
    first = (FOLDER / folder / f"{name}.yaml").read_text(encoding="utf-8").partition("\n")[0]
    return first.lstrip("# ") if first.startswith("#") else ""


def peek(
    key: str, config: str, env_config: str, updates: Sequence[Update], stored: Mapping[str, Any] | None = None
) -> Any:
    """Return a run-level value, unchecked, as the loader will find it; in a blink, for nothing slow is imported.

    Args:
      stored: the configuration of a recorded run, which then stands in for the files.
    """
    for update in reversed(updates):
        if update.key == key:
            return update.value
    if stored is not None:
        return stored.get(key)
    for path in (locate("algs", config), locate("envs", env_config), FOLDER / "default.yaml"):
        try:
            content = yaml_files.read(path)
        except yaml_files.Unreadable:  # the loader will complain
            continue
        if isinstance(content, dict) and key in content:
            return content[key]
    return None
