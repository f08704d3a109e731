"""What a run leaves behind, however it ends."""

import io
import json
import math
import os
import signal
import time
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from sacred import SETTINGS
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tandem.records.progress import Progress
from tandem.records import screen as screen_module
from tandem.records import checkpoint, checkpoint_folder
from tandem.core import Report, RunError
from tandem.records import provenance, series
from tandem.records.files import FileRecord, lock
from tandem.records.places import Places
from tandem.records.record import Resume
from tests.reference.fake_runs import CONFIG, recorded, reports


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Return a function that records a run under tmp_path as main does, and gives the Sacred run back."""
    monkeypatch.setattr(SETTINGS, "CAPTURE_MODE", "no")
    return partial(recorded, tmp_path)


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_and_keeps_what_there_is(start, tmp_path, capsys, number):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        start(reports(150, lambda step: os.kill(os.getpid(), number) if step == 90 else None))
    assert read(tmp_path, "run.json")["status"] == "INTERRUPTED"
    assert read(tmp_path, "run.json")["result"] == -20.0
    assert read(tmp_path, "metrics.json")["train/return"]["steps"] == [30, 60, 90]
    out = capsys.readouterr().out
    assert "alg on world/valley, seed 5: interrupted" in out and f"--resume={tmp_path / 'sacred' / '1'}" in out
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
    progress = Progress(t_max=1000, max_seconds=60.0)
    assert progress.seconds_left is None and progress.fraction == 0.0
    progress.add(Report(100, 1, {"time/training_seconds": 0.0}))
    assert progress.seconds_left == 60.0
    progress.add(Report(300, 2, {"time/training_seconds": 10.0}))
    assert (progress.steps_per_second, progress.seconds_left, progress.fraction) == (20.0, 35.0, 0.3)
    progress.add(Report(400, 3, {"time/training_seconds": 50.0}))
    assert progress.seconds_left == 10.0 and progress.fraction == pytest.approx(5 / 6)


def test_where_actors_are_apart_it_is_shown_who_waits_for_whom():
    progress = Progress(t_max=1000, max_seconds=0.0)
    assert screen_module.lines(progress) == ["0 of 1,000 steps", "return: none yet"]
    told = {"learner_idle": 0.25, "staleness": 1.0, "queue": 1.5, "store_mb": 12.3}
    speeds = {"steps_per_second/actor_0": 900.0, "steps_per_second/actor_1": 334.0}
    progress.add(Report(100, 1, {f"actors/{name}": value for name, value in (told | speeds).items()}))
    assert screen_module.lines(progress) == [
        "100 of 1,000 steps",
        "actors: 2, 1,234 steps/s while acting, staleness 1.0, queue 1.5, store 12 MB, learner idle 25%",
        "return: none yet",
    ]


def test_the_bar_of_a_terminal_shows_pace_and_returns_below_each_other():
    from rich.console import Console

    progress = Progress(t_max=1000, max_seconds=0.0)
    screen = Console(width=70, record=True, file=io.StringIO())
    screen.print(screen_module.bar(progress))
    progress.add(Report(100, 1, {"time/training_seconds": 0.0}))
    progress.add(Report(300, 2, {"time/training_seconds": 4.0, "eval/search/return": -3.25, "train/return": 7.5}))
    screen.print(screen_module.bar(progress))
    compiling, _, pace, returns = (line.rstrip() for line in screen.export_text().splitlines())
    assert "compiling" in compiling
    assert pace == "300 of 1,000 steps | 50 steps/s | 0:14 left" and returns == "return: search -3.25, train 7.50"


def going_on(tmp_path, env_step: int) -> Resume:
    """Return where run 1 goes on, as `train --resume=1` finds it out."""
    state = checkpoint.read(tmp_path / "models" / "1" / str(env_step), {"step": np.int32(0)})
    curves = provenance.read(tmp_path / "sacred" / "1")["curves"]
    return Resume("1", env_step, state, {"eval/search/return": -20.0}, curves)


def stop_at(step):
    return lambda at: os.kill(os.getpid(), signal.SIGTERM) if at == step else None


def test_a_run_that_goes_on_continues_its_record_and_its_curves_with_nothing_lost_or_twice(start, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        start(reports(300, stop_at(180)), every_steps=60, keep_last=9)
    before = read(tmp_path, "run.json")
    assert read(tmp_path, "metrics.json")["train/return"]["steps"] == [30, 60, 90, 120, 150, 180]
    assert {60, 180} <= set(checkpoint_folder.steps(tmp_path / "models" / "1"))  # others were due while one was written
    run = start(reports(300), resume=going_on(tmp_path, 60), every_steps=60, keep_last=9)  # drops what came after 60
    entry, metrics = read(tmp_path, "run.json"), read(tmp_path, "metrics.json")
    assert [path.name for path in (tmp_path / "sacred").iterdir() if path.name.isdigit()] == ["1"]
    assert (entry["status"], entry["start_time"]) == ("COMPLETED", before["start_time"])
    assert [again["step"] for again in entry["resumes"]] == [60]
    assert metrics["train/return"]["steps"] == list(range(30, 301, 30))
    assert metrics["train/return"]["values"] == [step / 7 for step in range(30, 301, 30)]
    assert run.result == entry["result"] == -100.0
    assert {60, 300} <= set(checkpoint_folder.steps(tmp_path / "models" / "1"))
    (folder,) = (tmp_path / "tb_logs" / "world" / "valley" / "alg").iterdir()
    curve = EventAccumulator(str(folder)).Reload().Scalars("train/return")
    assert [event.step for event in curve] == list(range(30, 301, 30))


def test_every_metric_up_to_a_checkpoint_is_on_the_disk_before_the_checkpoint(start, tmp_path):
    seen = []

    def look(step):
        models = tmp_path / "models" / "1"
        deadline = time.monotonic() + 20
        while step == 600 and not checkpoint_folder.steps(models) and time.monotonic() < deadline:
            time.sleep(0.01)
        for at in checkpoint_folder.steps(models):
            seen.append(at <= series.of(tmp_path / "sacred" / "1")["train/return"].steps[-1])

    start(reports(900, look), beat_interval=1000.0, every_steps=60)
    assert seen and all(seen)


def test_a_record_file_is_replaced_whole(start, tmp_path, monkeypatch):
    seen = {}
    replace = Path.replace

    def look(self, target):
        if target.suffix == ".json":
            seen.setdefault(target.name, []).append(json.loads(self.read_text()))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", look)
    start(reports(150))
    assert seen.keys() >= {"run.json", "config.json", "metrics.json"}
    assert seen["metrics.json"][-1]["train/return"]["steps"] == [30, 60, 90, 120, 150]
    assert seen["run.json"][0]["status"] == "RUNNING" and seen["run.json"][-1]["status"] == "COMPLETED"


def test_what_a_heartbeat_writes_does_not_grow_with_the_run(tmp_path):
    record = FileRecord(tmp_path / "sacred")
    record._make_run_dir(None)
    path, written, seen = tmp_path / "sacred" / "1" / "metrics.json", 0, None
    for step in range(1, 1001):
        points = {"steps": [step], "values": [0.5], "timestamps": [datetime(2026, 3, 1)]}
        record.log_metrics({"train/return": points, "train/loss": points}, {})
        written, seen = written + (path.stat().st_ino != seen), path.stat().st_ino
    record.join()
    assert (
        written <= 12
    )  # Sacred's file, which is written whole: at the first beat and each time there are twice as many points
    assert series.of(path.parent)["train/loss"].steps.tolist() == list(range(1, 1001))


def test_a_screen_that_is_gone_ends_nothing(start, tmp_path, monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise OSError(5, "Input/output error")  # as of a closed terminal

    monkeypatch.setattr("sys.stdout", Gone())
    assert start(reports(150)).status == "COMPLETED"
    assert "seed 5: done" in (tmp_path / "sacred" / "1" / "cout.txt").read_text()


def test_a_record_is_held_by_one_process_at_a_time(start, tmp_path):
    def hold(step):
        with pytest.raises(BlockingIOError):
            lock(tmp_path / "sacred" / "1")

    start(reports(60, hold))
    lock(tmp_path / "sacred" / "1").close()


def test_where_a_run_comes_from_is_kept_with_it_without_credentials(start, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["main.py", "with", "mongo_url=mongodb://ann:secret@host:27017/db"])
    start(reports(60))
    text = (tmp_path / "sacred" / "1" / "provenance.json").read_text()
    facts = json.loads(text)
    assert "secret" not in text and "mongodb://***@host:27017/db" in text
    assert facts["seed"] == 5 and facts["config"]["env_args"] == {"scenario": "valley"}
    assert facts["packages"]["sacred"] == "0.8.7" and facts["devices"][0]["platform"] == "cpu"
    assert len(facts["git"]["commit"]) == 40 and facts["python"] and facts["platform"] and facts["machine"]["cores"] > 0
    assert "provenance.json" in read(tmp_path, "run.json")["artifacts"]
    assert facts["git"]["changed"] == (tmp_path / "sacred" / "1" / "diff.patch").exists()


def test_what_has_changed_since_a_run_is_told():
    facts, diff = provenance.collect({"seed": 1})
    assert provenance.changes(facts, diff, facts, diff) == []
    older = json.loads(json.dumps(facts))
    older["packages"] |= {"jax": "0.0.1", "gone": "1"}
    older["git"]["commit"] = "0" * 40
    told = " / ".join(provenance.changes(older, diff + "\nmore", facts, diff))
    assert "jax is" in told and "then it was 0.0.1" in told and "gone is now none, then it was 1" in told
    assert "then it was at 0000000000" in told and "uncommitted changes" in told


@pytest.mark.parametrize(
    "seconds, step, interrupted, said",
    [(120.0, 118, False, True), (119.0, 118, False, False), (120.0, 200, False, False), (120.0, 118, True, False)],
)
def test_the_closing_table_says_how_far_a_run_got_that_the_clock_ended(tmp_path, seconds, step, interrupted, said):
    config = CONFIG | {"t_max": 200, "results_dir": str(tmp_path)}
    progress = Progress(t_max=200, max_seconds=120.0)
    progress.add(Report(step, 3, {"time/training_seconds": seconds}, {}))
    console = Console(file=io.StringIO(), width=200)
    console.print(screen_module.summary(config, progress, Places(config, None, None), interrupted))
    assert ("max_minutes=2, at 59.0 % of t_max=200" in console.file.getvalue()) == said
    assert ("ended by" in console.file.getvalue()) == said


def test_a_run_ends_at_its_first_number_that_is_not_finite_if_it_is_told_to(start, tmp_path, capsys):
    with pytest.raises(
        RunError, match="ended at step 60, because these are not finite numbers: learner/loss; .*on_nan=continue"
    ):
        start(reports(150), on_nan="stop", every_steps=30)
    assert read(tmp_path, "metrics.json")["train/return"]["steps"] == [30, 60]
    assert read(tmp_path, "run.json")["status"] == "FAILED"
    assert checkpoint_folder.steps(tmp_path / "models" / "1") == [30]  # what is not a number is not gone on with
    assert capsys.readouterr().out.count("not finite at step 60: learner/loss") == 1


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_no_result(start, tmp_path, score):
    def run(seed):
        yield Report(30, 1, {"eval/search/return": 3.0}), {"step": np.int32(30)}
        yield Report(60, 2, {"eval/search/return": score}), {"step": np.int32(60)}

    assert start(run, every_steps=30).result is None
    assert checkpoint_folder.pick(tmp_path / "models" / "1", "best").name == "30"
