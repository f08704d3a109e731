"""Train entries of the zoo anew, as their cards say, one after another: `python scripts/remake_zoo.py [NAME ...]`.

Run it from the repository's root after the code's parameters have changed. Without names all entries are made anew.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAIN = [sys.executable, str(ROOT / "src" / "main.py")]


def main(names: list[str]) -> int:
    """Remake the entries; return the exit status."""
    known = sorted(path.parent.name for path in (ROOT / "zoo").glob("*/card.json"))
    odd = [name for name in names if name not in known]
    if odd:
        print(f"the zoo has no {', '.join(odd)}; it has {', '.join(known)}", file=sys.stderr)
        return 2
    for name in names or known:
        remake(name)
    return 0


def remake(name: str) -> None:
    """Train what an entry's card says, and put the result in its place."""
    words = json.loads((ROOT / "zoo" / name / "card.json").read_text())["command"].split()[2:]
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
        here = f"results_dir={folder}"
        subprocess.run([*MAIN, *words, *([] if "with" in words else ["with"]), here, "video=False"], check=True)
        subprocess.run([*MAIN, "zoo", "--run=1", f"--name={name}", "--replace", "with", here], cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
