"""What a run leaves behind, however it ends."""

import io
import json
import math
import os
import signal

import numpy as np
import pytest
from sacred import SETTINGS, Experiment
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.recording import progress as progress_module
from src.recording import screen as screen_module
from src.recording.files import FileRecord
from src.recording.record import record
from src.core import Report


def reports(last: int, disturb=lambda step: None):
    """Return a runner that reports at steps 30, 60, ... `last`; `disturb` is called between reports."""

    def run(seed):
        for step in range(30, last + 1, 30):
            disturb(step)
            metrics = {"train/return": step / 7, "learner/loss": math.nan if step == 60 else 1 / step}
            if step % 60 == 0:
                metrics |= {"eval/search/return": -step / 3.0, "eval/policy/return": -step / 2.0}
            yield Report(step, step // 5, metrics), {"learner": {"params": np.arange(5) * step}}

    return run


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Return a function that records a run under tmp_path as main does, and gives the Sacred run back."""
    monkeypatch.setattr(SETTINGS, "CAPTURE_MODE", "no")
    config = {
        "name": "alg",
        "seed": 5,
        "t_max": 150,
        "max_minutes": 2.0,
        "results_dir": str(tmp_path),
        "env": "world",
        "env_args": {"scenario": "valley"},
        "checkpoint_args": {"every_minutes": 0.0, "every_steps": 0, "keep_last": 2, "keep_best": True},
    }

    def start(run, beat_interval=10.0):
        experiment = Experiment("test", save_git_info=False)
        experiment.add_config(config)
        experiment.observers.append(FileRecord(tmp_path / "sacred"))

        @experiment.command
        def train(_run):
            return record(_run, config, run)

        return experiment.run("train", options={"--beat-interval": beat_interval})

    return start


def read(folder, name):
    return json.loads((folder / "sacred" / "1" / name).read_text())


def test_every_metric_of_every_report_is_in_sacreds_files(start, tmp_path):
    run = start(reports(150))
    metrics = read(tmp_path, "metrics.json")
    assert metrics["train/return"]["steps"] == [30, 60, 90, 120, 150]
    assert metrics["train/return"]["values"] == [step / 7 for step in (30, 60, 90, 120, 150)]
    assert metrics["eval/policy/return"]["steps"] == [60, 120]
    assert math.isnan(metrics["learner/loss"]["values"][1])
    assert run.result == read(tmp_path, "run.json")["result"] == -40.0
    assert read(tmp_path, "run.json")["status"] == "COMPLETED"


def test_every_metric_is_in_tensorboard_under_the_runs_own_folder(start, tmp_path):
    start(reports(150))
    (folder,) = (tmp_path / "tb_logs" / "world" / "valley" / "alg").iterdir()
    assert folder.name.startswith("5-")
    curves = EventAccumulator(str(folder)).Reload()
    assert [(event.step, event.value) for event in curves.Scalars("eval/search/return")] == [(60, -20.0), (120, -40.0)]
    assert len(curves.Scalars("learner/loss")) == 5


def test_metrics_reach_the_disk_while_the_run_goes_on(start, tmp_path):
    import time

    seen = []

    def wait_for_the_file(step):
        path = tmp_path / "sacred" / "1" / "metrics.json"
        if step == 150:
            deadline = time.monotonic() + 20
            while not path.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            seen.append(path.exists())

    start(reports(150, wait_for_the_file), beat_interval=0.05)
    assert seen == [True]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_and_keeps_what_there_is(start, tmp_path, capsys, number):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        start(reports(150, lambda step: os.kill(os.getpid(), number) if step == 90 else None))
    assert read(tmp_path, "run.json")["status"] == "INTERRUPTED"
    assert read(tmp_path, "run.json")["result"] == -20.0
    assert read(tmp_path, "metrics.json")["train/return"]["steps"] == [30, 60, 90]
    assert "alg on world/valley, seed 5: interrupted" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_interrupt_before_the_first_report_still_ends_cleanly(start, tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        start(reports(150, lambda step: os.kill(os.getpid(), signal.SIGINT)))
    assert read(tmp_path, "run.json")["status"] == "INTERRUPTED"
    assert "interrupted" in capsys.readouterr().out


def test_a_crash_is_not_taken_for_an_interrupt(start, tmp_path):
    def crash(step):
        if step == 60:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        start(reports(150, crash))
    assert read(tmp_path, "run.json")["status"] == "FAILED"
    assert read(tmp_path, "metrics.json")["train/return"]["steps"] == [30]


def test_plain_output_says_where_things_are_what_happens_and_how_it_ended(start, tmp_path, capsys):
    start(reports(150))
    out = capsys.readouterr().out
    beginning, _, rest = out.partition("compiling")
    assert "alg on world/valley, seed 5" in beginning and str(tmp_path / "sacred" / "1") in beginning
    assert "30 of 150 steps" in rest and "search -40.00, policy -60.00, train 17.14" in rest
    assert "90 of 150 steps" not in rest  # neither an evaluation nor ten seconds after the last line
    assert "seed 5: done" in rest and "-40.000" in rest and "\x1b" not in out


def test_time_left_heeds_steps_and_minutes():
    progress = progress_module.Progress(t_max=1000, max_seconds=60.0)
    assert progress.seconds_left is None and progress.fraction == 0.0
    progress.add(Report(100, 1, {"time/training_seconds": 0.0}))
    assert progress.seconds_left == 60.0
    progress.add(Report(300, 2, {"time/training_seconds": 10.0}))
    assert (progress.steps_per_second, progress.seconds_left, progress.fraction) == (20.0, 35.0, 0.3)
    progress.add(Report(400, 3, {"time/training_seconds": 50.0}))
    assert progress.seconds_left == 10.0 and progress.fraction == pytest.approx(5 / 6)


def test_the_bar_of_a_terminal_shows_pace_and_returns_below_each_other():
    from rich.console import Console

    progress = progress_module.Progress(t_max=1000, max_seconds=0.0)
    screen = Console(width=70, record=True, file=io.StringIO())
    screen.print(screen_module.bar(progress))
    progress.add(Report(100, 1, {"time/training_seconds": 0.0}))
    progress.add(Report(300, 2, {"time/training_seconds": 4.0, "eval/search/return": -3.25, "train/return": 7.5}))
    screen.print(screen_module.bar(progress))
    compiling, _, pace, returns = (line.rstrip() for line in screen.export_text().splitlines())
    assert "compiling" in compiling
    assert pace == "300 of 1,000 steps | 50 steps/s | 0:14 left" and returns == "return: search -3.25, train 7.50"
