"""What the benchmarks share: start runs as a user would, read their records back, and write the result down."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for what benchmarks take from tandem and tests
RESULTS = ROOT / "benchmarks" / "results"


def train(folder: Path, config: str, env_config: str, settings: Sequence[str], cores: set[int] | None = None) -> None:
    """Train in a process of its own, on `cores` only, recording under `folder`; raises if the run fails."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "src/main.py", f"--config={config}", f"--env-config={env_config}", "with"]
    with open(folder / "log.txt", "w") as log:
        subprocess.run(
            [*command, f"results_dir={folder}", *settings],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=True,
            preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
        )


def train_many(runs: Sequence[tuple[Path, str, str, Sequence[str]]], jobs: int) -> None:
    """Train all runs but those whose folder holds a completed one of the same settings, `jobs` at a time.

    With more than one at a time each gets its own share of the cores. Raises SystemExit if a folder holds another run.
    """
    available = sorted(os.sched_getaffinity(0))
    shares: Queue = Queue()
    for job in range(jobs):
        shares.put(set(available[job::jobs]) or set(available))

    def one(run):
        if completed(*run):
            return
        share = shares.get()
        try:
            train(*run, cores=share if jobs > 1 else None)
        finally:
            shares.put(share)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, runs))


def completed(folder: Path, config: str, env_config: str, settings: Sequence[str]) -> bool:
    """Return whether a run recorded under `folder` came to its end; raises SystemExit
    if it was one of other settings.
    """
    from tandem.analysis.identity import as_asked, differences, essence
    from tandem.config import commandline, loader

    ended = [
        path
        for path in (folder / "sacred").glob("[0-9]*/run.json")
        if json.loads(path.read_text())["status"] == "COMPLETED"
    ]
    if not ended:
        return False
    asked = loader.load(config, env_config, commandline.updates(settings))
    for path in ended:
        recorded = as_asked(json.loads(path.with_name("config.json").read_text()), asked)
        there, here = differences([essence(recorded), essence(asked)])
        if there:
            raise SystemExit(
                f"{path.parent} is a run of other settings; name another --folder\n  there: {there}\n  asked: {here}"
            )
    return True


def metrics(folder: Path) -> dict[str, dict[str, list]]:
    """Return {metric: {"steps": [...], "values": [...]}} of the newest record under `folder`."""
    records = sorted((folder / "sacred").glob("[0-9]*"), key=lambda path: int(path.name))
    return json.loads((records[-1] / "metrics.json").read_text())


def curve(folder: Path, name: str) -> Iterator[tuple[int, float]]:
    """Yield (environment step, value) of a metric."""
    series = metrics(folder)[name]
    yield from zip(series["steps"], series["values"], strict=True)


def last(folder: Path, name: str) -> float:
    """Return a metric's last value."""
    return metrics(folder)[name]["values"][-1]


def machine() -> dict[str, object]:
    """Return what a reader needs to place a measurement."""
    import jax

    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def write(name: str, result: dict) -> None:
    """Write a result to benchmarks/results/<name>.json."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **result}, indent=1) + "\n")
    print(f"\nwritten: {path.relative_to(ROOT)}")


def keep_cells(name: str, new: Sequence[dict], keys: Sequence[str]) -> None:
    """Write the cells of a table; those measured before remain, but where a new one has the same values of `keys`."""
    path = RESULTS / f"{name}.json"
    old = json.loads(path.read_text())["cells"] if path.exists() else []
    found = {tuple(cell[key] for key in keys): cell for cell in [*old, *new]}
    write(name, {"cells": [found[key] for key in sorted(found)]})


def table(rows: Sequence[Sequence[object]], head: Sequence[str]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)
