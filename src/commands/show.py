"""`show --run=RUN`: what a recorded run is, where it comes from and what it left."""

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from src import checkpoint, runs
from src.commands import arguments
from src.recording import provenance
from src.recording.places import title

PACKAGES = ("jax", "jaxlib", "flax", "optax", "mctx", "flashbax", "orbax-checkpoint", "jaxmarl", "numpy", "sacred")


def main(words: Sequence[str]) -> int:
    """Print a run's provenance, state, results and settings; return the exit status."""
    parser = arguments.parser("show", "Print what a run is, where it comes from and what it left.")
    parser.add_argument("--packages", action="store_true", help="all packages, not only the ones that matter most")
    parser.add_argument("--diff", action="store_true", help="the uncommitted changes to the code it ran with")
    options, updates = parser.read(words)
    run = arguments.find(options.run, updates)
    origin = provenance.read(run.folder)
    table = Table(title=_title(run), show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in (*_state(run), *_origin(origin), *_packages(origin, options.packages), *_places(run, origin)):
        table.add_row(name, value)
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 120)
    console.print(table)
    console.print("configuration:\n" + yaml.safe_dump(run.config, sort_keys=True).rstrip(), markup=False)
    diff = run.folder / provenance.DIFF
    if options.diff and diff.exists():
        console.print(f"\n{diff.read_text()}", markup=False, soft_wrap=True)
    return 0


def _title(run: runs.StoredRun) -> str:
    try:
        return f"run {run.id}: {title(run.config)}"
    except KeyError:  # a record of something else
        return f"run {run.id}"


def _saved(run: runs.StoredRun, name: str) -> Mapping[str, Any]:
    """Return one of the record's files; nothing where it cannot be read."""
    try:
        return run.read(name)
    except (OSError, ValueError):
        return {}


def _state(run: runs.StoredRun) -> Iterator[tuple[str, str]]:
    """Yield how the run went."""
    entry = _saved(run, "run.json")
    yield "status", str(entry.get("status", "unknown"))
    yield "started", str(entry.get("start_time", "unknown"))
    for again in entry.get("resumes", []):
        yield "resumed", f"{again['time']} from step {again['step']:,}"
    if "stop_time" in entry:
        yield "ended", str(entry["stop_time"])
    series = _saved(run, "metrics.json")
    if series:
        yield "environment steps", f"{max(values['steps'][-1] for values in series.values()):,}"
    for name in sorted(name for name in series if name.startswith("eval/")):
        yield name, f"{series[name]['values'][-1]:.3f} at step {series[name]['steps'][-1]:,}"


def _origin(origin: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield code, machine and command."""
    if not origin:
        yield "provenance", "not recorded"
        return
    git = origin["git"]
    changes = f", with uncommitted changes ({provenance.DIFF})" if git["changed"] else ", no uncommitted changes"
    yield "commit", (git["commit"] + changes) if git["commit"] else "none (no git repository)"
    if git["untracked"]:
        yield "files unknown to git", ", ".join(git["untracked"])
    yield "command", shlex.join(origin["command"])
    yield "seed", str(origin["seed"])
    yield "platform", f"{origin['platform']}, Python {origin['python']}"
    yield "machine", f"{origin['machine']['host']}: {origin['machine']['cpu']}, {origin['machine']['cores']} cores"
    yield "devices", ", ".join(f"{device['platform']} ({device['kind']})" for device in origin["devices"])


def _packages(origin: Mapping[str, Any], everything: bool) -> Iterator[tuple[str, str]]:
    versions = origin.get("packages", {})
    chosen = versions if everything else [name for name in PACKAGES if name in versions]
    if chosen:
        yield "packages", ", ".join(f"{name} {versions[name]}" for name in chosen)


def _places(run: runs.StoredRun, origin: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield where its files are."""
    yield "records", str(run.folder)
    if "curves" in origin:
        yield "curves", str(run.results / origin["curves"])
    models = checkpoint.folder(run.results, run.id)
    steps = checkpoint.steps(models)
    if steps:
        best = checkpoint.pick(models, "best").name
        yield "checkpoints", f"{models}: {', '.join(str(step) for step in steps)} (best: {best})"
    artifacts = _saved(run, "run.json").get("artifacts", [])
    if artifacts:
        yield "artifacts", ", ".join(str(item) for item in artifacts)
