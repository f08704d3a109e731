"""What a run's record holds where writing it fails, for a while or for good, and in which order it is written."""

import json
import os
import shutil
import signal
import threading
import time
from functools import partial

import pytest
from sacred import SETTINGS
from sacred.observers import RunObserver
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tandem.records import checkpoint_folder
from tandem.core import Report, RunError
from tandem.records import delivery, record, series
from tandem.records.curves import Curves
from tandem.records.delivery import Delivery
from tandem.records.disk import insist
from tests.reference.fake_runs import CONFIG, recorded, reports
from tests.reference.full_disk import FullDisk


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Return a function that records a run under tmp_path with beats in quick succession,
    which waits for no disk for long.
    """
    monkeypatch.setattr(SETTINGS, "CAPTURE_MODE", "no")
    monkeypatch.setattr(record, "PATIENCE", 0.2)
    for name in ("delivery", "saver", "disk"):
        monkeypatch.setattr(f"tandem.records.{name}.RETRY_SECONDS", 0.02)
    return partial(recorded, tmp_path, beat_interval=0.02)


class Watcher(RunObserver):
    """An observer that sets an event at every beat, and does something at each before that."""

    def __init__(self, disturb=lambda: None):
        self.beat, self.disturb, self.steps, self.joined = threading.Event(), disturb, [], False

    def log_metrics(self, metrics_by_name, info):
        if metrics_by_name:
            self.disturb()
            self.steps += metrics_by_name["train/return"]["steps"]

    def heartbeat_event(self, info, captured_out, beat_time, result):
        self.beat.set()

    def beats(self, number: int = 1) -> None:
        for _ in range(number):
            self.beat.clear()
            assert self.beat.wait(20)


def everything(folder) -> tuple:
    """Return the steps in Sacred's file and in TensorBoard."""
    (curves,) = (folder / "tb_logs" / "world" / "valley" / "alg").iterdir()
    held = json.loads((folder / "sacred" / "1" / "metrics.json").read_text())["train/return"]["steps"]
    return held, [event.step for event in EventAccumulator(str(curves)).Reload().Scalars("train/return")]


def test_a_disk_that_is_full_for_a_while_costs_no_point_and_no_checkpoint(start, tmp_path, monkeypatch, capsys):
    disk, watcher = FullDisk(monkeypatch, tmp_path), Watcher()

    def fill(step):
        disk.full = {60: True, 180: False}.get(step, disk.full)
        if step in (60, 120, 180):
            watcher.beats(3)

    run = start(reports(300, fill), observers=[watcher], every_steps=30)
    assert run.status == "COMPLETED" and everything(tmp_path) == (list(range(30, 301, 30)),) * 2
    assert checkpoint_folder.steps(tmp_path / "models" / "1")[-1] == 300
    out = capsys.readouterr().out
    assert out.count("cannot be written: No space left on device; the run continues") == 1
    assert out.index("the run continues") < out.index("180 of 150 steps") and "nothing is missing there" in out
    assert not (tmp_path / "sacred" / "1" / "metrics.jsonl").exists()
    assert "nothing is missing there" in (tmp_path / "sacred" / "1" / "cout.txt").read_text()


def test_a_disk_that_stays_full_lets_the_run_train_to_its_end_and_then_it_fails(start, tmp_path, monkeypatch):
    disk, seen = FullDisk(monkeypatch, tmp_path), []

    def fill(step):
        deadline = time.monotonic() + 20
        while step == 120 and not checkpoint_folder.steps(tmp_path / "models" / "1") and time.monotonic() < deadline:
            time.sleep(0.01)
        disk.full = step >= 150
        seen.append(step)

    with pytest.raises(RunError, match="has reached its end, but not all.*record.*No space left on device"):
        start(reports(300, fill), every_steps=60)
    assert seen[-1] == 300 and checkpoint_folder.steps(tmp_path / "models" / "1")
    for step in checkpoint_folder.steps(tmp_path / "models" / "1"):
        assert checkpoint_folder.read_meta(tmp_path / "models" / "1" / str(step)).step == step


def test_two_signals_end_a_run_that_waits_for_a_full_disk_at_its_end(start, tmp_path, monkeypatch):
    monkeypatch.setattr(record, "PATIENCE", 60.0)
    disk = FullDisk(monkeypatch, tmp_path)

    def fill(step):
        disk.full = step >= 150
        if step == 300:
            for seconds in (0.5, 1.0):
                threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM)).start()

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        start(reports(300, fill), every_steps=60)
    assert time.monotonic() - began < 40.0


def test_a_disk_that_is_full_while_a_run_starts_is_waited_for(start, tmp_path, monkeypatch, capfd):
    disk = FullDisk(monkeypatch, tmp_path)
    disk.full = True
    threading.Timer(0.5, setattr, (disk, "full", False)).start()
    start(reports(90))
    assert everything(tmp_path) == ([30, 60, 90],) * 2
    assert "cannot be written: No space left on device; it is tried again" in capfd.readouterr().err
    assert [path.name for path in (tmp_path / "sacred").iterdir() if path.name.isdigit()] == ["1"]


def test_a_disk_that_stays_full_while_a_run_starts_is_told_in_a_sentence(start, tmp_path, monkeypatch):
    disk = FullDisk(monkeypatch, tmp_path)
    disk.full = True
    monkeypatch.setattr(insist, "__defaults__", (print, 0.1))
    with pytest.raises(
        RunError, match="cannot be written: No space left on device; nothing has been trained; make room"
    ):
        start(reports(90))


def test_an_observer_that_raises_is_called_again_with_what_it_missed_and_holds_up_nobody(start, tmp_path, capsys):
    def fail():
        if failing.is_set():
            raise ConnectionError("gone")

    failing = threading.Event()
    troubled, other = Watcher(fail), Watcher()

    def disturb(step):
        if step == 60:
            failing.set()
        if step == 120:
            other.beats(2)
            failing.clear()

    start(reports(180, disturb), observers=[troubled, other])
    assert troubled.steps == other.steps == everything(tmp_path)[0] == list(range(30, 181, 30))
    assert capsys.readouterr().out.count("the observer Watcher cannot be written: gone; the run continues") == 1


def test_points_come_in_one_order_whoever_asks_for_them_to_be_written(start, tmp_path):
    entered, let_go = threading.Event(), threading.Event()

    def slow():
        if not entered.is_set():
            entered.set()
            assert let_go.wait(20)

    slow_one = Watcher(slow)

    def disturb(step):
        if step == 60:  # the timer's beat is under way with the first points
            assert entered.wait(20)
        if step == 150:  # and a checkpoint of later points waits for its own
            let_go.set()

    start(reports(300, disturb), observers=[slow_one], every_steps=30, keep_best=False)
    assert slow_one.steps == everything(tmp_path)[0] == list(range(30, 301, 30))


def test_a_results_folder_that_is_moved_away_is_told_and_is_not_made_anew(start, tmp_path, capsys):
    results, away, watcher = tmp_path / "results", tmp_path / "away", Watcher()

    def move(step):
        if step == 90:
            watcher.beats()
            results.rename(away)
            watcher.beats(2)

    with pytest.raises(RunError, match="No such file or directory"):
        recorded(results, reports(300, move), beat_interval=0.02, observers=[watcher])
    assert not results.exists() and series.of(away / "sacred" / "1")["train/return"].steps.tolist() == [30, 60]
    assert "cannot be written: No such file or directory; the run continues" in capsys.readouterr().out


def test_a_results_folder_that_comes_back_has_everything(start, tmp_path):
    results, watcher = tmp_path / "results", Watcher()

    def move(step):
        if step == 90:
            results.rename(tmp_path / "away")
            watcher.beats(2)
        if step == 180:
            (tmp_path / "away").rename(results)

    recorded(results, reports(300, move), beat_interval=0.02, observers=[watcher])
    assert everything(results) == (list(range(30, 301, 30)),) * 2


def test_training_does_not_wait_for_ever_for_a_disk_that_hangs(start, tmp_path, monkeypatch):
    monkeypatch.setattr(delivery, "PATIENCE", 0.05)
    monkeypatch.setattr(delivery, "MANY_REPORTS", 3)
    monkeypatch.setattr(delivery, "MOST_REPORTS", 7)
    gate, said = threading.Event(), []

    class Run:
        observers, _heartbeat, _failed_observers, beat_interval = [Watcher(lambda: gate.wait(30))], None, [], 0
        info, captured_out, result = {}, "", None
        _get_captured_output = staticmethod(lambda: None)

    way = Delivery(Run, Curves(tmp_path / "curves", CONFIG), said.append)
    for step in range(30, 601, 30):
        way.add(Report(step, 1, {"train/return": 1.0}))
    assert len(way.reports) <= 8 and len(said) == 1 and "oldest points" in said[0]
    with pytest.raises(OSError, match="has not answered"):
        way.flush(0.05)
    gate.set()
    assert "lack points" in way.close(5.0) and not way.thread.is_alive()


def test_what_waits_for_an_observer_that_fails_is_bounded(start, tmp_path, monkeypatch):
    monkeypatch.setattr(delivery, "MOST_POINTS", 20)
    watcher, failing = Watcher(lambda: failing and 1 / 0), [True]

    def disturb(step):
        watcher_beats.beats()
        if step == 600:
            failing.clear()

    watcher_beats = Watcher()
    with pytest.raises(RunError, match="lack points"):
        start(reports(600, disturb), observers=[watcher, watcher_beats])
    assert 0 < len(watcher.steps) < 20 and watcher.steps[-1] == 600
    assert everything(tmp_path)[0] == list(range(30, 601, 30))


def test_the_record_of_a_run_that_goes_on_after_it_ended_has_every_point_once(start, tmp_path):
    start(reports(150))
    resume = record.Resume("1", 150, {"step": 150}, {}, None)
    shutil.rmtree(tmp_path / "tb_logs")
    start(reports(300), resume=resume)
    assert everything(tmp_path)[0] == list(range(30, 301, 30))
    assert len(series.of(tmp_path / "sacred" / "1")["learner/loss"]) == 10
