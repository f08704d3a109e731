"""Ray's processes on this machine: finding and ending them, and a guard in case this process is killed."""

import subprocess
import sys
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import ray

from tandem.signals import deaf

GUARD = Path(__file__).with_name("guard.py")
SECONDS_TO_END = 15.0  # for Ray's own processes


def family() -> set[psutil.Process]:
    """Return all descendants of this process."""
    return set(psutil.Process().children(recursive=True))


def end(strangers: Collection[psutil.Process]) -> None:
    """End Ray and all other processes that were started here, except `strangers`, within twice SECONDS_TO_END."""
    mine = [process for process in family() if process not in strangers]
    hurry = threading.Timer(SECONDS_TO_END, kill, [mine])  # in case Ray waits for a process that does not end
    with deaf():
        hurry.start()
        try:
            ray.shutdown()
        finally:
            hurry.cancel()
            kill(psutil.wait_procs(mine, timeout=SECONDS_TO_END)[1])


def kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


class Guard:
    """The handle of guard.py's process."""

    def __init__(self, folder: Path, message: str):
        command = [sys.executable, str(GUARD), str(folder), message]
        self.popen = subprocess.Popen(
            command,
            start_new_session=True,  # out of reach of a terminal's Ctrl-C
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self.process = psutil.Process(self.popen.pid)

    def watch(self, processes: Iterable[psutil.Process]) -> None:
        """Make it end these processes, too, if this one is killed."""
        self._say(*(str(process.pid) for process in processes))

    def dismiss(self) -> None:
        self._say("done")
        with suppress(OSError):
            self.popen.stdin.close()
        self.popen.wait()

    def _say(self, *lines: str) -> None:
        with suppress(OSError):  # it was killed
            self.popen.stdin.writelines(f"{line}\n" for line in lines)
            self.popen.stdin.flush()


@contextmanager
def guarded(folder: Path, message: str) -> Iterator[Guard]:
    """If this process is killed within this context, a guard prints `message`, ends Ray and removes its folder."""
    guard = Guard(folder, message)
    try:
        yield guard
    finally:
        guard.dismiss()
