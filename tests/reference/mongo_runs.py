"""Short runs recorded in a MongoDB, and what is in it afterwards."""

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from pymongo.database import Database
from sacred import SETTINGS, Experiment

from tandem.core import Report
from tandem.records import mongo_place, series
from tandem.records.files import FileRecord
from tandem.records.mongo import MongoMirror
from tandem.records.mongo_read import read_series
from tandem.records.mongo_upload import Upload
from tandem.records.record import record


def reports(count: int, disturb: Callable[[int], None] = lambda step: None) -> Callable[[int], Iterator]:
    """Return a runner of `count` reports; `disturb` is called before each."""

    def run(seed: int) -> Iterator:
        for step in range(1, count + 1):
            disturb(step)
            metrics = {"train/return": step / 7, "eval/search/return": -float(step)}
            yield Report(30 * step, step, metrics), {"step": np.int32(step)}

    return run


class Recorder:
    """Records runs in a folder and a database, as main does; `said` is what the mirror said, `mirror` the last one."""

    def __init__(self, folder: Path, monkeypatch: Any):
        monkeypatch.setattr(SETTINGS, "CAPTURE_MODE", "no")
        monkeypatch.setattr(mongo_place, "SECONDS_TO_ANSWER", 1.0)
        self.folder, self.said = folder, []

    def __call__(self, url: str, run: Callable, patience: float = 10.0, beat: float = 0.02) -> None:
        config = {
            "name": "alg",
            "seed": 5,
            "t_max": 150,
            "max_minutes": 2.0,
            "results_dir": str(self.folder),
            "env": "world",
            "env_args": {"scenario": "valley"},
            "checkpoint_args": {
                "every_minutes": 0.0,
                "every_steps": 0,
                "keep_last": 2,
                "keep_every_steps": 0,
                "keep_best": False,
            },
        }
        experiment = Experiment("test", save_git_info=False)
        experiment.add_config(config)
        place, records = mongo_place.parse(url, "mongo_url"), self.folder / "sacred"
        self.mirror = MongoMirror(place, records, interval=0.02, patience=patience, say=self.said.append)
        experiment.observers += [self.mirror, FileRecord(records)]

        @experiment.command
        def train(_run):
            return record(_run, config, run)

        experiment.run("train", options={"--beat-interval": beat})


def wait_for(condition: Callable[[], Any]) -> None:
    """Wait for what another thread or process does, and fail if it does not."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def points(database: Database, run_id: int, name: str) -> tuple[list[int], list[float]]:
    """Return the steps and values of a metric."""
    found = read_series(database, run_id).get(name, series.Series())
    return found.steps.tolist(), found.values.tolist()


def differing(database: Database, folder: Path) -> list[str]:
    """Return the metrics whose points (steps, values, times; all of them, in order) are
    not those of the run's folder.
    """
    stored, there = series.of(folder), read_series(database, int(folder.name))
    fields = ("steps", "values", "times")
    return [
        name
        for name in stored.keys() | there.keys()
        if [getattr(stored.get(name), field, None) for field in fields]
        != [getattr(there.get(name), field, None) for field in fields]
    ]


def uploaded(folder: Path, database: Database, **options: bool) -> Upload:
    """Return the upload of a folder, with the points that it holds."""
    work = Upload(folder, database, **options)
    work.documents.add(series.of(folder))
    return work


def curve(steps: Iterable[int], name: str = "loss") -> dict[str, series.Series]:
    """Return new points of one metric."""
    found, steps = series.Series(), list(steps)
    times = [datetime(2026, 1, 1) + timedelta(seconds=step) for step in steps]
    found.extend(steps, [step / 3 for step in steps], times)
    return {name: found}


def documents(database: Database) -> dict[str, dict[str, Any]]:
    """Return everything in a database."""
    names = ("runs", "metrics", "fs.files", "fs.chunks")
    return {name: {str(one["_id"]): one for one in database[name].find()} for name in names}
