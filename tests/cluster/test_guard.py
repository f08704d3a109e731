"""The process beside Ray: what it ends and says if Ray's owner is killed, and that it keeps quiet otherwise."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from tandem.cluster.processes import Guard

LONG = [sys.executable, "-c", "import time; time.sleep(600)"]
OWNER = """
import sys, time, psutil
from pathlib import Path
from tandem.cluster.processes import Guard
guard = Guard(Path(sys.argv[1]), "the message")
guard.watch([psutil.Process(int(sys.argv[2]))])
print(guard.process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def watched():
    with subprocess.Popen(LONG) as process:
        yield process
        process.kill()


def test_a_killed_owners_processes_end_its_folder_goes_and_its_message_is_said(tmp_path, watched):
    folder = tmp_path / "of-ray"
    folder.mkdir()
    command = [sys.executable, "-c", OWNER, str(folder), str(watched.pid)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as owner:
        guard = psutil.Process(int(owner.stdout.readline()))
        assert os.getsid(guard.pid) == guard.pid  # out of reach of the terminal's Ctrl-C
        owner.kill()
        said = owner.stderr.read()  # ends when the guard has closed it, too
    assert watched.wait(20) == -signal.SIGKILL and said == "\nthe message\n" and not folder.exists()


def test_a_guard_that_is_dismissed_ends_nothing(tmp_path, watched):
    guard = Guard(tmp_path, "the message")
    guard.watch([psutil.Process(watched.pid)])
    guard.dismiss()
    assert watched.poll() is None and tmp_path.exists() and guard.popen.returncode == 0


def test_a_guard_that_was_killed_itself_holds_nobody_up(tmp_path, watched):
    guard = Guard(tmp_path, "the message")
    guard.process.kill()
    guard.popen.wait()
    guard.watch([psutil.Process(watched.pid)])
    guard.dismiss()
    assert watched.poll() is None
