"""The configuration files: which there are and what they say of themselves."""

from pathlib import Path

FOLDER = Path(__file__).parent


def names(folder: str) -> list[str]:
    """Return the configurations in `algs` or `envs`, sorted."""
    return sorted(path.stem for path in (FOLDER / folder).glob("*.yaml"))


def description(folder: str, name: str) -> str:
    """Return the first comment line of a configuration file."""
    first = (FOLDER / folder / f"{name}.yaml").read_text().partition("\n")[0]
    return first.lstrip("# ") if first.startswith("#") else ""
