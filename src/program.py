"""How this program was started, and whether its code is in a clone of the repository or installed."""

import sys
from pathlib import Path

VERSION = "0.2.0"  # of the package; CHANGELOG.md says what is new
PACKAGE = Path(__file__).resolve().parent
SCRIPT = "python src/main.py"  # the program's name in texts
COMMAND = "tandem"  # its name after `pip install`


def checkout() -> Path | None:
    """Return the root of the clone with this code; None if it is installed, as in site-packages."""
    root = PACKAGE.parent
    return root if PACKAGE.name == "src" and (root / "pyproject.toml").is_file() else None


def named(text: str) -> str:
    """Return a text for the user with the name by which the program was called."""
    called = checkout() is None or Path(sys.argv[0]).name == COMMAND
    return text.replace(SCRIPT, COMMAND) if called else text
