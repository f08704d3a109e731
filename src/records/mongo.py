"""MongoDB beside the file record: a background thread keeps the database in step with the run's folder.

We use the schema of Sacred's MongoObserver, which Omniboard and Incense read, but not the observer itself.
docs/decisions.md says why. The folder under results/sacred/ is always written, so it is the truth.
`mongo_upload.Upload` makes the database agree with it, by steps that may all be repeated. So a lost connection is no
special case, because the next round checks what the server has and adds the rest. `python src/main.py upload` runs the
same code once.

The points of a running run come from Sacred's events, because reading all metrics every ten seconds would cost more and
more. They are dropped when the server has them. If the server is away for long, or loses them, they are read from the
folder again.

A run has the same number in the database as in results/sacred/, unless another run has it there. Then it gets the next
free number, and `tandem.run`, `tandem.folder` and `host` say where it came from.
"""

import shlex
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sacred.observers import RunObserver

from tandem import program
from tandem.records import series
from tandem.records.mongo_place import Place, open_lazily, reason
from tandem.records.mongo_upload import Upload
from tandem.records.tracking import say

INTERVAL = 10.0  # seconds from one round to the next
REST = 100.0  # and at least this many times the processor time of a round, so that it stays below 1 % of a core
SERVER_SECONDS_PER_POINT = 0.5e-6  # of a document that is appended to: mongod writes its old points anew; measured
POINTS_KEPT = 1_000_000  # in memory, 24 MB, while the server is away
PATIENCE = 15.0  # seconds without progress after the end of a run, after which it stops waiting for the server


def pause(used: float, touched: int) -> float:
    """Return the seconds to wait after a round, so that this process and the server use only a
    small share of a core.

    Args:
      used: processor seconds of this process.
      touched: points of the documents that were written.
    """
    return REST * max(used, SERVER_SECONDS_PER_POINT * touched)


class MongoMirror(RunObserver):
    """Sacred's observer of a run, whose calls return at once because a thread does the work."""

    priority = 10  # after the file record, which creates the run's folder

    def __init__(
        self,
        place: Place,
        records: Path,
        *,
        interval: float = INTERVAL,
        patience: float = PATIENCE,
        say: Callable = say,
    ):
        self.place, self.records = place, records
        self.interval, self.patience, self.say = interval, patience, say
        self.fresh: dict[str, series.Series] = {}  # what was reported since the last round began
        self.upload: Upload | None = None
        self.trouble = ""  # why the last round failed
        self.logging = threading.Lock()  # of `fresh`
        self.ending = threading.Event()  # the run is over
        self.given_up = threading.Event()  # nothing waits for the rest any more
        self.thread = threading.Thread(target=self._work, name="mongo", daemon=True)

    def started_event(self, ex_info, command, host_info, start_time, config, meta_info, _id) -> None:
        folder = self.records / str(_id)
        self.upload = Upload(folder, open_lazily(self.place))
        self.upload.documents.add(series.of(folder))  # of a resumed run
        self.upload.documents.forget()
        self.thread.start()

    def log_metrics(self, metrics_by_name: dict[str, Any], info: dict[str, Any]) -> None:
        with self.logging:
            for name, points in metrics_by_name.items():
                series.add(self.fresh, name, points["steps"], points["values"], points["timestamps"])

    def completed_event(self, stop_time, result) -> None:
        self.ending.set()

    def interrupted_event(self, interrupt_time, status) -> None:
        self.ending.set()

    def failed_event(self, fail_time, fail_trace) -> None:
        self.ending.set()

    def join(self) -> None:
        """Wait until the database has everything, or makes no progress for a while; report the result."""
        if self.upload is None:
            return
        ended = time.monotonic()
        try:
            while self.thread.is_alive() and time.monotonic() - max(ended, self.upload.last_progress) < self.patience:
                self.thread.join(0.05)
        finally:
            if self.thread.is_alive():
                self.given_up.set()
                self.say(self._unfinished())
        if not self.thread.is_alive():
            print(f"MongoDB: run {self.upload.run_id} in {self.place}", flush=True)

    def _unfinished(self) -> str:
        """Return the message for the user if the database lacks a part of the run."""
        folder = self.upload.folder
        run = folder.name if self.records == Path("results/sacred") else folder
        because = f" {self.trouble}" if self.trouble else " has not stored everything in time"
        command = program.named(f"{program.SCRIPT} upload --run={shlex.quote(str(run))}")
        return (
            f"MongoDB at {self.place}{because}: this run is not complete there. It is in {folder}; to upload it "
            f"later:\n  {command}"
        )

    def _work(self) -> None:
        while True:
            final = self.ending.is_set()  # read first, so that later points are left for another round
            began = time.thread_time()
            if self._round(final) and final or self.given_up.is_set():
                self.upload.database.client.close()
                return
            if final:
                self.given_up.wait(min(1.0, self.interval))
            else:
                touched = 0 if self.trouble else self.upload.touched  # an unreachable server is tried again soon
                self.ending.wait(max(self.interval, pause(time.thread_time() - began, touched)))

    def _round(self, final: bool) -> bool:
        """Return whether the database is up to date; a failure is reported when it begins and when it ends."""
        try:
            self._hand_over()
            self.upload.sync(final)
        except Exception as error:  # after any error the run continues
            if not self.trouble:
                self.say(
                    f"MongoDB at {self.place} {reason(error)}; the run continues and uploads the missing data later"
                )
            self.trouble = reason(error)
            return False
        if self.trouble:
            self.trouble = ""
            self.say(f"MongoDB at {self.place} is back; nothing is missing there")
        return True

    def _hand_over(self) -> None:
        """Pass the reported points to the upload; if they exceed the memory limit, only their hash is kept."""
        with self.logging:
            fresh, self.fresh = self.fresh, {}
        self.upload.documents.add(fresh)
        if self.upload.documents.unsent() > POINTS_KEPT:
            self.upload.documents.forget()
