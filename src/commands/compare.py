"""`python src/main.py compare`: recorded runs side by side, with intervals over seeds, as figures and tables."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from tandem.analysis import comparison, full_report, histories, marl_eval
from tandem.commands import flags
from tandem.config.commandline import UsageError
from tandem.records import mongo_place
from tandem.records.places import task

DESCRIPTION = """Compare recorded runs: curves, final scores, steps to a threshold, and which group is better.

Runs that differ only in the seed form one group. Groups with the same name are labelled by the settings in which they
differ. Means are interquartile means, and intervals are 95 % bootstrap intervals over seeds. A run that diverged, so
that its last numbers are not finite, counts as worse than all others."""
EXAMPLES = """examples:
  python src/main.py compare 1-10
  python src/main.py compare 'results/sacred/*' --x time --out paper/
  python src/main.py compare 3-8 --metric eval/policy/return --threshold -40
  python src/main.py compare '*' --mongo=mongodb://localhost:27017/sacred
  python src/main.py compare 1-10 --marl-eval=runs.json
  python src/main.py compare 1-10 with results_dir=elsewhere"""
OK = 0


def main(words: Sequence[str]) -> int:
    """Run the command and return the exit status."""
    given, results = parser().read_place(words)
    out = Path(given.out or Path(results) / "compare" / time.strftime("%Y%m%d-%H%M%S"))
    question = full_report.Question(given.metric, given.x, given.at, given.threshold)
    try:
        found, left_out = (
            (histories.from_mongo(database(given.mongo), given.runs), [])
            if given.mongo is not None
            else histories.from_folders(given.runs, results)
        )
        full_report.write(found, left_out, question, out)
        if given.marl_eval:
            export(found, question, given.marl_eval)
    except (histories.SourceError, mongo_place.Unusable) as error:
        raise UsageError(f"compare: {error}") from None
    return OK


def export(found: Sequence[histories.History], question: full_report.Question, path: Path) -> None:
    """Write the runs for marl-eval, and print notes on what it would refuse.

    Raises:
      SourceError: the file cannot be written.
    """
    tasks = {history.label: task(history.config) for history in found}
    groups, _ = comparison.groups(found, question.metric, question.axis, tasks)
    try:
        notes = marl_eval.write(groups, path)
    except OSError as error:
        raise histories.SourceError(f"--marl-eval={path} cannot be written ({error.strerror})") from error
    print(*(f"note: {note}" for note in notes), path, sep="\n", flush=True)


def database(url: str) -> mongo_place.Place:
    """Return the database at a URL, or the one that the environment names if the URL is empty.

    Raises:
      Unusable: neither names a database.
    """
    found = mongo_place.choose(url or None, None, os.environ)
    if found is None:
        raise mongo_place.Unusable(
            f"--mongo needs a URL: give --mongo=mongodb://HOST:PORT/DATABASE, or set {mongo_place.VARIABLE}"
        )
    return found


def parser() -> flags.Parser:
    own = flags.parser("compare", DESCRIPTION)
    own.epilog = EXAMPLES
    own.add_argument(
        "runs", nargs="+", metavar="RUN", help="an id, a range of ids, a folder of a run or of results, a pattern"
    )
    own.take(
        "--metric",
        default=comparison.RETURN,
        help="metric to compare (more is better); default eval/return, which is with search if the run searches",
    )
    own.add_argument("--x", choices=comparison.AXES, default="steps", help="environment steps, or minutes of training")
    own.add_argument(
        "--threshold",
        type=flags.number,
        help="score whose step is reported; default: the final score of the task's weakest group",
    )
    own.add_argument("--at", type=flags.number, help="compare the scores at this x instead of at the end")
    own.take("--out", type=flags.out_folder, help="folder for the files; default results/compare/<time>")
    marl_eval_help = "also write the runs in marl-eval's JSON layout into this file"
    own.add_argument("--marl-eval", type=flags.out_file, metavar="FILE", help=marl_eval_help)
    own.take(
        "--mongo",
        nargs="?",
        const="",
        help=f"read from this MongoDB, or the one in ${mongo_place.VARIABLE}; RUN is then an id, a range or a pattern",
    )
    own.take("--results-dir")
    return own
