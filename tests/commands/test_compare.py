"""`python src/main.py compare`, on runs that were written by hand."""

import html
import json
import math
from datetime import datetime

import pytest

from tandem.records import runs
from tandem.analysis import histories
from tandem.commands import compare
from tandem.config.commandline import UsageError
from tandem.records import mongo_place
from tests.commands import stub_runs


@pytest.fixture
def results(tmp_path):
    """Two seeds of one algorithm, three of another, whose returns are better."""
    for seed in (1, 2):
        stub_runs.write(tmp_path, seed, [-9.0, -8.0 + seed, -6.0 + seed], seed=seed)
    for seed in (1, 2, 3):
        stub_runs.write(tmp_path, 10 + seed, [-7.0, -3.0, -1.0 + seed], name="other", seed=seed)
    return tmp_path


def run(results, *words):
    assert compare.main([*words, f"--out={results / 'out'}", "with", f"results_dir={results}"]) == 0
    return json.loads((results / "out" / "compare.json").read_text())


def test_seeds_are_grouped_and_summed_up(results, capsys):
    found = run(results, "1-2", "11-13", "--threshold=-5")
    first, second = found["groups"]
    assert (first["algorithm"], first["seeds"], first["final"]) == ("alg", 2, pytest.approx(-4.5))
    assert (second["algorithm"], second["seeds"], second["final"]) == ("other", 3, pytest.approx(1.0))
    assert (
        first["task"] == "mpe/valley" and first["reached"] == 2 and first["steps_to_threshold"] == pytest.approx(275.0)
    )
    assert second["steps_to_threshold"] == pytest.approx(150.0) and second["minutes_to_threshold"] == pytest.approx(
        0.75
    )
    (pair,) = found["improvements"]
    assert pair["estimate"]["value"] == 0.0
    out = capsys.readouterr().out
    assert "mpe/valley" in out and "too narrow" in out and "curves.svg" in out


def test_the_figures_are_a_picture_and_text_that_can_be_edited(results):
    run(results, str(results / "sacred" / "*"))
    assert (results / "out" / "curves.png").read_bytes().startswith(b"\x89PNG")
    drawing = (results / "out" / "curves.svg").read_text()
    assert "<text" in drawing and "other" in drawing and "environment steps" in drawing


@pytest.mark.parametrize("name", ["a$\\frac$b", "[red]x[v1]", "_hidden", "it's <b>&amp;"])
def test_a_name_is_drawn_as_it_is_written(results, name):
    stub_runs.write(results, 20, [-2.0, -1.0], name=name)
    run(results, "1-2", "20")
    assert html.escape(name, quote=False) in (results / "out" / "curves.svg").read_text()


def test_minutes_can_be_the_axis(results):
    run(results, "1-2", "--x=time")
    assert "minutes" in (results / "out" / "curves.svg").read_text()


def test_configurations_of_one_name_are_told_apart_by_what_differs(results):
    stub_runs.write(results, 20, [-2.0, -1.0], seed=1, planner_args={"num_simulations": 32})
    labels = [group["algorithm"] for group in run(results, "1-2", "20")["groups"]]
    assert labels == ["alg (num_simulations=absent)", "alg (num_simulations=32)"]


def test_a_run_repeated_with_the_same_seed_counts_once_and_one_cut_off_is_marked(results, capsys):
    stub_runs.write(results, 20, [-2.0, -1.0, 5.0, 6.0], seed=2, status="RUNNING")
    (group,) = run(results, "1-2", "20")["groups"]
    assert group["seeds"] == 2 and group["unfinished"] == ""
    assert "has the same settings and seed" in capsys.readouterr().out
    stub_runs.write(results, 30, [-2.0], seed=3, status="RUNNING")
    (group,) = run(results, "1-2", "30")["groups"]
    assert "cut off" in group["unfinished"] and "† unfinished" in capsys.readouterr().out


def test_without_search_the_policys_return_is_compared(results):
    stub_runs.write(results, 20, [-2.0, -1.0], name="plain", metric="eval/policy/return")
    groups = {group["algorithm"]: group for group in run(results, "1-2", "20")["groups"]}
    assert groups["plain"]["metric"] == "eval/policy/return" and groups["plain"]["final_low"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["77"], "no run '77'"),
        (["1", "--metric=train/los"], "no run has the metric 'train/los'; there are eval/search/return"),
        (["nothing/*"], "no run matches 'nothing/\\*'"),
        (["1", "--x=minutes"], "invalid choice"),
        ([], "RUN"),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_message(results, words, message):
    with pytest.raises(UsageError, match=message):
        compare.main([*words, "with", f"results_dir={results}"])
    assert not (results / "compare").exists()


def test_no_more_settings_are_named_than_a_legend_can_hold(results):
    for run_id, odd in ((20, 1), (21, 2)):
        stub_runs.write(results, run_id, [-2.0], planner_args={"a": 5, "b": 5, "c": 5, "d": odd})
    stub_runs.write(results, 22, [-2.0], planner_args={"a": 6, "b": 6, "c": 6, "d": 6})
    groups = run(results, "20-22")["groups"]
    labels = ["alg (a=5, b=5, c=5, 1 more) #1", "alg (a=5, b=5, c=5, 1 more) #2", "alg (a=6, b=6, c=6, 1 more)"]
    assert [group["algorithm"] for group in groups] == labels
    assert groups[1]["differing"]["planner_args.d"] == 2


def test_different_series_are_not_compared_without_saying_so(results, capsys):
    stub_runs.write(results, 20, [-2.0], name="plain", metric="eval/policy/return")
    run(results, "1", "20")
    assert "eval/policy/return of plain; eval/search/return of alg" in capsys.readouterr().out
    run(results, "1", "20", "--metric=eval/search/return")
    assert (
        "(plain, done) has no 'eval/search/return' and is left out; there are: eval/policy/return"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "words", [["{}"], ["{}/sacred/*"], ["{}/sacred/_sources", "{}/sacred/1", "{}/sacred/2", "11-13"]]
)
def test_a_folder_of_results_and_a_pattern_without_quotes_mean_their_runs(results, words):
    (results / "sacred" / "_sources").mkdir()
    groups = run(results, *(word.format(results) for word in words))["groups"]
    assert [group["seeds"] for group in groups] == [2, 3]


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_runs_are_read_from_a_database_too(mongod, database, results, monkeypatch, how):
    config = json.loads((results / "sacred" / "1" / "config.json").read_text())
    for run_id, end in ((3, -2.5), (12, -1.5)):
        database.runs.insert_one({"_id": run_id, "config": config | {"seed": run_id}, "status": "COMPLETED"})
        for name, steps, values in (
            ("eval/search/return", [100, 200], [-3.0, -2.9]),
            ("eval/search/return [2]", [300], [end]),
        ):
            times = [datetime(2026, 1, 1)] * len(steps)  # a series too long for one document is kept in several
            database.metrics.insert_one(
                {"run_id": run_id, "name": name, "steps": steps, "values": values, "timestamps": times}
            )
    url = mongod.url(database.name)
    monkeypatch.setenv("TANDEM_MONGO_URL", url if how == "environment" else "mongodb://127.0.0.1:1/none")
    (group,) = run(results, "2-4", "12", "--mongo" if how == "environment" else f"--mongo={url}")["groups"]
    assert (
        group["final"] == -2.0
        and [one["run"] for one in group["runs"]] == ["run 3", "run 12"]
        and group["steps"] == 300
    )


@pytest.mark.parametrize("url", ["mongodb://user:s3cret@127.0.0.1:1/x", ""])
def test_a_database_that_cannot_be_read_is_told_without_its_password(results, monkeypatch, url):
    monkeypatch.setattr(mongo_place, "SECONDS_TO_ANSWER", 0.2)
    monkeypatch.delenv("TANDEM_MONGO_URL", raising=False)
    with pytest.raises(UsageError, match="127.0.0.1:1/x .*does not answer" if url else "--mongo needs a URL") as error:
        compare.main(["1", f"--mongo={url}", "with", f"results_dir={results}"])
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("name", ["results [v1]", "re*", "wh?", "a\\b", "[!x]"])
@pytest.mark.parametrize("words", ["{}", "{}/sacred/*", "{}/sacred/[12]", "{}/sacred/2"])
def test_runs_are_found_in_folders_of_any_name(tmp_path, name, words):
    for seed in (1, 2):
        stub_runs.write(tmp_path / name, seed, [-2.0], seed=seed)
    found, notes = histories.from_folders([words.format(tmp_path / name)])
    assert [history.seed for history in found] == ([2] if words.endswith("/2") else [1, 2]) and notes == []


@pytest.mark.parametrize(
    "words", [["{}"], ["{}/sacred/*"], ["1-20"], ["{}/sacred/1", "{}/sacred/1.bak", "{}/sacred/2", "11-13"]]
)
@pytest.mark.parametrize("name", ["1.bak", "\u00b2", "notes"])
def test_what_else_lies_beside_runs_is_passed_over(results, words, name):
    (results / "sacred" / name).mkdir()
    (results / "sacred" / "1.bak").mkdir(exist_ok=True)
    groups = run(results, *(word.format(results) for word in words))["groups"]
    assert [group["seeds"] for group in groups] == [2, 3]


BROKEN = {"config.json": ["[]", "{}", "{"], "run.json": ["null", "5"], "metrics.json": ["[]", '{"a": {"steps": 5}}']}


@pytest.mark.parametrize(("name", "content"), [(name, content) for name in BROKEN for content in BROKEN[name]])
@pytest.mark.parametrize("words", ["{}", "{}/sacred/*", "1-20"])
def test_a_damaged_record_among_several_is_left_out_with_a_word_and_alone_refused(
    results, capsys, words, name, content
):
    (results / "sacred" / "12" / name).write_text(content)
    groups = run(results, words.format(results))["groups"]
    assert [group["seeds"] for group in groups] == [2, 2]
    assert "note: left out: " in (out := capsys.readouterr().out) and f"sacred/12/{name}" in out
    with pytest.raises(UsageError, match=f"sacred/12/{name}"):
        run(results, "11", "12")


def test_a_run_whose_process_lives_is_running_however_long_it_was_silent(results):
    folder = stub_runs.write(results, 20, [-2.0], seed=3, status="RUNNING")
    with runs.lock(folder):
        assert histories.from_folders(["20"], results)[0][0].status == "running"
    assert histories.from_folders(["20"], results)[0][0].status == "cut off"


def diverge(folder, since: int):
    """Make the losses of a recorded run not a number from a step on; what it scores
    then is luck, and may be the best.
    """
    path = folder / "metrics.json"
    metrics = json.loads(path.read_text())
    steps = metrics["time/training_seconds"]["steps"]
    metrics["train/loss"] = {"steps": steps, "values": [math.nan if step >= since else 0.5 for step in steps]}
    path.write_text(json.dumps(metrics))


def test_a_run_that_diverged_is_never_first(results, capsys):
    diverge(stub_runs.write(results, 20, [-5.0, 11.0, 11.0], name="broken"), since=200)
    groups = {group["algorithm"]: group for group in run(results, "1-2", "11-13", "20")["groups"]}
    assert groups["broken"]["final"] is None and groups["broken"]["diverged"] == 1
    assert groups["broken"]["runs"][0]["status"] == "diverged" and groups["alg"]["threshold"] == pytest.approx(-4.5)
    pairs = json.loads((results / "out" / "compare.json").read_text())["improvements"]
    assert [pair["estimate"]["value"] for pair in pairs if pair["second"] == "broken"] == [1.0]
    assert [pair["estimate"]["value"] for pair in pairs if pair["first"] == "broken"] == [0.0]
    out = capsys.readouterr().out
    assert "1 of 1 diverged" in out and "(diverged)" in out
    before = {group["algorithm"]: group for group in run(results, "1-2", "20", "--at=150")["groups"]}["broken"]
    assert (before["final"], before["diverged"]) == (3.0, 0)  # it was still sound there
    assert {group["algorithm"]: group for group in run(results, "1-2", "20", "--x=time")["groups"]}["broken"][
        "final"
    ] is None


def test_one_seed_of_several_that_diverged_counts_as_the_worst(results):
    for seed in (1, 2, 3, 4):
        folder = stub_runs.write(results, 30 + seed, [-3.0, float(seed)], name="some", seed=seed)
    diverge(folder, since=200)
    (group,) = run(results, "31-34")["groups"]
    assert (group["final"], group["diverged"], group["final_low"]) == (
        1.5,
        1,
        None,
    )  # of the middle two of -inf, 1, 2, 3


def test_a_number_that_was_not_finite_for_once_is_no_divergence(results):
    folder = stub_runs.write(results, 20, [-5.0, -4.0, -3.0], name="shaky")
    diverge(folder, since=200)
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["train/loss"]["values"] = [0.5, math.inf, 0.5]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (group,) = run(results, "20")["groups"]
    assert (group["final"], group["diverged"]) == (-3.0, 0)
