"""Weights & Biases as a tracker; offline unless the environment variable WANDB_MODE says otherwise."""

import os
from collections.abc import Mapping
from typing import Any

from tandem.records.tracking import About, Row

MODE = "WANDB_MODE"


class Wandb:
    """A project of Weights & Biases. Offline, a run is a folder in results/wandb/ that `wandb sync` uploads."""

    name = "Weights & Biases"

    def __init__(self, project: str):
        self.project = project
        self.run: Any = None

    def begin(self, about: About) -> None:
        import wandb

        about.results.mkdir(parents=True, exist_ok=True)
        self.run = self.run or wandb.init(
            project=self.project,
            name=about.title,
            id=about.uid,
            group=about.algorithm,
            job_type=about.task,
            config=_plain(about.config),
            dir=str(about.results.resolve()),
            mode=os.environ.get(MODE) or "offline",
            resume="allow",
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True
            ),  # the record already has the data on machine and code
        )
        self.run.define_metric("step")
        self.run.define_metric("*", step_metric="step")  # a resumed run would repeat its step count

    def log(self, rows: list[Row]) -> None:
        for row in rows:
            self.run.log({"step": row.step, **row.values})

    def end(self, status: str, result: float | None) -> str:
        import wandb

        self.run.summary.update({"status": status} | ({} if result is None else {"result": float(result)}))
        folder = os.path.dirname(self.run.dir)
        offline = self.run.offline
        url = None if offline else self.run.url
        self.run.finish(exit_code=int(status == "failed"))
        wandb.teardown()  # `finish` returns before an offline run is completely written
        return f"{folder}; to upload it: wandb sync {folder}" if offline else str(url or folder)


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration of plain dicts, from which it makes names like "planner_args.num_simulations"."""
    return {key: _plain(value) if isinstance(value, Mapping) else value for key, value in config.items()}
