"""Runs that compute nothing, recorded as `python src/main.py` does: for tests of what a record holds."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sacred import Experiment

from tandem.core import Report
from tandem.records.files import FileRecord
from tandem.records.record import Resume, record

CONFIG = {
    "name": "alg",
    "seed": 5,
    "t_max": 150,
    "max_minutes": 2.0,
    "env": "world",
    "env_args": {"scenario": "valley"},
    "checkpoint_args": {
        "every_minutes": 0.0,
        "every_steps": 0,
        "keep_last": 2,
        "keep_every_steps": 0,
        "keep_best": True,
    },
}


def reports(last: int, disturb: Callable[[int], Any] = lambda step: None):
    """Return a runner that reports at steps 30, 60, ... `last`; `disturb` is called between reports."""

    def run(seed, resume=None):
        for step in range(30 if resume is None else int(resume["step"]) + 30, last + 1, 30):
            disturb(step)
            metrics = {"train/return": step / 7, "learner/loss": math.nan if step == 60 else 1 / step}
            histograms = {}
            if step % 60 == 0:
                metrics |= {"eval/search/return": -step / 3.0, "eval/policy/return": -step / 2.0}
                histograms = {"histograms/policy_entropy/agent_0": np.linspace(0.0, 1.0 + step, 11)}
            yield Report(step, step // 5, metrics, histograms), {"step": np.int32(step)}

    return run


def recorded(
    folder: Path,
    run: Callable,
    beat_interval: float = 10.0,
    resume: Resume | None = None,
    observers: Sequence[Any] = (),
    **settings: Any,
) -> Any:
    """Record a run under a folder and return the Sacred run; settings are of `checkpoint_args`, or of
    the run itself.
    """
    sections = {key: value for key, value in settings.items() if key in CONFIG["checkpoint_args"]}
    config = CONFIG | {"results_dir": str(folder)} | {k: v for k, v in settings.items() if k not in sections}
    config["checkpoint_args"] = CONFIG["checkpoint_args"] | sections
    experiment = Experiment("test", save_git_info=False)
    experiment.add_config(config)
    experiment.observers += [FileRecord(folder / "sacred", resume and resume.step), *observers]

    @experiment.command
    def train(_run):
        return record(_run, config, run, resume)

    options = {"--beat-interval": beat_interval} | ({"--id": resume.run_id} if resume else {})
    return experiment.run("train", options=options)
