"""A run followed while it goes on: what is new of one metric, and nothing twice."""

import contextlib
import json
from datetime import datetime

import pytest

from tandem.experiments import follower
from tandem.records import series
from tandem.records.runs import StoredRun

CONFIG = {"t_max": 1000, "max_minutes": 1.0}


def line(**values: dict[int, float]) -> bytes:
    """Return a line of points: {metric: {step: value}}, "/" written as two underscores."""
    return series.line(
        {
            name.replace("__", "/"): {
                "steps": list(points), "values": list(points.values()),
                "timestamps": [datetime(2026, 3, 1)] * len(points),
            }
            for name, points in values.items()
        }
    )  # fmt: skip


def test_each_value_is_told_once_with_the_share_of_the_budget_at_its_step(tmp_path):
    with contextlib.closing(follower.Follower(StoredRun(tmp_path, CONFIG), "eval/search/return")) as reader:
        assert reader.new() == []
        path = tmp_path / "metrics.jsonl"
        path.write_bytes(line(train__return={100: 1.0}, time__training_seconds={100: 6.0}))
        assert reader.new() == []
        with open(path, "ab") as file:
            file.write(line(eval__search__return={200: 7.0, 300: 8.0}, time__training_seconds={200: 30.0, 300: 33.0}))
        assert reader.new() == [follower.Point(7.0, 200, 50.0), follower.Point(8.0, 300, pytest.approx(55.0))]
        assert reader.new() == []
        with open(path, "ab") as file:
            file.write(line(eval__search__return={900: 9.0}))
        path.unlink()  # as a run does at its end
        (tmp_path / "metrics.json").write_text(json.dumps({}))
        assert reader.new() == [follower.Point(9.0, 900, 90.0)]


def test_a_metric_that_an_evaluated_run_does_not_report_is_told(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(line(eval__search__return={200: 7.0}))
    with contextlib.closing(follower.Follower(StoredRun(tmp_path, CONFIG), "eval/serch/return")) as reader:
        with pytest.raises(follower.UnknownMetric, match="did you mean eval/search/return"):
            reader.new()


def test_all_values_of_a_run_can_be_asked_for_at_once(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(
        line(eval__search__return={200: 7.0}) + line(eval__search__return={300: 8.0})
    )
    assert [point.score for point in follower.points(StoredRun(tmp_path, CONFIG), "eval/search/return")] == [7.0, 8.0]
