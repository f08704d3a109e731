"""Finds what StarCraft II needs on the machine, or names what is missing in one message."""

import importlib
import os
from pathlib import Path

REPOSITORY = "https://github.com/oxwhirl/"
GAME = "https://github.com/Blizzard/s2client-proto#downloads"


def game_class(package: str, generated: bool) -> type:
    """Return a package's class that runs the game: its StarCraft2Env, or SMACv2's wrapper that draws teams.

    Args:
      package: "smac" or "smacv2".
      generated: the map's teams are drawn for each episode.

    Raises:
      ImportError: the message names everything that is missing.
      ValueError: smac has no generated maps.
    """
    if generated and package != "smacv2":
        raise ValueError("env_args.map_name: the 10gen maps are SMACv2's: set env_args.package=smacv2")
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # its pictures are drawn by pygame
    found: type | None = None
    missing: list[str] = []
    try:
        if generated:
            found = importlib.import_module("smacv2.env.starcraft2.wrapper").StarCraftCapabilityEnvWrapper
        else:
            found = importlib.import_module(f"{package}.env").StarCraft2Env
    except (ImportError, AttributeError, TypeError) as error:
        missing.append(_package_advice(package, error))
    missing += _game_advice(package)
    if found is None or missing:
        raise ImportError("; ".join(missing))
    return found


def _package_advice(package: str, error: Exception) -> str:
    """Return what to do about a package that cannot be imported."""
    if isinstance(error, TypeError):  # raised by protobuf, because its C++ code refuses the packages' old messages
        said = str(error).splitlines()[0]
        return f"{package} cannot be imported ({said}): set PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python"
    other = "; PyPI's 'smac' is another program, not StarCraft" if package == "smac" else ""
    return (
        f"the package {package} is missing ({error}): python -m pip install pysc2==4.0.0, then "
        f"python -m pip install --no-deps git+{REPOSITORY}{package}.git{other}"
    )


def _game_advice(package: str) -> list[str]:
    """Return what to do about a game or maps that the packages do not find."""
    place = Path(os.environ.get("SC2PATH") or "~/StarCraftII").expanduser()
    if not (place / "Versions").is_dir():
        return [
            f"StarCraft II is missing: unpack the Linux version 4.10 ({GAME}) and let SC2PATH name its folder, "
            "the one that "
            f"holds Versions and Maps (looked in {place})"
        ]
    if not any(path.is_dir() for path in place.glob("[Mm]aps/SMAC_Maps")):
        return [f"SMAC's maps are missing: copy the folder SMAC_Maps of {REPOSITORY}{package} to {place / 'Maps'}"]
    return []
