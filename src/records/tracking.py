"""Trackers beside the file record: a background thread sends a run's metrics to another program.

The folder in results/sacred/ is always written and stays the reference. If a tracker is unreachable, slow or raises an
error, one line reports this and the run continues. Its data wait in memory and are sent again. If it has not stored
everything when the run ends, `python src/main.py upload` sends the whole record later.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from sacred.observers import RunObserver

from tandem.hiding import hidden
from tandem.records import record_files, series
from tandem.records.places import task, title
from tandem.records.runs import StoredRun

INTERVAL = 10.0  # seconds from one round to the next
PATIENCE = 60.0  # seconds to wait without progress after a run's end; a tracker's program takes some to start
TROUBLED = 0.2  # share of it for a tracker whose last write failed
LONGEST_REASON = 200  # letters
MOST_POINTS = 1_000_000  # points in memory; beyond these the oldest are left to `upload`
ENDS = {"COMPLETED": "finished", "INTERRUPTED": "interrupted", "FAILED": "failed"}


class About(NamedTuple):
    """A run's description for trackers, sent before its metrics."""

    uid: str  # the run's name among all runs, of 24 letters
    title: str
    algorithm: str
    task: str
    config: Mapping[str, Any]
    results: Path  # the results folder


class Row(NamedTuple):
    """All metrics of one step."""

    step: int
    time: int  # milliseconds since 1970
    values: Mapping[str, float]


class Tracker(Protocol):
    """A program that stores runs. Its functions may raise anything and are then called again, from one thread."""

    name: str  # its name for users

    def begin(self, about: About) -> None:
        """Begin a run, or continue it if it exists."""
        ...

    def log(self, rows: list[Row]) -> None:
        """Store metrics; the same rows may be sent again."""
        ...

    def end(self, status: str, result: float | None) -> str:
        """End the run, "finished", "interrupted" or "failed", and return its place as text."""
        ...


def about(run: StoredRun) -> About:
    """Return a recorded run's description for trackers."""
    config = run.config
    words = f"{title(config)}, run {run.id}"
    return About(record_files.identity(run.folder), words, config["name"], task(config), config, run.results)


Point = tuple[str, int, int, float]  # metric, step, milliseconds since 1970, value


def rows(points: Iterable[Point]) -> list[Row]:
    """Return points by step; if a metric has two values at a step, the last counts."""
    values: dict[int, dict[str, float]] = {}
    times: dict[int, int] = {}
    for name, step, at, value in points:
        values.setdefault(step, {})[name] = value
        times[step] = min(at, times.get(step, at))
    return [Row(step, times[step], values[step]) for step in sorted(values)]


def recorded_rows(folder: Path) -> list[Row]:
    """Return all metrics in a run's record."""
    return rows(
        (name, step, at, value)
        for name, held in series.of(folder).items()
        for step, value, at in zip(held.steps, held.values, held.times, strict=True)
    )


def send(run: StoredRun, tracker: Tracker) -> str:
    """Send a whole record to a tracker and return where it is."""
    tracker.begin(about(run))
    tracker.log(recorded_rows(run.folder))
    score = run.read("run.json").get("result")
    return tracker.end(ENDS.get(run.status, "interrupted"), score if isinstance(score, int | float) else None)


def reason(error: BaseException) -> str:
    """Return an error in one line, without the secrets of addresses in it."""
    return f"{type(error).__name__}: {' '.join(hidden(str(error)).split())[:LONGEST_REASON]}"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class TrackerMirror(RunObserver):
    """Sacred's observer of a run, whose calls return at once because a thread feeds the tracker."""

    priority = 9  # after the file record, which creates the run's folder

    def __init__(
        self,
        tracker: Tracker,
        records: Path,
        *,
        interval: float = INTERVAL,
        patience: float = PATIENCE,
        say: Callable[[str], None] = say,
    ):
        self.tracker, self.records = tracker, records
        self.interval, self.patience, self.say = interval, patience, say
        self.run: StoredRun | None = None  # not before it has started
        self.waiting: list[Point] = []
        self.changing = threading.Lock()  # of `waiting`
        self.ending, self.given_up = threading.Event(), threading.Event()
        self.status, self.result = "finished", None
        self.began, self.lost, self.trouble, self.where = False, False, "", ""
        self.progress = time.monotonic()
        self.thread = threading.Thread(target=self._work, name=tracker.name, daemon=True)

    def started_event(self, ex_info, command, host_info, start_time, config, meta_info, _id) -> None:
        self.run = StoredRun(self.records / str(_id), dict(config))
        self.thread.start()

    def log_metrics(self, metrics_by_name: dict[str, Any], info: dict[str, Any]) -> None:
        found = [
            (name, int(step), series.milliseconds(at), float(value))
            for name, points in metrics_by_name.items()
            for step, value, at in zip(points["steps"], points["values"], points["timestamps"], strict=True)
        ]
        with self.changing:
            self.waiting += found
            if len(self.waiting) > MOST_POINTS:
                self.waiting, self.lost = self.waiting[-MOST_POINTS:], True

    def completed_event(self, stop_time, result) -> None:
        self._end("finished", result)

    def interrupted_event(self, interrupt_time, status) -> None:
        self._end("interrupted", None)

    def failed_event(self, fail_time, fail_trace) -> None:
        self._end("failed", None)

    def _end(self, status: str, result: float | None) -> None:
        self.status, self.result = status, result
        self.ending.set()

    def join(self) -> None:
        """Wait until the tracker has everything, or makes no progress for a while; report the result."""
        if self.run is None:
            return
        self.progress = time.monotonic()
        while self.thread.is_alive() and time.monotonic() - self.progress < self._patience():
            self.thread.join(0.05)
        self.given_up.set()
        if self.where and not self.lost:
            print(f"{self.tracker.name}: {self.where}", flush=True)
        else:
            self.say(self._unfinished())

    def _patience(self) -> float:
        return self.patience * (TROUBLED if self.trouble else 1.0)

    def _unfinished(self) -> str:
        because = f" ({self.trouble})" if self.trouble else ""
        folder = self.run.folder
        return (
            f"{self.tracker.name} has not taken all of this run{because}; nothing is lost, it is in {folder}. To send "
            f"it later: python src/main.py upload --run={folder} with the flag --wandb=PROJECT or --mlflow=URI"
        )

    def _work(self) -> None:
        while not self.given_up.is_set():
            final = self.ending.is_set()  # read first, so that later points are left for another round
            if self._round(final) and final:
                return
            (self.given_up if final else self.ending).wait(min(1.0, self.interval) if final else self.interval)

    def _round(self, final: bool) -> bool:
        """Return whether the tracker has everything; a failure is reported when it begins and when it ends."""
        with self.changing:
            taken, self.waiting = self.waiting, []
        try:
            if not self.began:
                self.tracker.begin(about(self.run))
                self.began = True
            self.tracker.log(rows(taken))
            taken, self.progress = [], time.monotonic()
            if final:
                self.where = self.tracker.end(self.status, self.result)
        except BaseException as error:  # after any error, even SystemExit, the run continues
            with self.changing:
                self.waiting = taken + self.waiting
            return self._tell(reason(error))
        return not self._tell("") or True

    def _tell(self, trouble: str) -> bool:
        """Report a new failure, and return False."""
        if trouble and not self.trouble:
            self.say(
                f"{self.tracker.name} cannot be written: {trouble}; the run continues, and waiting data are sent again"
            )
        if self.trouble and not trouble:
            self.say(f"{self.tracker.name} can be written again, and nothing is missing there")
        self.trouble = trouble
        return False
