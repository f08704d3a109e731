"""How a process is told to stop."""

import os
import signal
import subprocess
import sys

import pytest

from tandem import signals

DEAF = """
import ctypes, sys
from tandem import signals
signals.DEAF_SECONDS = 0.3
lock, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)
with signals.Stopping() as stop:
    stop.reported = True
    print("ready", flush=True)
    libc.pthread_mutex_lock(lock)
    libc.pthread_mutex_lock(lock)  # native code that never comes back: Python hears no signal
"""


def test_a_second_signal_ends_a_process_whose_native_code_does_not_come_back():
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", DEAF], **pipes) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == signals.INTERRUPTED and "does not answer" in process.stderr.read()
        finally:
            process.kill()


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_the_first_signal_asks_and_the_second_does_not_wait(number):
    with signals.Stopping() as stop:
        stop.reported = True
        os.kill(os.getpid(), number)
        assert stop.asked and stop.patient
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        assert not stop.patient


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_outside_a_run_every_signal_is_as_ctrl_c_unless_it_is_ignored(number):
    before = signal.getsignal(number)
    with signals.handled(signals.interrupt), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
    signal.signal(number, signal.SIG_IGN)  # as under nohup
    try:
        with signals.Stopping() as stop:
            os.kill(os.getpid(), number)
        assert not stop.asked and signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_signals_are_counted_and_ignored_ones_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with signals.Counted() as counted:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(os.getpid(), number)
        assert counted.count == 2
    finally:
        signal.signal(signal.SIGHUP, before)
