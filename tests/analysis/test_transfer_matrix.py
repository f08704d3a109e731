"""Scores of a transfer matrix against a table reckoned by hand, and its files."""

import csv
import io

import numpy as np
import pytest

from tandem.analysis import heat_map, transfer_matrix
from tandem.analysis.transfer_matrix import Row, Task, Trained


def earned(value: float, won: float | None = None):
    one = {"stderr": 0.5, "min": value - 1, "max": value + 1}
    return {"return": {"mean": value, **one}} | ({} if won is None else {"won": {"mean": won, **one}})


RANDOM, EXPERT = (-40.0, -80.0, 0.0), (-10.0, -20.0, 16.0)
RETURNS = np.array(
    [[[-13.0, -50.0, 4.0], [-10.0, -44.0, 8.0]], [[-22.0, -26.0, -4.0], [-19.0, -20.0, 0.0]]]
)  # row, seed
LABELS = ("2 agents", "3 agents", "8m")


@pytest.fixture
def tasks():
    return [Task(name, earned(low), earned(high), "optimal") for name, low, high in zip(LABELS, RANDOM, EXPERT)]


@pytest.fixture
def rows():
    found = []
    for i, by_seed in enumerate(RETURNS):
        runs = [
            Trained(str(7 * i + s), s, 100 + s, {name: earned(value, 0.25 * s) for name, value in zip(LABELS, values)})
            for s, values in enumerate(by_seed)
        ]
        found.append(Row(f"alg, {LABELS[i]}", LABELS[i], LABELS[i], runs))
    return found


def test_a_score_is_the_share_of_the_way_from_random_play_to_the_expert(rows, tasks):
    low, high = np.array(RANDOM), np.array(EXPERT)
    expected = ((RETURNS - low) / (high - low)).mean(axis=1)
    found = [[row.score(task) for task in tasks] for row in rows]
    np.testing.assert_allclose(found, expected)
    assert transfer_matrix.short(rows, tasks) == {
        "diagonal": pytest.approx(np.mean([expected[0, 0], expected[1, 1]])),
        "off_diagonal": pytest.approx(np.mean([expected[0, 1], expected[0, 2], expected[1, 0], expected[1, 2]])),
        "worst": pytest.approx(expected.min()),
        "worst_at": ["alg, 3 agents", "8m"],
    }


@pytest.mark.parametrize("expert", [None, earned(-40.0), earned(-41.0)])
def test_without_an_expert_who_is_better_than_random_play_there_is_no_score(rows, tasks, expert):
    tasks[0] = Task(LABELS[0], earned(-40.0), expert)
    assert rows[0].score(tasks[0]) is None
    assert transfer_matrix.short(rows[:1], tasks)["diagonal"] is None
    assert transfer_matrix.short(rows[:1], tasks[:1])["worst_at"] is None


def test_the_table_has_a_line_for_each_run_on_each_task(rows, tasks):
    lines = list(csv.DictReader(io.StringIO(transfer_matrix.as_csv(rows, tasks, 64))))
    assert len(lines) == 12 and tuple(lines[0]) == transfer_matrix.COLUMNS
    line = next(line for line in lines if line["run"] == "8" and line["tested_on"] == "2 agents")
    assert (line["trained_on"], line["home"], line["seed"], line["episodes"]) == ("3 agents", "0", "1", "64")
    assert [float(line[key]) for key in ("score", "return", "won", "random_return", "expert_return")] == [
        pytest.approx(0.7), -19.0, 0.25, -40.0, -10.0
    ]  # fmt: skip


def test_the_heat_map_shows_every_score_and_frames_the_diagonal(rows, tasks):
    tasks[2] = Task(LABELS[2], earned(0.0))
    axes = heat_map.draw(rows, tasks).axes[0]
    shown = [text.get_text() for text in axes.texts]
    assert shown.count("-") == 2 and "0.95" in shown and "-11.5, won 0.12" in shown
    frames = [patch.get_xy() for patch in axes.patches if not patch.get_fill()]
    np.testing.assert_allclose(np.add(frames, 0.46), [(0, 0), (1, 1)])
    assert [label.get_text().split("\n")[0] for label in axes.get_xticklabels()] == list(LABELS)
