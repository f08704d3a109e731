"""A run's series on the disk, however they lie there."""

import contextlib
import json
from datetime import datetime

import numpy as np
import pytest

from tandem.records import series
from tandem.records.runs import RecordError

TIME = datetime(2026, 3, 1, 12, 30, 15, 250_000)


def points(*steps: int) -> dict:
    """Return new points of two metrics, as Sacred hands them on."""
    many = [TIME] * len(steps)
    return {
        "loss": {"steps": list(steps), "values": [float("nan")] * len(steps), "timestamps": many},
        "return": {"steps": list(steps), "values": [step / 7 for step in steps], "timestamps": many},
    }


def plain(found: dict) -> dict:
    return {name: (one.steps.tolist(), repr(one.values.tolist()), one.times.tolist()) for name, one in found.items()}


def test_series_are_read_from_the_lines_where_there_are_any_and_else_from_sacreds_file(tmp_path):
    assert series.of(tmp_path) == {} and not series.begun(tmp_path)
    (tmp_path / "metrics.json").write_text('{"return": {"steps": [1], "values": [2], "timestamps": ["2026-01-01"]}}')
    assert series.of(tmp_path)["return"].values.tolist() == [2.0] and series.begun(tmp_path)
    (tmp_path / "metrics.jsonl").write_bytes(series.line(points(30, 60)) + series.line(points(90)))
    assert series.of(tmp_path)["return"].steps.tolist() == [30, 60, 90]


def test_a_line_that_is_half_written_is_left_until_it_is_whole(tmp_path):
    whole, half = series.line(points(30)), series.line(points(60))
    (tmp_path / "metrics.jsonl").write_bytes(whole + half[:17])
    with contextlib.closing(series.Reader(tmp_path)) as reader:
        assert reader.read()["return"].steps.tolist() == [30]
        with open(tmp_path / "metrics.jsonl", "ab") as file:
            file.write(half[17:])
        assert reader.read()["return"].steps.tolist() == [30, 60]
        (tmp_path / "metrics.jsonl").unlink()  # as a run does at its end
        assert reader.read()["return"].steps.tolist() == [30, 60]


def test_a_reader_of_some_metrics_keeps_only_these_and_knows_the_names_of_all(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(series.line(points(30)))
    with contextlib.closing(series.Reader(tmp_path, only=("loss",))) as reader:
        assert set(reader.read()) == {"loss"} and reader.names == {"loss", "return"}


def test_what_is_written_for_sacreds_readers_holds_the_same_points(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(series.line(points(30, 60)) + series.line(points(90)))
    found = series.of(tmp_path)
    with open(tmp_path / "metrics.json", "w") as file:
        series.write_sacreds(found, file)
    sacreds = json.loads((tmp_path / "metrics.json").read_text())["return"]
    assert sacreds["steps"] == [30, 60, 90] and set(sacreds) == {"steps", "values", "timestamps"}
    assert [datetime.fromisoformat(time) for time in sacreds["timestamps"]] == [TIME] * 3
    assert plain(series.read(tmp_path / "metrics.json")) == plain(found)
    with open(tmp_path / "metrics.jsonl", "w") as file:
        series.write_lines(found, file)
    assert plain(series.of(tmp_path)) == plain(found)


def test_points_after_a_step_are_left_out_and_series_of_nothing_else_with_them(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(series.line(points(30, 60)) + series.line({"new": points(90)["loss"]}))
    kept = series.until(series.of(tmp_path), 60)
    assert set(kept) == {"loss", "return"} and kept["return"].steps.tolist() == [30, 60]
    assert np.isnan(kept["loss"].values).all() and len(kept["loss"]) == 2


@pytest.mark.parametrize("text", ["[1]\n", "{nonsense\n", '{"a": 7}\n', '{"a": [["x"], [1], [1]]}\n'])
def test_a_damaged_file_is_told_by_its_name(tmp_path, text):
    (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(ValueError, match=r"metrics\.jsonl is damaged"):
        series.of(tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "metrics.json").write_text('{"a": {"steps": 3}}')
    with pytest.raises(ValueError, match=r"metrics\.json is damaged"):
        series.of(tmp_path)


@pytest.mark.parametrize(
    "points",
    [None, [], 5, {}, {"steps": [1]}, {"steps": [1], "values": [1.0, 2.0]}, {"steps": ["1"], "values": [1.0]},
     {"steps": [1], "values": [None]}, {"steps": 1, "values": 1.0}, {"steps": [1], "values": [1.0], "timestamps": [5]},
     {"steps": [1], "values": [1.0], "timestamps": ["then"]}, {"steps": [10**30], "values": [1.0]}],
)  # fmt: skip
def test_series_that_are_none_are_found_out(tmp_path, points):
    (tmp_path / "metrics.json").write_text(json.dumps({"loss": points}))
    with pytest.raises(RecordError, match=r"metrics\.json is damaged"):
        series.of(tmp_path)


@pytest.mark.parametrize("columns", [[[1, 2], [1.0], [5]], [[1], [1.0]], [[1], [1.0], []], [[], [], [5]]])
def test_lines_whose_columns_do_not_match_are_found_out(tmp_path, columns):
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"loss": columns}) + "\n")
    with pytest.raises(RecordError, match=r"metrics\.jsonl is damaged"):
        series.of(tmp_path)
