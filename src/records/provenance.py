"""A run's provenance: its code, packages, machine and settings."""

import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from tandem import program
from tandem.hiding import hidden, hidden_in
from tandem.records.places import Places, replace_file
from tandem.records.runs import RecordError, StoredRun, inside, read_json

NAME, DIFF = "provenance.json", "diff.patch"
LOGS = "tb_logs"  # folder of all runs' curves, in the results folder
SOURCES = "src"  # limits on stored files that git does not know
LARGEST_SOURCE, ALL_SOURCES = 300_000, 3_000_000  # bytes; a larger file is hardly a source, so only its name is stored


def collect(config: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return (provenance, difference of the working tree from its commit), both without credentials."""
    diff = hidden(difference())
    facts = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": ["python", *sys.argv],
        "seed": config["seed"],
        "git": {
            "commit": git("rev-parse", "HEAD").strip(),
            "branch": git("rev-parse", "--abbrev-ref", "HEAD").strip(),
            "changed": bool(diff),
            "untracked": git("ls-files", "--others", "--exclude-standard").splitlines(),
        },
        "python": platform.python_version(),
        "packages": packages(),
        "platform": platform.platform(),
        "machine": {"host": platform.node(), "cpu": _cpu(), "cores": len(os.sched_getaffinity(0))},
        "devices": [{"platform": device.platform, "kind": device.device_kind} for device in jax.devices()],
        "config": dict(config),
    }
    return hidden_in(facts), diff


def difference() -> str:
    """Return the working tree's difference from its commit, including sources that git does not know.

    These are added to a copy of git's index, so that git shows them as new while its own index stays unchanged.
    """
    sources = _unknown_sources()
    with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
        index = Path(folder) / "index"
        with contextlib.suppress(OSError):
            shutil.copyfile(git("rev-parse", "--path-format=absolute", "--git-path", "index").strip(), index)
        if sources and index.exists():
            git("add", "--intent-to-add", "--", *sources, index=index)
        return git("diff", "HEAD", "--no-color", "--no-ext-diff", index=index if index.exists() else None)


def _unknown_sources() -> list[str]:
    """Return the files under src/ that git neither knows nor ignores, up to the record's limit."""
    root = program.checkout()
    if root is None:
        return []
    found, size = [], 0
    for name in sorted(git("ls-files", "-z", "--others", "--exclude-standard", "--", SOURCES).split("\0")):
        path = root / name
        if not name or path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_SOURCE:
            continue
        size += path.stat().st_size
        if size > ALL_SOURCES:
            break
        found.append(name)
    return found


def git(*words: str, index: Path | None = None) -> str:
    """Return git's output for Tandem's tree; empty without git or a commit, or if Tandem is installed.

    Args: index: the file to use instead of git's own index.
    """
    environment = {**os.environ, "GIT_INDEX_FILE": str(index)} if index else None
    root = program.checkout()
    if root is None:  # a repository around site-packages is not Tandem's; `packages` has the version
        return ""
    command = ["git", "-C", str(root), "--literal-pathspecs", *words]  # a name may contain brackets
    try:
        done = subprocess.run(command, capture_output=True, check=False, env=environment)
    except OSError:
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""


def packages() -> dict[str, str]:
    """Return the version of every installed package."""
    found = {package.metadata["Name"]: package.version for package in importlib.metadata.distributions()}
    return {name: found[name] for name in sorted(found, key=str.lower)}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def add(sacred_run: Any, config: Mapping[str, Any], places: Places, resumed_at: int | None) -> None:
    """Write provenance.json and diff.patch to a run's record; if it is resumed,
    provenance-<step>.json and so on.
    """
    if places.record is None:
        return
    facts, diff = collect(config)
    facts["curves"] = str(places.curves.relative_to(places.logs.parent))
    for name, text in ((NAME, json.dumps(facts, indent=1)), (DIFF, diff)):
        path = places.record / (name if resumed_at is None else name.replace(".", f"-{resumed_at}."))
        if text:
            replace_file(path, text + "\n" * (not text.endswith("\n")))
            sacred_run.add_artifact(str(path))


def read(record: Path) -> dict[str, Any]:
    """Return a run's recorded provenance; empty if it is missing or not in the form of `collect`."""
    try:
        facts = hidden_in(read_json(record / NAME))  # older records contain options of URLs with secrets
    except (OSError, RecordError):
        return {}
    return facts if _fits(facts) else {}


def _fits(facts: Mapping[str, Any]) -> bool:
    """Return whether all fields are there that are shown and compared."""
    kinds = {"git": dict, "machine": dict, "packages": dict, "devices": list, "command": list}
    kinds |= {"python": str, "platform": str}
    if not all(isinstance(facts.get(key), kind) for key, kind in kinds.items()) or "seed" not in facts:
        return False
    devices = facts["devices"]
    lists = [facts["command"], list(facts["packages"].values()), facts["git"].get("untracked")]
    return (
        {"commit", "changed", "untracked"} <= facts["git"].keys()
        and isinstance(facts["git"]["commit"], str)
        and {"host", "cpu", "cores"} <= facts["machine"].keys()
        and bool(devices)
        and all(isinstance(device, dict) and {"kind", "platform"} <= device.keys() for device in devices)
        and all(isinstance(words, list) and all(isinstance(word, str) for word in words) for words in lists)
    )


def curves(run: StoredRun) -> str | None:
    """Return the folder of a run's curves, relative to its results folder; None if its record names none.

    Raises:
      RecordError: the record names a folder outside the curves of all runs.
    """
    try:
        named = run.read(NAME).get("curves")
    except (OSError, RecordError):
        return None
    if named is None:
        return None
    top, _, name = str(named).partition("/")
    inside(run.results / LOGS, name if top == LOGS else f"../{named}")
    return str(named)


def changes(before: Mapping[str, Any], diff_before: str, now: Mapping[str, Any], diff_now: str) -> list[str]:
    """Return a sentence for each change since a run: commit, uncommitted changes,
    packages, Python, devices.
    """
    if not before:
        return ["the run's code and packages are unknown"]
    found = []
    if before["git"]["commit"] != now["git"]["commit"]:
        found.append(
            f"the code is now at {now['git']['commit'][:10]}, then it was at {before['git']['commit'][:10] or 'none'}"
        )
    if diff_before.strip() != diff_now.strip():
        found.append("the uncommitted changes to the code differ from those of the run (diff.patch)")
    names = sorted(before["packages"].keys() | now["packages"].keys(), key=str.lower)
    versions = [(name, before["packages"].get(name, "none"), now["packages"].get(name, "none")) for name in names]
    found += [f"{name} is now {new}, then it was {old}" for name, old, new in versions if old != new]
    for what, new, old in (
        ("Python", now["python"], before["python"]),
        ("the processor", now["machine"]["cpu"], before["machine"]["cpu"]),
        ("the device", now["devices"][0]["kind"], before["devices"][0]["kind"]),
    ):
        if new != old:
            found.append(f"{what} is now {new}, then it was {old}")
    return found
