"""A small process beside a run with actors: if the run is killed without a word it says so, and ends what is left of Ray.

Started as `python ray_guard.py PID FOLDER PIDS...`; its input ends when the run does, and says "done" if it ended by itself.
"""

import contextlib
import os
import shutil
import signal
import sys

MESSAGE = (
    "\nThe learner's process {pid} was killed (by hand, or for want of memory), and with it the run. "
    "`python src/main.py train --resume=RUN` goes on from its last checkpoint.\n"
)


def main(words: list[str]) -> None:
    if sys.stdin.readline().strip() == "done":
        return
    for pid in words[2:]:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(int(pid), signal.SIGKILL)
    shutil.rmtree(words[1], ignore_errors=True)
    sys.stderr.write(MESSAGE.format(pid=words[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
