"""Writing to a disk that may be full or unreachable for a while, without partial files and without losses."""

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tandem.core import RunError

PATIENCE = 60.0  # seconds that a run waits for a failing disk, at its start and at its end
RETRY_SECONDS = 1.0
# Errors that may pass: a full disk or quota, an unreachable network disk. Other errors are permanent.
PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENETUNREACH, errno.EHOSTDOWN}
Result = TypeVar("Result")


def tell(text: str) -> None:
    """Print a line for the user; a closed screen raises no error."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def reason(error: BaseException) -> str:
    """Return an error in a few words, without the path, because the surrounding sentence names it."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def insist(
    what: str, call: Callable[[], Result], say: Callable[[str], None] = tell, patience: float = PATIENCE
) -> Result:
    """Return the result of `call`, which is repeated while the disk is full or unreachable; this is reported once.

    Raises:
      OSError: the disk failed for `patience` seconds, or the error is permanent.
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
    """Return the result of `call`, without which no run can start; see `insist`.

    Raises:
      RunError: it failed permanently; the text says what to do.
    """
    try:
        return insist(what, call, say)
    except OSError as error:
        instead = "make room there or name another results_dir=..."
        raise RunError(f"{what} cannot be written: {reason(error)}; nothing has been trained; {instead}") from error


class Appended:
    """A file that grows by whole pieces: each is written entirely or not at all, even if the disk is full."""

    def __init__(self, path: Path):
        self.path = path
        self.size: int | None = None  # valid bytes; None = not opened yet, so that the file may be created

    def write(self, piece: bytes) -> None:
        """Append a piece and flush it to the disk.

        Raises:
          OSError: this failed; the file is unchanged, or will be restored at the next attempt.
        """
        if self.size is None:
            self._make()
        with open(self.path, "r+b", buffering=0) as file:
            if os.fstat(file.fileno()).st_size < self.size:
                raise OSError(errno.EIO, "the file is shorter than what was written to it", str(self.path))
            file.truncate(self.size)  # remains of an earlier attempt
            file.seek(self.size)
            try:
                self._append(file, piece)
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(self.size)
                raise
        self.size += len(piece)

    def _make(self) -> None:
        """Open the file for the first time. A file that is missing later was moved away, and is not created again."""
        with open(self.path, "ab") as file:
            self.size = file.tell()

    def _append(self, file, piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
