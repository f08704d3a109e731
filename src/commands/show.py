"""`show --run=RUN`: prints what a recorded run is, where it comes from and what it wrote."""

import contextlib
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from tandem.records import checkpoint_folder, runs
from tandem.commands import arguments, flags
from tandem.records import provenance, series
from tandem.records.places import title

PACKAGES = ("jax", "jaxlib", "flax", "optax", "mctx", "flashbax", "orbax-checkpoint", "jaxmarl", "numpy", "sacred")


def main(words: Sequence[str]) -> int:
    """Print a run's provenance, state, results and settings; return the exit status."""
    parser = flags.parser("show", "Print what a run is, where it comes from and what it wrote.")
    parser.take("--run")
    parser.add_argument("--packages", action="store_true", help="list all packages, not only the most important")
    parser.add_argument(
        "--diff", action="store_true", help="print the uncommitted changes to the code that it ran with"
    )
    options, updates = parser.read(words)
    run = arguments.find(options.run, updates)
    origin = provenance.read(run.folder)
    made = _card(run) if run.in_zoo else (*_state(run), *_origin(origin), *_packages(origin, options.packages))
    table = Table(title=_title(run), show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in (*made, *_places(run)):
        table.add_row(name, value)
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 120)
    console.print(table)
    console.print("configuration:\n" + yaml.safe_dump(run.config, sort_keys=True).rstrip(), markup=False)
    diff = run.folder / provenance.DIFF
    if options.diff and diff.exists():
        console.print(f"\n{diff.read_text(errors='replace')}", markup=False, soft_wrap=True)
    return 0


def _title(run: runs.StoredRun) -> str:
    try:
        return f"run {run.id}: {title(run.config)}"
    except (AttributeError, KeyError, TypeError):  # a record that is not of training
        return f"run {run.id}"


def _card(run: runs.StoredRun) -> Iterator[tuple[str, str]]:
    """Yield the lines of a zoo entry's card."""
    try:
        card = run.read(runs.CARD)
    except (OSError, runs.RecordError) as error:
        yield "damaged", str(error)
        return
    for name in ("command", "commit", "seed", "trained", "machine", "packages", "episodes"):
        value = card.get(name, "unknown")
        yield name, ", ".join(f"{key} {one}" for key, one in value.items()) if isinstance(value, dict) else str(value)
    for player, metrics in card.get("scores", {}).items():
        yield f"{player}, mean", ", ".join(f"{name} {numbers['mean']:.3f}" for name, numbers in metrics.items())


def _entry(run: runs.StoredRun) -> Mapping[str, Any]:
    """Return the content of run.json; empty if it cannot be read, which `_damages` reports."""
    try:
        return run.read("run.json")
    except (OSError, runs.RecordError):
        return {}


def _damages(run: runs.StoredRun) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the record, apart from its metrics."""
    reads = (lambda: run.read("run.json"), lambda: run.read(provenance.NAME), lambda: provenance.curves(run))
    for read in reads:
        try:
            read()
        except FileNotFoundError:  # its values are shown as unknown
            continue
        except (OSError, runs.RecordError) as error:
            yield "damaged", str(error)


def _state(run: runs.StoredRun) -> Iterator[tuple[str, str]]:
    """Yield lines on the run's status and times."""
    entry = _entry(run)
    yield "status", (run.status or "unknown") + (", running" if run.running else "")
    yield "started", str(entry.get("start_time", "unknown"))
    for again in _dicts(entry.get("resumes")):
        yield "resumed", f"{again.get('time')} from step {again.get('step')}"
    if "stop_time" in entry:
        yield "ended", str(entry["stop_time"])
    yield from _damages(run)
    yield from _ends(run)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _ends(run: runs.StoredRun) -> Iterator[tuple[str, str]]:
    """Yield lines on the run's last step and its last evaluation."""
    try:
        found = {name: points for name, points in series.of(run.folder).items() if points}
    except (OSError, ValueError) as error:
        yield "damaged", str(error)
        return
    if found:
        yield "environment steps", f"{max(points.steps[-1] for points in found.values()):,}"
    for name in sorted(name for name in found if name.startswith("eval/")):
        yield name, f"{found[name].values[-1]:.3f} at step {found[name].steps[-1]:,}"


def _origin(origin: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield lines on the code, the machine and the command."""
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


def _places(run: runs.StoredRun) -> Iterator[tuple[str, str]]:
    """Yield lines on where its files are."""
    yield "records", str(run.folder)
    with contextlib.suppress(runs.RecordError):  # `_damages` reports it
        if curves := provenance.curves(run):
            yield "curves", str(run.results / curves)
    models = run.models
    steps, best = checkpoint_folder.steps(models), checkpoint_folder.best(models)
    if best is not None:
        yield "checkpoints", f"{models}: {', '.join(str(step) for step in steps)} (best: {best.name})"
    for step in steps:
        try:
            checkpoint_folder.read_meta(models / str(step))
        except checkpoint_folder.CheckpointError as error:
            yield "damaged", str(error)
    artifacts = _entry(run).get("artifacts")
    if artifacts:
        yield "artifacts", ", ".join(map(str, artifacts)) if isinstance(artifacts, list) else str(artifacts)
