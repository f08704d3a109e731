"""`dataset DIR`: what a dataset is; `--merge`, `--take`, `--to` and `--import` make another of it."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from tandem.commands import flags
from tandem.config.commandline import UsageError
from tandem.datasets import foreign, minari, parquet, store
from tandem.datasets.dataset import Dataset, chosen, joined, taken

FORMATS = {"parquet": parquet.write, "minari": minari.write}
DESCRIPTION = """Print a dataset's card; or write another dataset, or a file, that is made of it.

examples:
  python src/main.py dataset data/3m-expert
  python src/main.py dataset data/3m-medium --merge=data/3m-expert --out=data/3m-mixed
  python src/main.py dataset data/3m-expert --take=5% --out=data/3m-little
  python src/main.py dataset data/3m-expert --to=parquet --out=3m.parquet
  python src/main.py dataset data/3m-expert --to=minari --out=minari/3m-v0         (needs minari)
  python src/main.py dataset episodes.h5 --import --limit=60 --out=data/theirs     (PyMARL's HDF5; needs h5py)
  python src/main.py dataset vaults/3m.vlt/Good --import --out=data/og-3m-good     (a vault of OG-MARL)"""


def main(words: Sequence[str]) -> int:
    """Print the card, or write what is asked for; return the exit status."""
    options = _parser().parse_args(list(words))
    given = Path(options.dataset).expanduser()
    asked = [name for name in ("merge", "take", "leave", "to", "imports") if getattr(options, name)]
    if len(asked) > 1:
        raise UsageError("dataset: --merge, --take, --leave, --to and --import are different things; give one of them")
    if bool(asked) != bool(options.out):
        raise UsageError(
            "dataset: --out=DIR says where to write; give it with --merge, --take, --leave, --to or --import"
        )
    if options.limit and not options.imports:
        raise UsageError("dataset: --limit belongs to --import; datasets of ours know theirs")
    try:
        if not asked:
            show(store.read(given).card)
            return 0
        return _write(given, options)
    except ValueError as error:
        raise UsageError(f"dataset: {error}") from None


def _write(given: Path, options: argparse.Namespace) -> int:
    out = Path(options.out)
    if options.to:
        kept = FORMATS[options.to](out, store.read(given))
        print(f"written: {out}, {kept:,} rows")
        return 0
    if options.imports:
        made = foreign.read(given, options.limit)
    elif options.take or options.leave:
        made = taken(store.read(given), options.take or options.leave, others=bool(options.leave))
    else:
        made = joined([store.read(Path(name).expanduser()) for name in (given, *options.merge.split(",")) if name])
    show(store.write(out, made), out)
    return 0


def cut(data: Dataset, rows: int) -> Dataset:
    """Return the last whole episodes that have at least so many rows together; all of them where they have fewer."""
    ends = data.ends["row"]
    before = int(np.searchsorted(data.size - 1 - ends[::-1], rows))  # episodes, counted from the end
    return chosen(data, np.arange(max(0, len(ends) - before), len(ends)))


def show(card: Mapping[str, Any], written: Path | None = None) -> None:
    """Print a card, and where the dataset is."""
    table = Table(title=f"{card['task']}, {card['level']}", title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines(card).items():
        table.add_row(name, value)
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 120)
    console.print(table)
    if written:
        print(f"written: {written}", flush=True)


def lines(card: Mapping[str, Any]) -> dict[str, str]:
    """Return what is printed of a card: a name and a few words each."""
    spread = "mean {mean:.3f}, sd {sd:.3f}, min {min:.3f}, quartiles {q25:.3f} {median:.3f} {q75:.3f}, max {max:.3f}"
    shares, entropy, quality = card["action_shares"], card["behaviour_entropy"], card["trajectory_quality"]
    spec = card["spec"]
    shown = {
        "rows": f"{card['rows']:,} in {card['episodes']:,} episodes",
        "return": spread.format(**card["return"]),
        "length": spread.format(**card["length"]),
        **{name: f"mean {value:.3f}" for name, value in card["metrics"].items()},
        "cut off by the limit": f"{card['truncated_share']:.1%} of the episodes",
        "actions": "numbers" if shares is None else " ".join(f"{share:.3f}" for share in shares),
        "behaviour": "known" if card["behaviour_known"] else "not known",
        "behaviour's entropy": "unknown" if entropy is None else f"{entropy:.3f} nats",
        "trajectory quality": "unknown" if quality is None else f"{quality:.3f} (0 random, 1 expert)",
        "coverage (SACo)": f"{card['coverage']:.3f} unique pairs of state and joint action per row",
        "spec": ", ".join(f"{name} {value}" for name, value in spec.items()),
        "env_args": ", ".join(f"{name}={value}" for name, value in (card["env_args"] or {}).items()) or "-",
        "commit": str(card.get("commit") or "unknown"),
        "packages": ", ".join(f"{name} {version}" for name, version in card["packages"].items()) or "-",
    }
    for number, origin in enumerate(card["origins"], 1):
        told = {name: value for name, value in origin.items() if value is not None and name != "references"}
        shown[f"origin {number}"] = ", ".join(f"{name} {value}" for name, value in told.items())
    if card.get("references"):
        shown["references"] = ", ".join(f"{name} {value:.3f}" for name, value in card["references"].items())
    shown["hashes"] = ", ".join(f"{name} {value}" for name, value in card["hashes"].items())
    return shown


def _parser() -> flags.Parser:
    parser = flags.parser("dataset", DESCRIPTION)
    parser.add_argument("dataset", metavar="DIR", help="a dataset's folder; with --import a vault, or an HDF5 file")
    parser.add_argument("--merge", metavar="DIR,...", help="datasets to be put behind it")
    parser.add_argument("--take", metavar="SHARE", type=_percent, help="a share of its episodes by lot, as 5%%")
    parser.add_argument("--leave", metavar="SHARE", type=_percent, help="the episodes that --take=SHARE does not take")
    parser.add_argument("--to", metavar="FORMAT", choices=FORMATS, help=f"what others open: {', '.join(FORMATS)}")
    parser.add_argument("--import", dest="imports", action="store_true", help="it is another program's")
    parser.add_argument("--limit", metavar="STEPS", type=int, help="where episodes are cut off, which HDF5 leaves out")
    parser.take("--out", metavar="DIR|FILE", type=flags.path, help="what to write, under a new name")
    return parser


def _percent(text: str) -> float:
    share = flags.number(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    if not 0.0 < share <= 1.0:
        raise argparse.ArgumentTypeError(f"{text}: expected a share above 0 and at most 1, or a percentage as 5%")
    return share
