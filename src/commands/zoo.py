"""`zoo`: lists the trained networks that come with the code; `zoo --run=RUN --name=NAME` makes an entry from a run."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from tandem.commands import arguments, evaluate, flags
from tandem.config.commandline import Update, UsageError
from tandem.config.writable import problem_of_folder
from tandem.core.metrics import TRAINING_SECONDS
from tandem.records import checkpoint, provenance, series, zoo
from tandem.records.checkpoint_folder import CheckpointError, Meta, read_meta
from tandem.records.places import task
from tandem.records.record import decisive
from tandem.records.runs import RecordError, StoredRun
from tandem.restored import Restored, restore

DESCRIPTION = """List the trained networks that come with the code. With --run, make an entry from a trained run.

Play an entry like a run: `evaluate --run=zoo/NAME`, `render --run=zoo/NAME`."""


def main(words: Sequence[str]) -> int:
    """List the zoo or make an entry; return the exit status.

    Raises:
      UsageError: the flags are wrong, there is no such run, or the entry cannot be made.
    """
    options, updates = parser().read(words)
    folder = Path(options.folder) if options.folder else zoo.home()
    if options.run is None:
        _refuse_idle(options, updates)
        show(folder)
        return 0
    check_name(options.name, folder, options.replace)
    if said := problem_of_folder(folder):
        raise UsageError(f"zoo: --folder={said}")
    run = arguments.find(options.run, updates)
    if run.in_zoo:
        raise UsageError(f"zoo: '{options.run}' is an entry already; name a recorded run")
    try:
        size = make(run, options.checkpoint or "best", flags.settings(updates), folder / options.name)
    except (CheckpointError, RecordError) as error:
        raise UsageError(str(error)) from None
    except ValueError as error:
        raise UsageError(f"zoo: {run.folder} cannot be an entry: {error}") from None
    zoo.write_index(folder)
    print(f"written: {folder / options.name} ({size:,} bytes)", flush=True)
    return 0


def parser() -> flags.Parser:
    own = flags.parser("zoo", DESCRIPTION)
    own.take("--run", required=False)
    own.add_argument("--name", help="name of the new entry: small letters, digits, and - between words")
    own.take("--checkpoint")
    own.add_argument("--replace", action="store_true", help="replace an existing entry of that name")
    own.add_argument("--folder", type=flags.out_folder, help="folder of all entries (default: zoo)")
    return own


def _refuse_idle(options: Any, updates: Sequence[Update]) -> None:
    """Raise if a flag of a new entry is given without --run."""
    given = [f"--{name}" for name in ("name", "checkpoint", "replace") if getattr(options, name)]
    if given or updates:
        word = given[0] if given else updates[0].key
        raise UsageError(f"zoo: {word} belongs to a new entry; name its run with --run=ID|PATH")


def check_name(name: str | None, folder: Path, replace: bool) -> None:
    """Raise if an entry cannot have this name.

    Raises:
      UsageError: the name is missing, has other letters, or is taken.
    """
    if name is None:
        raise UsageError("zoo: a new entry needs a name; give --name=NAME")
    if not zoo.NAME.fullmatch(name):
        raise UsageError(
            f"zoo: --name={name}: expected small letters, digits, '.', '_' and '-', for instance spread-mappo"
        )
    if (folder / name).exists() and not replace:
        raise UsageError(f"zoo: {folder / name} exists; give --replace to replace it")


def show(folder: Path) -> None:
    """Print the table of entries.

    Raises:
      UsageError: a card cannot be read.
    """
    try:
        found = zoo.rows(zoo.cards(folder))
    except (RecordError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"zoo: a card in {folder} cannot be read: {error}") from None
    if not found:
        raise UsageError(f"zoo: there are no entries in {folder}")
    table = Table(title=f"trained networks in {folder}", title_justify="left")
    for name in ("--run=", "task", "agents", "algorithm", "score", "size"):
        table.add_column(
            name, justify="right" if name in ("agents", "size") else "left", no_wrap=name == "--run=", overflow="fold"
        )
    for name, *words in found:
        table.add_row(f"{zoo.ZOO}/{name}" if folder.name == zoo.ZOO else str(folder / name), *words)
    width = None if sys.stdout.isatty() else 120
    Console(highlight=False, markup=False, emoji=False, width=width).print(table)
    print(f"to see one play: python src/main.py render --run={zoo.ZOO}/{found[0][0]} --page", flush=True)


def make(run: StoredRun, which: str, updates: Sequence[Update], folder: Path) -> int:
    """Make an entry from a run's checkpoint, evaluated again for its card; return its size in bytes.

    Raises:
      CheckpointError, RecordError, ValueError: the checkpoint cannot be read, the record has no provenance,
        or the entry would be too large.
    """
    restored = restore(run, which, updates)
    scores = evaluated(restored, run.config["eval_args"]["episodes"])
    network = restored.network()
    arrays, keys = checkpoint.split({"learner": {"params": network.state.params, "stats": network.state.stats}})
    meta = read_meta(run.models / str(restored.step))
    meta = Meta(restored.step, meta.update, meta.score, decisive(zoo.portable(run.config)), keys)
    return zoo.write(folder, card(run, restored, scores), run.config, jax.device_get(arrays), meta)


def evaluated(restored: Restored, most: int) -> dict[str, Any]:
    """Return the scores of each way to play, as `evaluate` measures them on the entry.

    Args:
      most: episodes played in parallel, as many as in training.
    """
    key = jax.random.fold_in(jax.random.key(restored.config["seed"]), restored.step)
    batch = min(restored.config["eval_args"]["episodes"], most)
    return {
        name: evaluate.summary(evaluate.play(restored, planner, key, batch))
        for name, planner in restored.players.items()
    }


def card(run: StoredRun, restored: Restored, scores: dict[str, Any]) -> dict[str, Any]:
    """Return the provenance of a network.

    Raises:
      ValueError: the run's record does not have it.
    """
    origin = provenance.read(run.folder)
    if not origin:
        raise ValueError(f"{provenance.NAME} does not say where the run comes from")
    points = series.of(run.folder)
    seconds = points[TRAINING_SECONDS].values[-1] if TRAINING_SECONDS in points else 0.0
    return {
        "task": task(run.config),
        "agents": restored.env.spec.num_agents,
        "algorithm": run.config["name"],
        "command": zoo.command(origin["command"]),
        "commit": origin["git"]["commit"],
        "changed": origin["git"]["changed"],
        "seed": run.config["seed"],
        "step": restored.step,
        "trained": {
            "steps": max(found.steps[-1] for found in points.values()),
            "minutes": round(seconds / 60, 2),
            "date": str(origin.get("time", ""))[:10],
        },
        "machine": {
            "cpu": origin["machine"]["cpu"],
            "cores": origin["machine"]["cores"],
            "device": origin["devices"][0]["kind"],
        },
        "packages": {name: origin["packages"][name] for name in ("jax", "flax", "mctx") if name in origin["packages"]},
        "date": time.strftime("%Y-%m-%d"),
        "episodes": restored.config["eval_args"]["episodes"],
        "scores": scores,
    }
