"""A small process beside Ray. If the process that started Ray is killed, it reports this and ends Ray's processes.

Started as `python guard.py FOLDER MESSAGE`. Each line of its input is the id of a process to look after, or "done" once
everything has ended as it should. The input ends without that word when the process that writes it is killed.
"""

import contextlib
import shutil
import sys
from collections.abc import Iterable

import psutil


def main(folder: str, message: str, lines: Iterable[str]) -> None:
    processes = []
    for line in lines:
        if line.strip() == "done":
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            processes.append(psutil.Process(int(line)))  # knows when it began, so a later one with its id is left alone
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    shutil.rmtree(folder, ignore_errors=True)
    sys.stderr.write(f"\n{message}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.stdin)
