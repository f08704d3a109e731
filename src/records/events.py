"""TensorBoard's event file, written by the caller: tensorboardX makes the events, but its
threads do not write them.

tensorboardX's writer has a thread behind a queue of ten. A disk error ends this thread. Then the queue fills, and the
next writer waits forever.
"""

import socket
import struct
import threading
import time
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c

from tandem.records.disk import Appended

VERSION = "brain.Event:2"
MOST_WAITING = 64_000_000  # bytes of events that are kept while the disk fails; further events are dropped


class EventFile:
    """One event file; `add` never waits, `flush` writes."""

    def __init__(self, folder: Path, suffix: str = "", purge_step: int | None = None):
        """Args: purge_step: TensorBoard hides the points of earlier files in the folder from this step on."""
        name = f"events.out.tfevents.{str(time.time())[:10]}.{socket.gethostname()}{suffix}"
        self.file = Appended(folder / name)
        self.lock = threading.Lock()
        self.waiting: list[bytes] = []
        self.bytes_waiting = 0
        self.dropped = 0
        self._put(Event(file_version=VERSION, wall_time=time.time()))
        if purge_step is not None:
            for event in (Event(file_version=VERSION), Event(session_log=SessionLog(status=SessionLog.START))):
                event.step, event.wall_time = purge_step, time.time()
                self._put(event)

    def add(self, summary: Summary, step: int, at: float | None = None) -> None:
        """Add a summary; `at` is its displayed time, in seconds since 1970."""
        self._put(Event(summary=summary, step=int(step), wall_time=time.time() if at is None else at))

    def _put(self, event: Event) -> None:
        data = event.SerializeToString()
        header = struct.pack("<Q", len(data))
        record = header + struct.pack("<I", masked_crc32c(header)) + data + struct.pack("<I", masked_crc32c(data))
        with self.lock:
            if self.bytes_waiting + len(record) > MOST_WAITING:
                self.dropped += 1
                return
            self.waiting.append(record)
            self.bytes_waiting += len(record)

    def flush(self) -> None:
        """Write everything that was added to the disk.

        Raises:
          OSError: this failed; the data are kept for the next attempt.
        """
        with self.lock:
            taken, self.waiting, self.bytes_waiting = self.waiting, [], 0
        try:
            if self.file.size is None:  # only now, because a folder that is missing later was moved away
                self.file.path.parent.mkdir(parents=True, exist_ok=True)
            if taken:
                self.file.write(b"".join(taken))
        except OSError:
            with self.lock:
                self.waiting = taken + self.waiting
                self.bytes_waiting = sum(map(len, self.waiting))
            raise
