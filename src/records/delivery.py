"""Delivers a run's reports to all observers: by one thread, in one order, without losses if one of them fails.

Sacred would send heartbeats from its own thread, and never call an observer again that has raised once. So a disk that
is full for a moment would end the whole record. Therefore Sacred's heartbeat is stopped, and this one replaces it. If
an observer fails, its points wait in memory and are tried again at each heartbeat.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tandem.core import Report
from tandem.records.curves import Curves
from tandem.records.disk import PATIENCE, RETRY_SECONDS, reason
from tandem.records.files import FileRecord

MANY_REPORTS = 500  # are not let wait for the next beat
MOST_REPORTS = 10_000  # wait for the thread; then training waits, for a while, and then the oldest are lost
MOST_POINTS = 3_000_000  # wait for one observer that fails, some 200 MB; then the oldest are lost
Stamped = tuple[datetime, Report]


class ToObserver:
    """The connection to one of Sacred's observers."""

    def __init__(self, sacred_run: Any, observer: Any):
        self.run, self.observer = sacred_run, observer
        self.needed = isinstance(observer, FileRecord)  # by a run that goes on
        self.waiting: deque[dict[str, Any]] = deque()
        self.points = 0
        self.lost = False

    @property
    def name(self) -> str:
        return f"the record {self.observer.dir}" if self.needed else f"the observer {type(self.observer).__name__}"

    def take(self, reports: list[Stamped], points: dict[str, Any]) -> None:
        if points:
            self.waiting.append(points)
            self.points += _size(points)
        while self.points > MOST_POINTS and len(self.waiting) > 1:
            self.points -= _size(self.waiting.popleft())
            self.lost = True

    def deliver(self) -> None:
        while self.waiting:
            self.observer.log_metrics(metrics_by_name=self.waiting[0], info=self.run.info)
            self.points -= _size(self.waiting.popleft())
        self.observer.heartbeat_event(
            info=self.run.info,
            captured_out=self.run.captured_out,
            beat_time=datetime.now(UTC).replace(tzinfo=None),  # as in Sacred
            result=self.run.result,
        )


class ToCurves:
    """The connection to TensorBoard."""

    needed = True

    def __init__(self, curves: Curves):
        self.curves = curves
        self.name = f"the curves {curves.folder}"

    @property
    def lost(self) -> bool:
        return self.curves.events.dropped > 0

    def take(self, reports: list[Stamped], points: dict[str, Any]) -> None:
        for at, report in reports:
            self.curves.write(report, at.replace(tzinfo=UTC).timestamp())

    def deliver(self) -> None:
        self.curves.flush()


def points_of(reports: list[Stamped]) -> dict[str, Any]:
    """Return the numbers of some reports by metric, in the form of Sacred's observers."""
    found: dict[str, Any] = {}
    for at, report in reports:
        for name, value in report.metrics.items():
            points = found.setdefault(name, {"steps": [], "values": [], "timestamps": [], "name": name})
            points["steps"].append(int(report.step))
            points["values"].append(float(value))
            points["timestamps"].append(at)
    return found


def _size(points: dict[str, Any]) -> int:
    return sum(len(one["steps"]) for one in points.values())


class Delivery:
    """The thread that sends reports to Sacred's observers and to TensorBoard, at each heartbeat and on request."""

    def __init__(self, sacred_run: Any, curves: Curves, say: Callable[[str], Any]):
        """Args: say: gets one line when something cannot be written, and one when it can be again."""
        self.run, self.say = sacred_run, say
        self.ways = [*(ToObserver(sacred_run, observer) for observer in sacred_run.observers), ToCurves(curves)]
        self.reports: deque[Stamped] = deque()
        self.troubles: dict[str, set[str]] = {}  # failing observers by reason; each reason is reported once
        self.problem = ""  # why the last beat did not bring everything to where a run that goes on needs it
        self.lost = False  # a report went by because nothing was taken for long
        self.changed = threading.Condition()  # guards what follows
        self.begun = self.done = self.asked = 0  # beats
        self.closing = False
        self.thread = threading.Thread(target=self._work, name="delivery", daemon=True)
        _end_sacreds_heartbeat(sacred_run)
        self.thread.start()

    def add(self, report: Report) -> None:
        """Queue a report. This waits only if the thread is far behind, and then not for long."""
        if len(self.reports) >= MANY_REPORTS:
            self._hurry()
        self.reports.append((datetime.now(UTC).replace(tzinfo=None), report))

    def _hurry(self) -> None:
        with self.changed:
            self.asked = max(self.asked, self.begun + 1)
            self.changed.notify_all()
            if len(self.reports) < MOST_REPORTS:
                return
            patience = 0.0 if self.lost else PATIENCE
            if not self.changed.wait_for(lambda: len(self.reports) < MOST_REPORTS, patience):
                self.reports.popleft()
                if not self.lost:
                    self.lost = True
                    self.say(f"writing has hung for {PATIENCE:.0f} seconds, so the oldest points are being lost")

    def flush(self, timeout: float = PATIENCE) -> None:
        """Wait until all reports until now are on the disk.

        Raises:
          OSError: writing failed or takes too long; the reports are kept and tried again at each heartbeat.
        """
        with self.changed:
            self.asked = wanted = self.begun + 1
            self.changed.notify_all()
            if not self.changed.wait_for(lambda: self.done >= wanted, timeout):
                raise OSError(f"the disk has not answered for {timeout:.0f} seconds")
        if self.problem:
            raise OSError(self.problem)

    def close(self, patience: float = PATIENCE) -> str:
        """Write everything and end; return why that was not possible, or "".

        If the disk fails, this is tried again for `patience` seconds.
        """
        deadline = time.monotonic() + patience
        try:
            while True:
                try:
                    self.flush(max(patience, 10 * RETRY_SECONDS))
                    return self._losses()
                except OSError as error:
                    if time.monotonic() >= deadline:
                        return str(error)
                time.sleep(RETRY_SECONDS)
        finally:
            with self.changed:
                self.closing = True
                self.changed.notify_all()
            self.thread.join(10 * RETRY_SECONDS)

    def _losses(self) -> str:
        lacking = [way.name for way in self.ways if way.lost] if not self.lost else ["the record"]
        return f"{' and '.join(lacking)} could not be completed and lack points" if lacking else ""

    def _work(self) -> None:
        interval = self.run.beat_interval or None
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.closing or self.asked > self.begun, interval)
                if self.closing:
                    return
                self.begun += 1
            self._beat()
            with self.changed:
                self.done = self.begun
                self.changed.notify_all()

    def _beat(self) -> None:
        """Send each observer what it lacks; a failing one does not delay the others."""
        self.run._get_captured_output()
        reports = [self.reports.popleft() for _ in range(len(self.reports))]
        points, failed = points_of(reports), {}
        for way in self.ways:
            try:
                way.take(reports, points)
                way.deliver()
            except Exception as error:  # after any error the run continues
                failed[way.name] = error
        needed = [way.name for way in self.ways if way.needed and way.name in failed]
        self.problem = "; ".join(f"{name} cannot be written: {reason(failed[name])}" for name in needed)
        self._tell(failed)

    def _tell(self, failed: dict[str, Exception]) -> None:
        """Report once that something fails, and once that it works again. A full disk counts as one failure."""
        now: dict[str, set[str]] = {}
        for name, error in failed.items():
            now.setdefault(reason(error), set()).add(name)
        for why in now.keys() - self.troubles.keys():
            names = " and ".join(sorted(now[why]))
            self.say(f"{names} cannot be written: {why}; the run continues, and will try again")
        for why in self.troubles.keys() - now.keys():
            names = " and ".join(sorted(self.troubles[why]))
            lost = any(way.lost for way in self.ways)
            whole = "but points are missing there" if lost else "and nothing is missing there"
            self.say(f"{names} can be written again, {whole}")
        self.troubles = {why: names | self.troubles.get(why, set()) for why, names in now.items()}


def _end_sacreds_heartbeat(sacred_run: Any) -> None:
    """End Sacred's heartbeat thread, so that the run's end finds it ended."""
    if sacred_run._heartbeat is not None:
        sacred_run._heartbeat.func = lambda: None  # it would send a last heartbeat
        sacred_run._stop_heartbeat_event.set()
        sacred_run._heartbeat.join(PATIENCE)
    sacred_run._failed_observers.clear()
