"""How a process is asked to stop: Ctrl-C (SIGINT), SIGTERM and a closed terminal (SIGHUP).

Code that handles these signals uses one of the contexts below:

| who | context | what a signal does |
|---|---|---|
| any command | `handled(interrupt)` | it raises KeyboardInterrupt |
| a training run | `Stopping` | the run ends at its next report and saves itself; a second one ends it at once |
| a batch | `Counted` | it is counted; the loop that watches the runs ends them, and kills them at a second one |
| a sweep | `handled` | its trials end and save themselves; a second one does not wait for them |
| Ray, while it starts | `kept` | what it did before, because Ray's own handlers are removed |
| Ray, while it ends | `deaf` | nothing, because half-ended processes would remain |
"""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DEAF_SECONDS = 10.0  # after a second signal that Python cannot handle because native code does not return
INTERRUPTED = 130  # exit status


def heeded() -> list[signal.Signals]:
    """Return the signals that stop this process; ignored signals (SIGHUP under nohup) stay ignored."""
    return [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]


@contextlib.contextmanager
def handled(handler: Callable[[int, Any], Any]) -> Iterator[None]:
    """Within this context the signals that stop a process call the handler."""
    before = {number: signal.signal(number, handler) for number in heeded()}
    try:
        yield
    finally:
        for number, former in before.items():
            if former is not None:  # set by code other than Python
                signal.signal(number, former)


def interrupt(number: int, frame: Any) -> None:
    """Handle a signal as Python handles Ctrl-C."""
    raise KeyboardInterrupt


@contextlib.contextmanager
def kept() -> Iterator[tuple[signal.Signals, ...]]:
    """Yield the stop signals, none outside the main thread, and restore their handlers afterwards."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in SIGNALS} if main else {}
    try:
        yield tuple(before)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def deaf() -> Iterator[None]:
    """Ignore stop signals within this context, in the main thread."""
    with kept() as numbers:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        yield


class Counted:
    """Within this context stop signals are only counted.

    Nothing is raised, because that could happen between the start of a run and the note that it has started. Ignored
    signals (SIGHUP under nohup, SIGINT of a background job) stay ignored.
    """

    def __init__(self):
        self.count = 0

    def __enter__(self) -> "Counted":
        self.context = handled(self._handle)
        self.context.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.context.__exit__(*error)

    def _handle(self, number: int, frame: Any) -> None:
        self.count += 1


class Stopping:
    """Within this context a signal asks the run to stop at its next report, so that its state can be saved.

    A second signal stops at once, and so does one before the first report, when there is nothing to lose.
    If Python cannot handle the second one, because native code (a compilation) does not return, the process
    is ended after a while.
    """

    def __init__(self):
        self.asked = False
        self.reported = False  # set by the code that drives the run
        self.patient = True  # not asked to end at once
        self.heard = threading.Event()  # a second signal, or the first if that is enough

    def __enter__(self) -> "Stopping":
        self.context = contextlib.ExitStack()
        ours, pythons = socket.socketpair()
        pythons.setblocking(False)
        before = signal.set_wakeup_fd(pythons.fileno(), warn_on_full_buffer=False)
        self.context.callback(pythons.close)
        self.context.callback(signal.set_wakeup_fd, before)
        self.context.enter_context(handled(self._handle))
        threading.Thread(target=self._watch, args=(ours,), name="signals", daemon=True).start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.heard.set()
        self.context.close()

    def _handle(self, number: int, frame: Any) -> None:
        at_once = self.asked or not self.reported
        # Set even if a library's callback swallows the exception, so that the next report is the last
        self.asked = True
        if at_once:
            self.patient = False
            self.heard.set()
            raise KeyboardInterrupt

    def _watch(self, signals: socket.socket) -> None:
        """Count the signals that the system delivered, whether Python has handled them or not."""
        count = 0
        with signals:
            while count < 2:
                numbers = signals.recv(64)
                if not numbers:  # the context has ended
                    return
                count += sum(number in SIGNALS for number in numbers)
            if not self.heard.wait(DEAF_SECONDS):
                os.write(2, b"the run does not answer: it is ended at once, without being saved\n")
                os._exit(INTERRUPTED)
