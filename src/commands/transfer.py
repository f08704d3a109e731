"""`transfer --run=RUNS --sizes=SIZES`: what runs earn with teams of other sizes, without any training there."""

import argparse
import json
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from tandem.analysis import figure, heat_map, transfer_matrix
from tandem.analysis.transfer_matrix import WON, Row, Task, mean
from tandem.commands import arguments, flags, transfer_play
from tandem.config.commandline import Update, UsageError
from tandem.records.places import replace_file

DESCRIPTION = """Play recorded runs with teams of other sizes: a matrix of what they were trained on and tested on.

A score is (return - random) / (expert - random), means over episodes on the task that is tested: 0 is uniformly random
legal play, 1 the expert. The expert is the best of --experts that was trained on just this task, else the hand
controller "optimal" where the environment has it (simple_spread); without one there is no score.
Runs that differ in their seeds alone share a row. All play episodes with the same beginnings.
The parameters have to fit as they are: with network_args.encoder=entities none depends on the size of the team.

sizes, separated by commas:
  5                          a number of agents: env_args.num_agents=5
  8m                         a name of a map: env_args.map_name=8m
  env_args.KEY=VALUE+...     any settings of the environment"""
EXAMPLES = """examples:
  python src/main.py transfer --run=1 --sizes=2,3,4,5,8
  python src/main.py transfer --run=1,2,3 --sizes=3m,4m,6m,8m --experts=4,5,6,7 --episodes=512
  python src/main.py transfer --run=7 --sizes=env_args.num_agents=5+env_args.episode_limit=50"""
EPISODES = 256
LABEL_WIDTH, MOST_WIDTH = 30, 10_000  # characters


def main(words: Sequence[str]) -> int:
    """Play all runs on all tasks, print the matrix and write it as PNG, SVG, CSV and JSON; return the exit status."""
    own = _parser()
    options, updates = own.read(words)
    out = Path(options.out or Path(flags.results_dir(updates)) / "transfer" / time.strftime("%Y%m%d-%H%M%S"))
    episodes = Update("eval_args.episodes", options.episodes, str(options.episodes), "--episodes")
    runs = [arguments.find(name, updates) for name in options.run]
    experts = [arguments.find(name, updates) for name in options.experts or ()]
    settings = [*flags.settings(updates), episodes]
    how = transfer_play.How(options.checkpoint, options.player, settings, episodes)
    rows, tasks = transfer_play.matrix(runs, options.sizes, experts, how)
    show(rows, tasks, options.episodes)
    for path in write(out, rows, tasks, options.episodes):
        print(f"written: {path}", flush=True)
    return 0


def show(rows: Sequence[Row], tasks: Sequence[Task], episodes: int) -> None:
    """Print the matrix and what it says in short."""
    table = Table(title=f"scores and returns of {episodes} episodes", title_justify="left", show_lines=True)
    table.add_column("trained on", no_wrap=True)
    for each in (*(task.label for task in tasks), "elsewhere", "worst"):
        table.add_column(each, justify="right", no_wrap=True)
    for row in rows:
        brief = transfer_matrix.short([row], tasks)
        seeds = f"\n{len(row.runs)} seeds" if len(row.runs) > 1 else ""
        cells = [_cell(row.score(task), row.mean(task), row.mean(task, WON), row.home == task.label) for task in tasks]
        table.add_row(
            textwrap.fill(row.label, LABEL_WIDTH) + seeds,
            *cells,
            _number(brief["off_diagonal"]),
            _number(brief["worst"]),
        )
    table.add_row("random", *(_cell(None, mean(task.random), mean(task.random, WON)) for task in tasks), "", "")
    experts = [_cell(None, mean(task.expert), mean(task.expert, WON), name=task.expert_name) if task.expert else "-"
               for task in tasks]  # fmt: skip
    table.add_row("expert", *experts, "", "")
    looks = {"highlight": False, "markup": False, "emoji": False, "soft_wrap": True}
    console = Console(**looks)
    whole = Measurement.get(console, console.options.update(max_width=MOST_WIDTH), table).maximum
    Console(**looks, width=max(console.width, whole)).print(table)  # what is cut off could not be read
    brief = transfer_matrix.short(rows, tasks)
    at = " on ".join(brief["worst_at"]) if brief["worst_at"] else "nowhere"
    console.print(
        f"score where trained (*) {_number(brief['diagonal'])}, elsewhere {_number(brief['off_diagonal'])}, "
        f"worst {_number(brief['worst'])} ({at})"
    )
    if lacking := [task.label for task in tasks if task.expert is None]:
        console.print(f"no score on {', '.join(lacking)}: name runs that were trained there with --experts=ID,...")


def _cell(
    score: float | None, reward: float | None, won: float | None, home: bool = False, name: str | None = None
) -> str:
    lines = [name] if name else [] if score is None else [f"{score:.2f}{'*' if home else ''}"]
    return "\n".join([*lines, _number(reward), *([] if won is None else [f"won {won:.2f}"])])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def write(out: Path, rows: Sequence[Row], tasks: Sequence[Task], episodes: int) -> list[Path]:
    """Write the figure and the tables into a folder and return where.

    Raises:
      UsageError: nothing can be written there.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        paths = figure.save(heat_map.draw(rows, tasks), out, "transfer")
        content = {"episodes": episodes, **transfer_matrix.as_json(rows, tasks)}
        texts = {
            "transfer.csv": transfer_matrix.as_csv(rows, tasks, episodes),
            "transfer.json": json.dumps(content, indent=1) + "\n",
        }
        for name, text in texts.items():
            replace_file(out / name, text)
    except OSError as error:
        raise UsageError(f"transfer: {out} cannot be written ({error.strerror})") from None
    return [*paths, *(out / name for name in texts)]


def _list(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words) or len(set(words)) < len(words):
        raise argparse.ArgumentTypeError(f"'{text}': expected different words, separated by commas")
    return words


def _parser() -> flags.Parser:
    own = flags.parser("transfer", DESCRIPTION)
    own.epilog = EXAMPLES
    own.take("--run", metavar="ID,...", type=_list, help="recorded runs: their ids, or their folders")
    own.add_argument("--sizes", metavar="SIZE,...", type=_list, required=True, help="what they are tested on")
    own.add_argument("--experts", metavar="ID,...", type=_list, help="recorded runs that are score 1 where trained")
    own.take(
        "--episodes", type=flags.count("episodes", 10**6), default=EPISODES, help=f"on each task (default: {EPISODES})"
    )
    own.take(
        "--player", choices=transfer_play.PLAYERS, help="who chooses the actions (default: search if there is one)"
    )
    own.take("--checkpoint", default="best")
    own.take("--out", type=flags.out_folder, help="folder of the files; default results/transfer/<time>")
    return own
