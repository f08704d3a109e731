"""What recording costs, and what a lost database does to a run: `python benchmarks/recording_cost.py`.

The reports are those of the main job in number and rate (a report of 33 metrics every 7 seconds, an evaluation in
every fourth), made by a runner that computes nothing, `--speedup` times as fast; heartbeats and uploads come
faster by the same factor. So all processor time beyond the bare loop is recording's. It is counted against one
core as if it all delayed training, though most of it is spent in other threads; how long the training thread
itself is held up is told apart.

In the second part the runner computes, and MongoDB is killed in the middle and started again after 30 seconds.
"""

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import harness
import numpy as np
from sacred import SETTINGS, Experiment

from tandem.core import Report
from tandem.records import mongo_place
from tandem.records.files import FileRecord
from tandem.records.mongo import INTERVAL, MongoMirror
from tandem.records.record import record
from tests.reference.mongod import Mongod

SECONDS_PER_REPORT, METRICS, STEPS = 7.0, 33, 2048
STATE = {
    "parameters": np.zeros(300_000, np.float32)
}  # what checkpoints are made of; the replay's share has a benchmark of its own
DOWN = 30.0  # seconds


def report(number: int) -> Report:
    """Return a report like the main job's."""
    metrics = {f"train/metric_{i}": float(np.sin(number * i)) for i in range(METRICS - 2)}
    if number % 4 == 0:
        metrics |= {"eval/search/return": float(number), "eval/policy/return": float(number)}
    return Report(STEPS * number, number, metrics)


def recorded(run: Callable, folder: Path, url: str | None, speedup: float, said: list[str]) -> None:
    """Drive a run as `python src/main.py` does, with the file record, TensorBoard and, with a URL, MongoDB."""
    config = {
        "name": "alg",
        "seed": 1,
        "t_max": 10**9,
        "max_minutes": 0.0,
        "env": "mpe",
        "env_args": {"scenario": "simple_spread"},
        "checkpoint_args": {"every_minutes": 5.0, "every_steps": 0, "keep_last": 2, "keep_best": True},
    }
    config["results_dir"] = str(folder)
    experiment = Experiment("tandem", save_git_info=False)
    experiment.logger = None
    experiment.add_config(config)
    experiment.observers.append(FileRecord(folder / "sacred"))
    if url:
        place = mongo_place.parse(url, "--mongo-url")
        experiment.observers.append(MongoMirror(place, folder / "sacred", interval=INTERVAL / speedup, say=said.append))

    @experiment.command
    def train(_run):
        return record(_run, config, run)

    experiment.run("train", options={"--beat-interval": 10.0 / speedup, "--loglevel": "ERROR"})


def cost(minutes: float, speedup: float, url: str | None, off: bool, folder: Path) -> tuple[float, float]:
    """Return (processor seconds, seconds that the training thread was held up) of a run's loop."""
    held, used = [], []

    def run(seed: int) -> Iterator:
        for number in range(1, int(60 * minutes / SECONDS_PER_REPORT) + 1):
            time.sleep(SECONDS_PER_REPORT / speedup)
            made = report(number)
            began = time.perf_counter()
            yield made, STATE
            held.append(time.perf_counter() - began)
        used.append(time.process_time())

    began = time.process_time()
    if off:
        for _ in run(1):
            pass
    else:
        recorded(run, folder, url, speedup, [])
        used.append(time.process_time())  # with the end of the run
    return used[-1] - began, sum(held)


def processor_seconds(pid: int) -> float:
    """Return the processor time that another process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def outage(server: Mongod, folder: Path) -> dict:
    """Return the speed of a computing run before, while and after MongoDB is down, and
    the points that are missing then.
    """
    phases: dict[str, list] = {"before": [], "down": [], "after": []}
    begun = time.monotonic()
    down = begun + DOWN
    said: list[str] = []

    def phase() -> str:
        now = time.monotonic()
        return "before" if now < down else "down" if now < down + DOWN else "after"

    def run(seed: int) -> Iterator:
        matrix = np.random.default_rng(0).normal(size=(64, 64))
        number = 0
        while time.monotonic() < down + 2 * DOWN:
            number += 1
            at, wall, cpu, own = phase(), time.perf_counter(), time.process_time(), time.thread_time()
            for _ in range(1000):
                matrix = np.tanh(matrix @ matrix / 8.0)
            yield report(number), STATE
            phases[at].append((time.perf_counter() - wall, time.process_time() - cpu, time.thread_time() - own))
        numbers.append(number)

    numbers: list[int] = []
    timers = [threading.Timer(DOWN, server.kill), threading.Timer(2 * DOWN, server.start)]
    for timer in timers:
        timer.start()
    recorded(run, folder, server.url("outage"), 1.0, said)
    database = mongo_place.open_lazily(mongo_place.parse(server.url("outage"), ""))
    stored = {one["name"]: len(one["steps"]) for one in database["metrics"].find()}
    database.client.close()
    wanted = {
        name: sum(name in report(number).metrics for number in range(1, numbers[0] + 1)) for name in report(4).metrics
    }
    result = {
        "reports": numbers[0],
        "missing_points": sum(wanted[name] - stored.get(name, 0) for name in wanted),
        "said": said,
    }
    for name, rows in phases.items():
        wall, cpu, own = (np.array(column) for column in zip(*rows, strict=True))
        result[name] = {
            "reports": len(rows),
            "median_seconds_per_report": float(np.median(wall)),
            "median_own_cpu_seconds_per_report": float(np.median(own)),
            "other_threads_share": float((cpu - own).sum() / wall.sum()),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of the run that is imitated")
    parser.add_argument("--speedup", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    SETTINGS.CAPTURE_MODE = "no"
    folder = Path(tempfile.mkdtemp(prefix="tandem-recording-"))
    server = Mongod(folder / "db").start()
    found: dict[str, list] = {"off": [], "file, TensorBoard": [], "file, TensorBoard, MongoDB": []}
    servers: dict[str, list] = {name: [] for name in found}
    try:
        for repeat in range(options.repeats):
            for name, rows in found.items():
                url = server.url(f"cost{repeat}") if "MongoDB" in name else None
                before = processor_seconds(server.process.pid)
                rows.append(cost(options.minutes, options.speedup, url, name == "off", folder / f"{repeat}{name[-7:]}"))
                servers[name].append(processor_seconds(server.process.pid) - before)
        lost = outage(server, folder / "outage")
    finally:
        server.kill()
    bare = statistics.median(cpu for cpu, _ in found["off"])
    seconds = 60 * options.minutes
    costs = {
        name: {
            "processor_share": (statistics.median(cpu for cpu, _ in rows) - bare) / seconds,
            "training_thread_held_up_share": statistics.median(held for _, held in rows) / seconds,
            "mongod_share": (statistics.median(servers[name]) - statistics.median(servers["off"])) / seconds,
        }
        for name, rows in found.items()
    }
    head = ["recording", "processor time, share of one core", "training thread held up", "mongod's own processor time"]
    print(
        harness.table(
            [[name, *(f"{100 * value:.2f} %" for value in row.values())] for name, row in costs.items()], head
        )
    )
    rows = [[name, *(f"{value:.4g}" for value in lost[name].values())] for name in ("before", "down", "after")]
    print(harness.table(rows, ["MongoDB", "reports", "s per report", "own processor s per report", "other threads"]))
    print(f"missing points: {lost['missing_points']} of {lost['reports']} reports")
    harness.write("recording_cost", {"settings": vars(options), "costs": costs, "outage": lost})


if __name__ == "__main__":
    main()
