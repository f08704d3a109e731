"""Signals while Ray starts and ends: it replaces handlers, and a signal in mid-end would leave processes behind."""

import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

TO_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def kept_handlers() -> Iterator[tuple[int, ...]]:
    """Give the signals that ask to stop, none outside the main thread, and put their handlers back afterwards."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in TO_STOP} if main else {}
    try:
        yield tuple(before)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def own_signals() -> Iterator[None]:
    """Keep this process's signal handlers, which Ray replaces when it starts, and drop warnings about its forks."""
    with kept_handlers(), warnings.catch_warnings():  # a fork by Ray becomes another program at once
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        yield


@contextmanager
def deaf() -> Iterator[None]:
    """Pass over the signals that ask to stop meanwhile, in the main thread: what is half ended would be left behind."""
    with kept_handlers() as numbers:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        yield
