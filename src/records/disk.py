"""Writing to a disk that may be full for a while, or away: nothing half written, and nothing lost that memory holds."""

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tandem.core import RunError

PATIENCE = 60.0  # seconds that a run waits, at its start and at its end, for a disk that takes nothing
RETRY_SECONDS = 1.0
# What may pass: a full disk or quota, a network disk that is away. Other errors are there to stay.
PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENETUNREACH, errno.EHOSTDOWN}
Result = TypeVar("Result")


def tell(text: str) -> None:
    """Say something to whoever watches; a screen that is gone ends nothing."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def reason(error: BaseException) -> str:
    """Return in a few words what went wrong, without the path, which the sentence around it names."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def insist(
    what: str, call: Callable[[], Result], say: Callable[[str], None] = tell, patience: float = PATIENCE
) -> Result:
    """Return what `call` returns, which is called again and again while the disk is full or away; this is said once.

    Raises:
      OSError: the disk took nothing for `patience` seconds, or the error is not one that passes.
    """
    deadline, told = time.monotonic() + patience, False
    while True:
        try:
            return call()
        except OSError as error:
            if error.errno not in PASSING or time.monotonic() >= deadline:
                raise
            if not told:
                say(f"{what} cannot be written: {reason(error)}; it is tried again for {patience:.0f} seconds")
            told = True
            time.sleep(RETRY_SECONDS)


def need(what: str, call: Callable[[], Result], say: Callable[[str], None] = tell) -> Result:
    """Return what `call` returns, without which no run can start; see `insist`.

    Raises:
      RunError: it failed for good; the text says what to do.
    """
    try:
        return insist(what, call, say)
    except OSError as error:
        instead = "make room there or name another results_dir=..."
        raise RunError(f"{what} cannot be written: {reason(error)}; nothing has been trained: {instead}") from error


class Appended:
    """A file that grows by whole pieces: a piece is there entirely or not at all, also where the disk is full."""

    def __init__(self, path: Path):
        self.path = path
        self.size: int | None = None  # bytes that are good; None = not opened yet, where the file may be made

    def write(self, piece: bytes) -> None:
        """Append a piece and see that it is on the disk.

        Raises:
          OSError: it is not; the file is as it was before, or will be made so at the next attempt.
        """
        if self.size is None:
            self._make()
        with open(self.path, "r+b", buffering=0) as file:
            if os.fstat(file.fileno()).st_size < self.size:
                raise OSError(errno.EIO, "the file is shorter than what was written to it", str(self.path))
            file.truncate(self.size)  # what an attempt before may have left
            file.seek(self.size)
            try:
                self._append(file, piece)
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(self.size)
                raise
        self.size += len(piece)

    def _make(self) -> None:
        """Open the file for the first time: later a file that is missing has been moved away, and is not made anew."""
        with open(self.path, "ab") as file:
            self.size = file.tell()

    def _append(self, file, piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
