"""Training runs as separate processes: starting them on their cores, ending them and waiting for them."""

import os
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import IO

from tandem.signals import Counted

MAIN = Path(__file__).resolve().parent.parent / "main.py"
POLL_SECONDS = 0.2
PATIENCE = 60.0  # seconds that a run gets to write its record and checkpoint


def start(
    words: Sequence[str],
    log: IO,
    cores: Collection[int] = (),
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen:
    """Start `python src/main.py WORDS` with its output in `log`, in a session of its own: Ctrl-C does not reach it.

    It uses only `cores` if any are named. If the caller is killed, the run continues and its log stays locked.
    """
    before = os.sched_getaffinity(0)
    try:
        if cores:
            os.sched_setaffinity(0, cores)  # of this thread, for its children to inherit
        return subprocess.Popen(
            [sys.executable, str(MAIN), *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    finally:
        os.sched_setaffinity(0, before)


def end(processes: Collection[subprocess.Popen], signals: Counted, patience: float = PATIENCE) -> None:
    """Let the runs end as on Ctrl-C; those that have not after `patience` seconds, or at another signal, are killed."""
    for process in processes:
        process.terminate()
    deadline, before = time.monotonic() + patience, signals.count
    while any(process.poll() is None for process in processes):
        if time.monotonic() > deadline or signals.count > before:
            break
        time.sleep(POLL_SECONDS)
    for process in processes:
        process.kill()
        process.wait()


def last_line(log: Path) -> str:
    """Return the last line of a log that is not empty."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4000))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
