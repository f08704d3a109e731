"""How this program was started, and whether its code lies in a clone of the repository or is installed."""

import sys
from pathlib import Path

VERSION = "0.2.0"  # of the package; CHANGELOG.md says what is new
PACKAGE = Path(__file__).resolve().parent
SCRIPT = "python src/main.py"  # as texts name the program
COMMAND = "tandem"  # as `pip install` names it


def checkout() -> Path | None:
    """Return the root of the clone that the code lies in; None where it is installed, as in site-packages."""
    root = PACKAGE.parent
    return root if PACKAGE.name == "src" and (root / "pyproject.toml").is_file() else None


def named(text: str) -> str:
    """Return a text for the user in which the program has the name by which it was called."""
    called = checkout() is None or Path(sys.argv[0]).name == COMMAND
    return text.replace(SCRIPT, COMMAND) if called else text
