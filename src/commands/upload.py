"""`python src/main.py upload --run=ID`: copies recorded runs into MongoDB, as if they had been recorded there, or
to other trackers.
"""

import os
from collections.abc import Mapping, Sequence

from tandem.records import runs
from tandem.commands import flags
from tandem.config.commandline import UsageError
from tandem.records import mongo_place, series, trackers, tracking
from tandem.records.mongo_upload import Upload

FLAGS = {trackers.WANDB: "--wandb", trackers.MLFLOW: "--mlflow"}


def main(words: Sequence[str]) -> int:
    """Upload runs and return the exit status; a second upload changes nothing.

    Raises:
      UsageError: there is no such run, or no database is named, or it does not answer.
    """
    options, results = parser().read_place(words)
    asked = {trackers.WANDB: options.wandb, trackers.MLFLOW: options.mlflow}
    others = any(asked.values())
    try:
        for run in [runs.find(run, results) for run in options.run]:
            if others:
                send(run, asked)
            if options.mongo or not others:
                upload(run, options.mongo)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return 0


def parser() -> flags.Parser:
    own = flags.parser("upload", "Copy recorded runs into MongoDB, as if they had been recorded there.")
    own.take(
        "--run",
        action="append",
        help="a run; may be given several times; ids refer to results/, or to FOLDER `with results_dir=FOLDER`",
    )
    own.take(
        "--mongo",
        help=f"the database; default: the run's own `mongo_url`, or the environment variable {mongo_place.VARIABLE}",
    )
    own.add_argument("--wandb", metavar="PROJECT", help="send it to Weights & Biases, offline unless WANDB_MODE=online")
    own.add_argument("--mlflow", metavar="URI", help="send it to MLflow: sqlite:///FILE.db or http://HOST:PORT")
    own.take("--results-dir")
    return own


def send(run: runs.StoredRun, asked: Mapping[str, str | None]) -> None:
    """Send one run to the trackers whose settings are given.

    Raises:
      ValueError: a tracker cannot be used or written, or the record is broken.
    """
    for tracker in trackers.chosen(asked, FLAGS):
        _check_record(run)
        try:
            print(f"{run.folder} -> {tracker.name}: {tracking.send(run, tracker)}", flush=True)
        except Exception as error:  # trackers raise errors of many kinds
            raise ValueError(f"run {run.id}: {tracker.name} cannot be written: {tracking.reason(error)}") from error


def _check_record(run: runs.StoredRun) -> None:
    if run.in_zoo:
        raise ValueError(f"{run.folder} is in the zoo and has no record to upload; name a recorded run")


def upload(run: runs.StoredRun, url: str | None) -> None:
    """Upload one run to the database at `url`, or to the one that its configuration or the environment names.

    Raises:
      ValueError: no database is named, it does not answer, or the record is broken.
    """
    _check_record(run)
    configured = run.config.get("mongo_url") or None
    place = mongo_place.choose(url, configured if isinstance(configured, str) else None, os.environ)
    if place is None:
        raise ValueError(
            f"run {run.id} names no MongoDB: give its URL with --mongo=mongodb://HOST:PORT/DATABASE or in the "
            f"environment variable {mongo_place.VARIABLE}"
        )
    database = mongo_place.connect(place)
    try:
        work = Upload(run.folder, database, check_content=True)
        work.documents.add(series.of(run.folder))
        work.sync(final=True)
    except (OSError, mongo_place.PyMongoError) as error:
        raise ValueError(f"run {run.id}: MongoDB at {place} {mongo_place.reason(error)}") from error
    finally:
        database.client.close()
    mended = f"; {len(work.replaced)} series had other points there and are mended" if work.replaced else ""
    print(f"{run.folder} -> run {work.run_id} in {place}{mended}", flush=True)
