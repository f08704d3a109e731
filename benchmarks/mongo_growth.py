"""What MongoDB's copy of a run costs as the run grows, and whether it is right: `python benchmarks/mongo_growth.py`.

First, rounds of the mirror at growing lengths: each adds one report of 48 metrics. Told are the processor time of the
round, its wall time, mongod's processor time, and this process's memory. The share of a core follows from how long the
mirror pauses after such a round.

Second, a run of `--reports` reports in which mongod is restarted, stopped (SIGSTOP) and killed: how many series of the
database differ from those of the run's folder in any point or in their order.
"""

import argparse
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import harness
import numpy as np
import recording_cost
from pymongo.errors import PyMongoError
from sacred import SETTINGS

from tandem.records import mongo, mongo_place, series
from tandem.records.mongo_upload import Upload
from tests.reference.mongo_runs import differing
from tests.reference.mongod import Mongod

METRICS, BLOCK, ROUNDS = 48, 2_000, 15
PATIENCE = 120.0  # seconds until a run must have noticed that its server is away
SECONDS_PER_REPORT = 0.004  # of the second part
START = datetime(2026, 1, 1)


def block(begin: int, end: int) -> dict[str, series.Series]:
    """Return reports [begin, end) of 48 metrics."""
    steps, found = range(begin, end), {}
    for metric in range(METRICS):
        found[f"train/metric_{metric}"] = made = series.Series()
        times = (START + timedelta(seconds=7 * step) for step in steps)
        made.extend(steps, np.sin(np.arange(begin, end) * (metric + 1)), times)
    return found


def one_report(seed: int) -> Iterator:
    yield recording_cost.report(1), recording_cost.STATE


def memory() -> float:
    """Return this process's resident memory, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def insist(work: Upload) -> None:
    """Bring the database up to date, again where a busy machine makes the driver give up."""
    while True:
        try:
            return work.sync(final=False)
        except PyMongoError:
            time.sleep(1.0)


def growth(server: Mongod, folder: Path, lengths: list[int]) -> list[dict]:
    """Return what a round costs with so many reports."""
    recording_cost.recorded(one_report, folder, None, 100.0, [])
    database = mongo_place.open_lazily(mongo_place.parse(server.url("growth"), ""))
    work, length, rows = Upload(folder / "sacred" / "1", database), 0, []
    for target in lengths:
        while length < target:
            end = min(target, length + BLOCK)
            work.documents.add(block(length, end))
            insist(work)
            length = end
        used = []
        for _ in range(ROUNDS):
            work.documents.add(block(length, length + 1))
            length += 1
            theirs = recording_cost.processor_seconds(server.process.pid)
            began, cpu = time.monotonic(), time.thread_time()
            insist(work)
            own, wall = time.thread_time() - cpu, time.monotonic() - began
            used.append((own, wall, recording_cost.processor_seconds(server.process.pid) - theirs))
        own, wall, theirs = np.mean(used, axis=0)
        pause = max(mongo.INTERVAL, mongo.pause(own, work.touched))
        row = {"reports": target, "own_cpu": own, "wall": wall, "mongod_cpu": theirs, "pause": pause}
        row |= {"own_share": own / (pause + wall), "mongod_share": theirs / (pause + wall), "memory_mb": memory()}
        rows.append(row)
    database.client.close()
    return rows


def disturbed(server: Mongod, reports: int, said: list[str]) -> Callable[[int], Iterator]:
    """Return a runner during whose reports mongod is restarted, stopped and killed, each until the run has noticed.

    Args:
      said: what the mirror said, which grows when it notices.

    Every 400th report has the best evaluation so far, so that checkpoints are written now and then.
    """

    def notice(before: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while len(said) == before and time.monotonic() < deadline:
            time.sleep(0.1)

    def restart() -> None:
        before = len(said)
        server.process.terminate()
        server.process.wait()
        notice(before)
        server.start()

    def stop() -> None:
        before = len(said)
        server.process.send_signal(signal.SIGSTOP)
        notice(before)
        server.process.send_signal(signal.SIGCONT)

    def kill() -> None:
        before = len(said)
        server.kill()
        notice(before)
        server.start()

    events = {reports // 4: restart, reports // 2: stop, 3 * reports // 4: kill}

    def run(seed: int) -> Iterator:
        for number in range(1, reports + 1):
            events.get(number, lambda: time.sleep(SECONDS_PER_REPORT))()
            made = recording_cost.report(number)
            returns = {
                name: -value for name, value in made.metrics.items() if name.startswith("eval/") and number % 400
            }
            yield made._replace(metrics=made.metrics | returns), recording_cost.STATE

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="*", default=[1_000, 10_000, 30_000, 100_000])
    parser.add_argument("--reports", type=int, default=30_000)
    options = parser.parse_args()
    SETTINGS.CAPTURE_MODE = "no"
    folder = Path(tempfile.mkdtemp(prefix="tandem-growth-"))
    server, said = Mongod(folder / "db").start(), []
    try:
        rows = growth(server, folder / "growth", options.lengths)
        began = time.monotonic()
        run = disturbed(server, options.reports, said)
        recording_cost.recorded(run, folder / "run", server.url("run"), 20.0, said)
        took = time.monotonic() - began
        database = mongo_place.open_lazily(mongo_place.parse(server.url("run"), ""))
        differ = differing(database, folder / "run" / "sacred" / "1")
        database.client.close()
    finally:
        server.kill()
    if rows:
        print(harness.table([[f"{value:.4g}" for value in row.values()] for row in rows], list(rows[0])))
    print(f"{options.reports} reports in {took:.0f} s; series that differ from the folder's: {len(differ)}", *differ)
    print(*said, sep="\n")
    harness.write("mongo_growth", {"settings": vars(options), "rounds": rows, "differ": differ})


if __name__ == "__main__":
    main()
