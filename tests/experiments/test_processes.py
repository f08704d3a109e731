"""Runs as processes: how they are ended."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tandem.experiments import processes
from tandem.signals import Counted

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
OBEDIENT = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(130)); "
    "print(flush=True); time.sleep(600)"
)


@pytest.fixture
def start():
    """Return a function that starts a program and waits until it is ready."""
    started = []

    def start(program):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        started.append(process)
        process.stdout.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_runs_end_as_on_ctrl_c_and_those_that_do_not_are_killed_in_the_end(start):
    obedient, stubborn = start(OBEDIENT), start(STUBBORN)
    with Counted() as signals:
        processes.end([obedient, stubborn], signals, patience=1.0)
    assert (obedient.returncode, stubborn.returncode) == (130, -signal.SIGKILL)


def test_another_signal_kills_at_once(start):
    stubborn = start(STUBBORN)
    begun = time.monotonic()
    with Counted() as signals:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        processes.end([stubborn], signals)
    assert stubborn.returncode == -signal.SIGKILL and time.monotonic() - begun < processes.PATIENCE / 2
