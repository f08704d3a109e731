"""A disk that takes nothing for a while: for tests of what a run keeps of its record then."""

import errno
import os
from pathlib import Path
from typing import Any


class FullDisk:
    """While `full`, nothing can be renamed into its place nor brought to the disk, under the folder alone."""

    def __init__(self, monkeypatch: Any, folder: Path):
        self.full, self.folder = False, str(folder)
        replace, fsync = Path.replace, os.fsync

        def refuse(path: str) -> None:
            if self.full and path.startswith(self.folder):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

        def checked_replace(path: Path, target: Path) -> Any:
            refuse(str(path))
            return replace(path, target)

        def checked_fsync(handle: int) -> None:
            refuse(os.readlink(f"/proc/self/fd/{handle}"))
            fsync(handle)

        monkeypatch.setattr(Path, "replace", checked_replace)
        monkeypatch.setattr(os, "fsync", checked_fsync)
