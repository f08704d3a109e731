"""What the main job notes of MongoDB being killed for half a minute: `python
benchmarks/mongod_outage.py`, four minutes.

Environment steps per second of its reports before, while and after the server is down, and how many series differ
afterwards between the database and the run's files.
"""

import argparse
import datetime
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness
import pymongo

from tests.reference.mongod import Mongod

BEFORE, DOWN = 50.0, 30.0  # seconds of training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="mazero_seq")
    parser.add_argument("--env-config", default="mpe")
    parser.add_argument("--minutes", type=float, default=3.0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tandem-outage-"))
    server = Mongod(folder / "db").start()
    try:
        metrics, killed, back = run(options, server, folder)
        with pymongo.MongoClient(server.url("outage")) as client:
            differ = differing(client["outage"], metrics)
    finally:
        server.kill()
    speeds = phases(metrics["time/steps_per_second"], killed, back)
    rows = [[phase, len(values), f"{statistics.mean(values):.0f}"] for phase, values in speeds.items()]
    print(harness.table(rows, ["MongoDB", "reports", "environment steps/s"]))
    print(f"series that differ from the files: {differ} of {len(metrics)}")
    harness.write(
        "mongod_outage", {"settings": vars(options), "speeds": speeds, "series": len(metrics), "differ": differ}
    )


def run(options: argparse.Namespace, server: Mongod, folder: Path) -> tuple[dict, float, float]:
    """Train, the server killed in the middle; return the metrics' file and when (Unix
    seconds) it was killed and back.
    """
    words = [
        f"mongo_url={server.url('outage')}",
        f"results_dir={folder}",
        f"max_minutes={options.minutes}",
        "video=false",
    ]
    words += ["eval_args.every=1000000000"]  # one evaluation, at the end: reports are alike
    command = [
        sys.executable,
        harness.ROOT / "src" / "main.py",
        f"--config={options.config}",
        f"--env-config={options.env_config}",
    ]
    path = folder / "sacred" / "1" / "metrics.json"  # written as the points double, and whole at the end
    with subprocess.Popen([*command, "with", *words]) as process:
        while process.poll() is None and not (path.exists() and "time/steps_per_second" in path.read_text()):
            time.sleep(0.5)
        time.sleep(BEFORE)
        killed = time.time()
        server.kill()
        time.sleep(DOWN)
        server.start()
        back = time.time()
    assert process.returncode == 0, f"the run ended with {process.returncode}"
    return json.loads(path.read_text()), killed, back


def phases(series: dict, killed: float, back: float) -> dict[str, list[float]]:
    """Return a series' values by when they came."""
    found: dict[str, list[float]] = {"before": [], "down": [], "after": []}
    for stamp, value in zip(series["timestamps"], series["values"], strict=True):
        at = datetime.datetime.fromisoformat(stamp).replace(tzinfo=datetime.UTC).timestamp()
        found["before" if at < killed else "down" if at < back else "after"].append(value)
    return found


def differing(database: pymongo.database.Database, metrics: dict) -> int:
    """Return how many series of the files the database has not in the same steps and values."""
    stored = {series["name"]: (series["steps"], series["values"]) for series in database.metrics.find()}
    return sum(stored.get(name) != (series["steps"], series["values"]) for name, series in metrics.items())


if __name__ == "__main__":
    main()
