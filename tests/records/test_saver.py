"""When checkpoints are written and which are kept."""

import threading

import numpy as np
import pytest

from tandem.records import checkpoint, checkpoint_folder
from tandem.core import Report
from tandem.records import saver as saver_module
from tandem.records.saver import Saver

SETTINGS = {"every_minutes": 0.0, "every_steps": 0, "keep_last": 2, "keep_every_steps": 0, "keep_best": False}


@pytest.fixture
def make(tmp_path):
    def make(before=lambda step: None, say=print, **settings) -> Saver:
        saver = Saver(tmp_path, SETTINGS | settings, {"seed": 3}, before, say)
        saver.start_at(0)
        return saver

    return make


def offer(saver: Saver, *reports: tuple[int, float | None]) -> None:
    """Offer states at (step, score) and wait each time until what was started is written."""
    for step, score in reports:
        saver.offer(Report(step, 1, {} if score is None else {"eval/search/return": score}), {"step": np.full(3, step)})
        saver._wait()


def steps(saver: Saver) -> list[int]:
    assert saver.problem is None
    return checkpoint_folder.steps(saver.models)


def test_states_are_saved_at_the_interval_and_at_the_end_and_the_last_are_kept(make):
    saver = make(every_steps=60)
    offer(saver, *((step, None) for step in range(30, 301, 30)))
    assert steps(saver) == [240, 300]
    last = Report(310, 1, {}), {"step": np.full(3, 310)}
    saver.close(last)
    assert steps(saver) == [300, 310]
    assert checkpoint_folder.read_meta(saver.models / "310").config == {"seed": 3}


def test_the_best_evaluation_is_saved_and_kept_whatever_comes_after(make):
    saver = make(every_steps=60, keep_best=True)
    offer(
        saver,
        (30, 1.0),
        (60, 7.0),
        (90, float("nan")),
        (100, float("inf")),
        (120, 2.0),
        (180, 6.9),
        (240, None),
        (300, None),
    )
    assert steps(saver) == [60, 240, 300]
    assert checkpoint_folder.pick(saver.models, "best").name == "60"


def test_states_are_saved_by_the_clock(make, monkeypatch):
    clock = iter(range(0, 100000, 25))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    saver = make(every_minutes=5.0)
    offer(saver, *((step, None) for step in range(30, 601, 30)))
    assert 0 < len(saver.written) < 20


def test_training_goes_on_while_a_checkpoint_is_written_and_what_it_changes_is_not_written(make):
    gate = threading.Event()
    saver = make(before=lambda step: gate.wait(20), every_steps=30)
    state = {"step": np.full(3, 30)}
    saver.offer(Report(10, 1, {}), state)
    saver.offer(Report(30, 1, {}), state)
    state["step"][:] = -1  # as a donated buffer is
    saver.offer(Report(60, 1, {}), state)  # due, but the writer is busy
    assert checkpoint_folder.steps(saver.models) == []
    gate.set()
    saver.close(None)
    assert steps(saver) == [30]
    assert (checkpoint._restored(saver.models / "30", ["step"])["step"] == 30).all()


def test_a_checkpoint_that_cannot_be_written_is_reported_and_ends_nothing(make):
    def full(step):
        raise OSError("no space left on device")

    said = []
    saver = make(before=full, say=said.append, every_steps=30)
    saver.close((Report(30, 1, {}), {"step": np.full(3, 30)}), patience=0.0)
    assert saver.problem == "the checkpoint at step 30 could not be written: no space left on device"
    assert said == ["the checkpoint at step 30 cannot be written: no space left on device; it is tried again"]
    assert checkpoint_folder.steps(saver.models) == []


class Disk:
    """A disk that is full until it is told otherwise; `tried` is set by each attempt to write."""

    def __init__(self):
        self.full, self.tried, self.said = True, threading.Event(), []

    def __call__(self, step: int) -> None:
        self.tried.set()
        if self.full:
            raise OSError(28, "No space left on device")


def test_a_checkpoint_is_tried_again_until_there_is_room_and_that_is_said_once(make, monkeypatch):
    monkeypatch.setattr(saver_module, "RETRY_SECONDS", 0.01)
    disk = Disk()
    saver = make(before=disk, say=disk.said.append, every_steps=30)
    saver.offer(Report(30, 1, {}), {"step": np.full(3, 30)})
    for _ in range(3):
        assert disk.tried.wait(20)
        disk.tried.clear()
    disk.full = False
    saver.close(None)
    assert steps(saver) == [30]
    assert [line.split(";")[0] for line in disk.said] == [
        "the checkpoint at step 30 cannot be written: No space left on device", "the checkpoint at step 30 is written",
    ]  # fmt: skip


def test_what_cannot_be_written_gives_way_to_a_newer_state_and_is_not_taken_for_the_best(make, monkeypatch):
    monkeypatch.setattr(saver_module, "RETRY_SECONDS", 0.01)
    disk = Disk()
    saver = make(before=disk, say=disk.said.append, every_steps=1000, keep_best=True)
    saver.offer(Report(30, 1, {"eval/search/return": 7.0}), {"step": np.full(3, 30)})
    assert disk.tried.wait(20)
    saver.offer(Report(60, 1, {"eval/search/return": 8.0}), {"step": np.full(3, 60)})
    disk.full = False
    saver.close(None)
    assert steps(saver) == [60] and saver.best == 8.0
    disk.full = True
    disk.tried.clear()
    saver.offer(Report(90, 1, {"eval/search/return": 9.0}), {"step": np.full(3, 90)})
    assert disk.tried.wait(20)
    saver.save(Report(120, 1, {}), {"step": np.full(3, 120)})
    assert saver.best == 8.0  # the ninth is not on the disk
    saver.close(None, patience=0.0)


def test_what_is_half_written_is_removed_so_that_it_takes_no_room(make, monkeypatch):
    def half(path, arrays, meta):
        (path.parent / f".{path.name}").mkdir()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write", half)
    saver = make(say=lambda text: None)
    saver.close((Report(30, 1, {}), {"step": np.full(3, 30)}), patience=0.0)
    assert saver.problem and list(saver.models.iterdir()) == []


def test_a_writer_that_hangs_does_not_keep_the_run_from_going_on_or_from_ending(make, monkeypatch):
    gate, said = threading.Event(), []
    saver = make(before=lambda step: gate.wait(60), say=said.append, keep_best=True)
    saver.offer(Report(30, 1, {"eval/search/return": 7.0}), {"step": np.full(3, 30)})
    monkeypatch.setattr(saver_module, "HANGING_SECONDS", 0.05)
    saver.offer(Report(60, 1, {"eval/search/return": 8.0}), {"step": np.full(3, 60)})
    saver.close((Report(90, 1, {}), {"step": np.full(3, 90)}), patience=0.0)
    gate.set()
    assert len(said) == 1 and "the run continues without checkpoints" in said[0] and "has hung" in saver.problem


def test_going_on_from_an_older_step_drops_the_checkpoints_after_it(make):
    saver = make(every_steps=30, keep_last=9, keep_best=True)
    offer(saver, (30, 1.0), (60, 2.0), (90, 9.0))
    (saver.models / ".120").mkdir()
    again = Saver(saver.models, saver.settings, {}, lambda step: None)
    again.start_at(60)
    assert steps(again) == [30, 60] and not (again.models / ".120").exists()
    assert (again.best, again.last_step) == (2.0, 60)


def test_checkpoints_along_the_way_remain(make):
    saver = make(every_steps=60, keep_every_steps=100)
    offer(saver, *((step, None) for step in range(30, 501, 30)))
    # Of each hundred the first that was saved, by this interval or by the other; and the last two.
    assert steps(saver) == [120, 210, 300, 420, 480]
