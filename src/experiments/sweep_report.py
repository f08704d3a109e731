"""The results of a sweep: its trials from their records, the closing table, and the best
configuration as YAML.
"""

import dataclasses
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from tandem import program
from tandem.records import runs
from tandem.analysis import histories
from tandem.experiments import follower, search_space
from tandem.config import loader, schema, yaml_files
from tandem.config.commandline import Request
from tandem.records.places import replace_file
from tandem.records.record_files import read_json

WORDS = {"COMPLETED": "done", "INTERRUPTED": "stopped early", "FAILED": "failed", "RUNNING": "killed"}


@dataclasses.dataclass(frozen=True)
class Found:
    """One trial, when the sweep is over."""

    settings: Mapping[str, Any]
    run: runs.StoredRun | None
    last: follower.Point | None  # the last value of the metric, if there is any
    status: str  # one of WORDS' values, "not recorded", or "diverged": its numbers were not finite at its end
    problem: str

    @property
    def score(self) -> float:
        return self.last.score if self.last else math.nan


def collect(folder: Path, results: Path, metric: str) -> list[Found]:
    """Return all trials with files in `folder`, oldest run first."""
    trials = [_read(path, results, metric) for path in sorted(folder.glob("*.json"))]
    return sorted(trials, key=lambda trial: int(trial.run.id) if trial.run else 10**9)


def _read(facts: Path, results: Path, metric: str) -> Found:
    told = read_json(facts)
    run, last, status = None, None, "not recorded"
    if told["run"]:
        run = runs.find(told["run"], results)
        status = WORDS.get(run.status, run.status.lower() or status)
        try:
            last = (follower.points(run, metric) or [None])[-1]
        except follower.UnknownMetric:
            pass
        if _diverged(run):
            return Found(told["settings"], run, last, "diverged", told.get("problem", ""))
    return Found(told["settings"], run, last, "failed" if told.get("problem") else status, told.get("problem", ""))


def _diverged(run: runs.StoredRun) -> bool:
    try:
        metrics = run.read("metrics.json")
    except (OSError, ValueError):
        return False
    return (
        histories.diverged_at({name: (entry["steps"], entry["values"]) for name, entry in metrics.items()}) is not None
    )


def best(trials: Sequence[Found], mode: str) -> Found | None:
    """Return the trial with the best last value among finished ones, or among all if none
    finished. Diverged trials do not count.
    """
    scored = [trial for trial in trials if math.isfinite(trial.score) and trial.status != "diverged"]
    ended = [trial for trial in scored if trial.status == "done"] or scored
    return (max if mode == "max" else min)(ended, key=lambda trial: trial.score, default=None)


def table(trials: Sequence[Found], winner: Found | None, metric: str) -> Table:
    """Return the closing table: a row for each trial, best scores in order of the runs."""
    keys = list(dict.fromkeys(key for trial in trials for key in trial.settings))
    made = Table(title=f"{len(trials)} trials, {metric} at their ends", title_justify="left")
    for column in ("run", *keys, "score", "steps", "status"):
        made.add_column(column, justify="right" if column in ("score", "steps") else "left", overflow="fold")
    for trial in trials:
        numbers = [f"{trial.last.score:.3f}", f"{trial.last.step:,}"] if trial.last else ["-", "-"]
        settings = [shown(trial.settings.get(key, "-")) for key in keys]
        name = trial.run.id if trial.run else "-"
        made.add_row(name, *settings, *numbers, trial.status, style="bold" if trial is winner else None)
    return made


def shown(value: Any) -> str:
    """Return a setting's value as text, with few digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_best(path: Path, winner: Found, request: Request, metric: str) -> None:
    """Write a file for --config= that trains with the winner's settings: the algorithm's file with these overrides."""
    updates = (*request.updates, *search_space.updates(winner.settings, "search space"))
    kept = [update for update in updates if not search_space.fixed(update.key)]
    again = [f"--config={path}", f"--env-config={request.env_config}"]
    head = [
        f"{metric} {winner.score:.4g} at step {winner.last.step:,}, the best of a sweep: run {winner.run.id}",
        program.named(f"train with it: {program.SCRIPT} {shlex.join(again)}"),
    ]
    own = loader.own_settings(request.config, kept).items()  # it may contain the password of a MongoDB
    settings = yaml_files.dump({key: value for key, value in own if key not in schema.bookkeeping()})
    replace_file(path, "".join(f"# {line}\n" for line in head) + "\n" + settings)
