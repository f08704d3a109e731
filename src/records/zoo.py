"""The zoo: trained networks that come with the code, each with a card about its origin.

An entry is a folder `zoo/NAME/` with `card.json`, the same as text in `README.md`, `config.json`, and in `models/STEP/`
the parameters and the statistics that scale values. It is read like a recorded run, so all commands that play a run
also play an entry: `--run=zoo/NAME`. It lacks curves and what only learning needs (optimiser, target network, replay).
"""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tandem import program
from tandem.config import schema
from tandem.records import checkpoint
from tandem.records.checkpoint_folder import Meta
from tandem.records.places import replace_file
from tandem.records.runs import CARD, RecordError, read_json
from tandem.registry import nearest

ZOO = "zoo"
MOST_BYTES = 5_000_000  # most bytes of an entry, because it stays in the repository forever
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,60}")
HEAD = """# Trained networks

Each folder holds one, ready to play, with a card that says where it comes from. `python src/main.py zoo` prints this
table; docs/guides/zoo.md says how entries are used and made.

"""


def located(run: str) -> str:
    """Return the path of a run's name: "zoo/NAME" is searched in the current folder, then beside the code.

    Raises:
      RecordError: the zoo has no such entry; the message lists its entries.
    """
    path = Path(run)
    if path.parts[:1] != (ZOO,) or len(path.parts) != 2 or path.exists():
        return run
    beside = home()
    if (beside / path.name).exists():
        return str(beside / path.name)
    known = [entry.name for entry in entries(beside)]
    guess = nearest(path.name, known)
    hint = f"did you mean {ZOO}/{guess}? " if guess else ""
    raise RecordError(f"no run '{run}': {hint}the zoo has {', '.join(known) or 'no entries'}")


def home() -> Path:
    """Return the zoo's folder: in the current folder, else beside the code. An installed Tandem has none."""
    here, root = Path(ZOO), program.checkout()
    return here if here.is_dir() or root is None else root / ZOO


def entries(folder: Path) -> list[Path]:
    """Return the folders of all entries, by name."""
    return sorted(path.parent for path in folder.glob(f"*/{CARD}"))


def cards(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the cards of all entries by name.

    Raises:
      RecordError: a card cannot be read.
    """
    return {path.name: read_json(path / CARD) for path in entries(folder)}


def portable(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's configuration with default values for the settings that say where and how it was recorded."""
    here = {
        "results_dir": "results",
        "video": True,
        "mongo_url": None,
        "wandb_project": "",
        "mlflow_uri": "",
        "compile_cache_dir": "auto",
    }
    return {key: here.get(key, value) for key, value in config.items()}


def command(words: list[str]) -> str:
    """Return the command that trains the same, from the run's words, without the settings of its records."""
    free = (*schema.bookkeeping(), "jobs")
    kept = [word for word in words[1:] if word.partition("=")[0].partition(".")[0] not in free]
    kept = kept[:-1] if kept and kept[-1] == "with" else kept
    return " ".join(["python", "src/main.py", *kept[1:]])


def write(
    folder: Path, card: Mapping[str, Any], config: Mapping[str, Any], arrays: checkpoint.Arrays, meta: Meta
) -> int:
    """Write an entry, replacing an existing one, and return its size in bytes.

    Raises:
      ValueError: the entry is too large; nothing is changed.
    """
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        checkpoint.write_plain(part / "models" / str(meta.step), arrays, meta)
        size = sum(path.stat().st_size for path in part.rglob("*") if path.is_file())
        if size > MOST_BYTES:
            raise ValueError(f"it would have {size:,} bytes, and an entry may have {MOST_BYTES:,}")
        replace_file(part / "config.json", json.dumps(portable(config), indent=1, sort_keys=True) + "\n")
        whole = {**card, "bytes": size}
        replace_file(part / CARD, json.dumps(whole, indent=1) + "\n")
        replace_file(part / "README.md", page(folder.name, whole))
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return size


def page(name: str, card: Mapping[str, Any]) -> str:
    """Return a card as Markdown."""
    machine, trained = card["machine"], card["trained"]
    lines = [
        f"# {name}", "", f"`{card['algorithm']}` on {card['task']}, {card['agents']} agents.", "",
        "| player | metric | mean | standard error |",
        "|---|---|---|---|",
        *(
            f"| {player} | {metric} | {numbers['mean']:.3f} | {_number(numbers['stderr'])} |"
            for player, metrics in card["scores"].items() for metric, numbers in metrics.items()
        ),
        "", f"Scores are of {card['episodes']} greedy episodes on {card['date']}.", "",
        f"- Command: `{card['command']}`",
        f"- Commit: {card['commit']}{', with changes that were not committed' if card['changed'] else ''}",
        f"- Seed: {card['seed']}; {trained['steps']:,} environment steps in {trained['minutes']:.1f} minutes, of which "
        f"this is the checkpoint of step {card['step']:,}",
        f"- Machine: {machine['cpu']}, {machine['cores']} cores, {machine['device']}", "",
        "```sh", f"python src/main.py evaluate --run={ZOO}/{name}",
        f"python src/main.py render --run={ZOO}/{name} --page", "```",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def rows(found: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return a row of words for each card: name, task, agents, algorithm, scores, kilobytes."""
    return [
        (name, card["task"], str(card["agents"]), card["algorithm"], headline(card), f"{card['bytes'] / 1000:,.0f} kB")
        for name, card in found.items()
    ]


def headline(card: Mapping[str, Any]) -> str:
    """Return the main scores of an entry: those of the first player, without the episode's length."""
    metrics = next(iter(card["scores"].values()))
    kept = [name for name in metrics if name not in ("length", "entropy")]
    chosen = [name for name in ("return", "score", "won", "eaten") if name in kept] or kept[:2]
    return ", ".join(f"{name} {metrics[name]['mean']:.2f}" for name in chosen)


def write_index(folder: Path) -> None:
    """Write the table of all entries."""
    columns = ("name", "task", "agents", "algorithm", "score", "size")
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += ["| " + " | ".join((f"[{row[0]}]({row[0]}/README.md)", *row[1:])) + " |" for row in rows(cards(folder))]
    replace_file(folder / "README.md", HEAD + "\n".join(lines) + "\n")
