"""A run's name and the places of its records."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from tandem.records import checkpoint_folder


def title(config: Mapping[str, Any]) -> str:
    """Return a run's title in one line."""
    return f"{config['name']} on {task(config)}, seed {config['seed']}"


def task(config: Mapping[str, Any]) -> str:
    """Return the environment and its task: "mpe/simple_spread"."""
    scenario = config["env_args"].get("scenario", config["env_args"].get("map_name"))
    return f"{config['env']}/{scenario}" if scenario else config["env"]


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file so that at any moment it has either the complete old or the complete new content."""
    replace_with(path, lambda file: file.write(content), "wb" if isinstance(content, bytes) else "w")


def replace_with(path: Path, write: Callable[[IO], Any], mode: str = "w") -> None:
    """Replace a file so that at any moment it has either the complete old or the complete new content."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with open(partial, mode) as file:
            write(file)
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # on a full disk it would take up space for the next attempt
            partial.unlink(missing_ok=True)
        raise


class Places:
    """The places of a run's records."""

    def __init__(self, config: Mapping[str, Any], run_id: str | None, curves: str | None = None):
        """Args: curves: folder of a resumed run's curves, under the results folder; None = a new one."""
        results = Path(config["results_dir"])
        self.record = results / "sacred" / run_id if run_id else None
        self.models = checkpoint_folder.folder(results, run_id) if run_id else None
        self.logs = results / "tb_logs"
        if curves:
            self.curves = results / curves
            return
        stamp = time.strftime("%Y%m%d-%H%M%S") + (f"-run{run_id}" if run_id else "")
        self.curves = self.logs / task(config) / config["name"] / f"{config['seed']}-{stamp}"

    def __str__(self) -> str:
        return f"records: {self.record or 'none (-u)'}\ncurves:  {self.curves}  (tensorboard --logdir {self.logs})"
