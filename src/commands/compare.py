"""`python src/main.py compare`: recorded runs side by side, with intervals over seeds, as figures and tables."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from src.analysis import comparison, estimators, histories
from src.commands import arguments, flags
from src.commands.arguments import Parser
from src.config.commandline import UsageError
from src.core.metrics import POLICY_RETURN
from src.records import mongo_place
from src.records.places import task

DESCRIPTION = """Compare recorded runs: curves, final scores, the way to a threshold, and who beats whom.

Runs with the same configuration apart from the seed are one group; groups of one name are told apart by the settings
in which they differ. Means are interquartile means, intervals 95 % bootstrap intervals over seeds.
A run that diverged, whose numbers are not finite at its end, counts as worse than all others."""
EXAMPLES = """examples:
  python src/main.py compare 1-10
  python src/main.py compare 'results/sacred/*' --x time --out paper/
  python src/main.py compare 3-8 --metric eval/policy/return --threshold -40
  python src/main.py compare '*' --mongo=mongodb://localhost:27017/sacred"""
OK = 0
FEW_SEEDS = 5
UNITS = {"steps": "environment steps", "time": "minutes of training"}


def main(words: Sequence[str], tasks: Mapping[str, str] | None = None) -> int:
    """Run the command and return the exit status.

    Args:
      tasks: what each run, by its folder, was to do; runs are compared within a task. Default: environment and
        scenario.
    """
    given = parser().parse_args(list(words))
    out = Path(given.out or Path(given.results_dir) / "compare" / time.strftime("%Y%m%d-%H%M%S"))
    try:
        found, left_out = (
            (histories.from_mongo(database(given.mongo), given.runs), [])
            if given.mongo is not None
            else histories.from_folders(given.runs, given.results_dir)
        )
        tasks = tasks or {history.label: task(history.config) for history in found}
        groups, notes = comparison.groups(found, given.metric, given.x, tasks)
    except (histories.SourceError, mongo_place.Unusable) as error:
        raise UsageError(f"compare: {error}") from None
    if said := arguments.problem_of_folder(out):  # before figures are drawn that could not be kept
        raise UsageError(f"compare: --out={said}")
    notes = [*left_out, *notes, *remarks(groups, given.x)]
    report(groups, notes, given.metric, given.x, given.at, given.threshold, out)
    return OK


def database(url: str) -> mongo_place.Place:
    """Return the database that a URL stands for, or that the environment names where the URL is empty.

    Raises:
      Unusable: neither names one.
    """
    found = mongo_place.choose(url or None, None, os.environ)
    if found is None:
        raise mongo_place.Unusable(
            f"--mongo needs a URL: --mongo=mongodb://HOST:PORT/DATABASE, or one in {mongo_place.VARIABLE}"
        )
    return found


def parser() -> Parser:
    own = flags.parser("compare", DESCRIPTION)
    own.epilog = EXAMPLES
    own.add_argument(
        "runs", nargs="+", metavar="RUN", help="an id, a range of ids, a folder of a run or of results, a pattern"
    )
    own.add_argument(
        "--metric",
        default=comparison.RETURN,
        help="series to compare, more is better; default eval/return: with search, or the policy's where there is none",
    )
    own.add_argument("--x", choices=comparison.AXES, default="steps", help="environment steps, or minutes of training")
    own.add_argument("--threshold", type=arguments.number, help="default: what the weakest group of a task ends at")
    own.add_argument("--at", type=arguments.number, help="score at this x instead of at the end")
    own.add_argument("--out", type=arguments.out_folder, help="folder of the files; default results/compare/<time>")
    own.add_argument("--results-dir", default="results", type=arguments.path, help="where ids are looked for")
    own.add_argument(
        "-m",
        "--mongo",
        metavar="URL",
        nargs="?",
        const="",
        help=f"read from this MongoDB, or that in ${mongo_place.VARIABLE}; RUN is then an id, a range or a pattern",
    )
    return own


def report(
    groups: Sequence[comparison.Group],
    notes: Sequence[str],
    metric: str,
    axis: str,
    at: float | None,
    threshold: float | None,
    out: Path,
) -> None:
    """Write figure and tables, and print the table; the same runs give the same numbers."""
    from src.analysis import figure  # matplotlib: only when there is something to draw
    from src.analysis import report as tables

    rng = np.random.default_rng(0)
    finals = {place: estimators.over_seeds(group.scores(at), rng) for place, group in enumerate(groups)}
    rows = []
    for place, group in enumerate(groups):
        same_task = [other for other in groups if other.task == group.task]
        level = comparison.default_threshold(same_task, at) if threshold is None else threshold
        rows.append(tables.row(group, finals[place], at, level))
    improvements = comparison.improvements(groups, at, rng)
    drawn = figure.draw(groups, finals, metric=metric, axis=axis, at=at, rng=rng)
    out.mkdir(parents=True, exist_ok=True)
    about = {"metric": metric, "x": axis, "at": at, "notes": list(notes)}
    paths = [*figure.save(drawn, out, "curves"), *tables.write(out, rows, improvements, about)]
    print(tables.markdown(rows, improvements), *(f"note: {note}" for note in notes), sep="\n")
    print("\n" + "\n".join(str(path) for path in paths), flush=True)


def remarks(groups: Sequence[comparison.Group], axis: str) -> list[str]:
    """Return what a reader of the numbers should know of them."""
    notes = []
    for group in groups:
        ends = [float(x[-1]) for x, _ in group.curves]
        if len(ends) > 1 and max(ends) > 1.05 * min(ends):
            notes.append(f"{group.label}: its seeds end between {min(ends):,.6g} and {max(ends):,.6g} ({UNITS[axis]})")
    judged: dict[str, dict[str, None]] = {}
    for group in groups:
        for metric in group.metrics:
            judged.setdefault(metric, {})[group.label] = None
    if len(judged) > 1:
        shown = "; ".join(f"{metric} of {', '.join(labels)}" for metric, labels in sorted(judged.items()))
        notes.append(f"not the same series is compared: {shown}; --metric={POLICY_RETURN} takes the policies alone")
    if any(1 < len(group.histories) < FEW_SEEDS for group in groups):
        notes.append(f"bootstrap intervals of fewer than {FEW_SEEDS} seeds tend to be too narrow")
    return notes
