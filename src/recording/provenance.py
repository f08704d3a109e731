"""Where a run comes from: the code, the packages, the machine and the settings that it ran with."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from src.hiding import hidden, hidden_in
from src.recording.places import Places, replace_file

ROOT = Path(__file__).resolve().parent.parent.parent
NAME, DIFF = "provenance.json", "diff.patch"


def collect(config: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return (what a run comes from, the working tree's difference from its commit), both free of credentials."""
    diff = hidden(git("diff", "HEAD", "--no-color", "--no-ext-diff"))
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


def git(*words: str) -> str:
    """Return what git says of this tree; nothing where there is no git or no commit."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=False)
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
    """Put provenance.json and diff.patch with a run's record; where it is gone on with, provenance-<step>.json and so on."""
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
    """Return what a run comes from as its record says; nothing where it has none."""
    try:
        return hidden_in(json.loads((record / NAME).read_text()))  # older ones hold options of URLs with their secrets
    except (OSError, ValueError):
        return {}


def changes(before: Mapping[str, Any], diff_before: str, now: Mapping[str, Any], diff_now: str) -> list[str]:
    """Return in a sentence each what has changed since a run: commit, uncommitted changes, packages, Python, devices."""
    if not before:
        return ["nothing is known of the code and packages that the run was made with"]
    found = []
    if before["git"]["commit"] != now["git"]["commit"]:
        found.append(f"the code is at commit {now['git']['commit'][:10]}, then at {before['git']['commit'][:10] or 'none'}")
    if diff_before.strip() != diff_now.strip():
        found.append("the uncommitted changes to the code are not those of then (diff.patch)")
    names = sorted(before["packages"].keys() | now["packages"].keys(), key=str.lower)
    versions = [(name, before["packages"].get(name, "none"), now["packages"].get(name, "none")) for name in names]
    found += [f"{name} is {new}, then {old}" for name, old, new in versions if old != new]
    for what, new, old in (
        ("Python", now["python"], before["python"]),
        ("the processor", now["machine"]["cpu"], before["machine"]["cpu"]),
        ("the device", now["devices"][0]["kind"], before["devices"][0]["kind"]),
    ):
        if new != old:
            found.append(f"{what} is {new}, then {old}")
    return found
