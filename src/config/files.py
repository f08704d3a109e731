"""The configuration files: which there are and what they say of themselves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from src.config.commandline import Update

FOLDER = Path(__file__).parent


def names(folder: str) -> list[str]:
    """Return the configurations in `algs` or `envs`, sorted."""
    return sorted(path.stem for path in (FOLDER / folder).glob("*.yaml"))


def description(folder: str, name: str) -> str:
    """Return the first comment line of a configuration file."""
    first = (FOLDER / folder / f"{name}.yaml").read_text().partition("\n")[0]
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
    for name in (f"algs/{config}", f"envs/{env_config}", "default"):
        try:
            content = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
        except (OSError, yaml.YAMLError):  # the loader will complain
            continue
        if isinstance(content, dict) and key in content:
            return content[key]
    return None
