"""Runs a command that ends with the process that started it: `python tied.py COMMAND...`; needs only Python.

Standard input is the tether: once it is closed, on purpose or because the process that held it was killed, the command
gets SIGTERM, once, and SIGKILL if it has not ended after PATIENCE seconds. A trial needs this because Ray kills the
children of its workers without warning, and because a run that gets a second signal stops without saving.
The command's output goes to standard error; standard output says its exit status.
"""

import os
import select
import subprocess
import sys

PATIENCE = 60.0  # seconds that a run gets to write its record and checkpoint
POLL_SECONDS = 0.2


def main(command: list[str]) -> None:
    """Run the command to its end in a detached process, and report its exit status."""
    if os.fork():  # the starter and its children may be killed, but not the children of this process
        os._exit(0)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, stderr=sys.stderr)
    while process.poll() is None:
        if select.select([sys.stdin], [], [], POLL_SECONDS)[0]:  # nothing is ever written there, so it was closed
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    try:
        os.write(1, f"{process.returncode}\n".encode())
    except BrokenPipeError:  # no process is left to read it
        pass


if __name__ == "__main__":
    main(sys.argv[1:])
