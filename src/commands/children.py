"""Training runs as processes of their own: started on their cores, told to end, waited for."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

MAIN = Path(__file__).resolve().parent.parent / "main.py"
PATIENCE = 60.0  # seconds that a run gets to write its record and checkpoint
LIBC = ctypes.CDLL(None)  # loaded here, for nothing may be loaded between fork and exec
PR_SET_PDEATHSIG = 1


def start(
    words: Sequence[str],
    log: IO,
    cores: Collection[int] = (),
    environment: Mapping[str, str] | None = None,
    bound: bool = False,
) -> subprocess.Popen:
    """Start `python src/main.py WORDS` with its output in `log`, in a session of its own: Ctrl-C does not reach it.

    It computes on `cores` if any are named. A `bound` one gets SIGTERM should the calling thread die.
    """
    before = os.sched_getaffinity(0)
    try:
        if cores:
            os.sched_setaffinity(0, cores)  # of this thread, for its children to inherit
        return subprocess.Popen(
            [sys.executable, str(MAIN), *words], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})}, start_new_session=True, preexec_fn=_bind if bound else None,
        )
    finally:
        os.sched_setaffinity(0, before)


def _bind() -> None:
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def end(processes: Collection[subprocess.Popen], patience: float = PATIENCE) -> None:
    """Let the runs end as on Ctrl-C; those that have not after `patience` seconds, or at a second Ctrl-C, are killed."""
    for process in processes:
        process.terminate()
    try:
        deadline = time.monotonic() + patience
        for process in processes:
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        pass
    for process in processes:
        process.kill()
        process.wait()


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within this context SIGTERM and a closed terminal do what Ctrl-C does."""

    def interrupt(signum: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def last_line(log: Path) -> str:
    """Return the last line of a log that says something."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4000))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
