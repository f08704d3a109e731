"""Flags of the commands: mistakes are told before any work is done, in one sentence that names the flag."""

import pytest

from tandem.commands import ablation, arguments, batch, compare, flags, tune
from tandem.config import writable
from tandem.config.commandline import UsageError
from tandem.experiments import seeds
from tandem.experiments.batch import number_of_jobs


def complaint(call, *given):
    with pytest.raises(UsageError) as caught:
        call(*given)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the current folder, in which there is a file, an empty folder, and one that cannot be written into."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "out, said",
    [
        ("taken", "taken is a file"), ("taken/x", "taken is a file"), ("", "no name that a folder can have"),
        ("a\tb", "no name that a folder can have"),
        ("o" * 300, "no name that a folder can have"), ("~nobody.at.all/x", "no home folder"),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_drawn(folder, out, said):
    text = complaint(compare.main, ["1", f"--out={out}"])
    assert "--out" in text and said in text
    assert sorted(path.name for path in folder.iterdir()) == ["folder", "taken"]


@pytest.mark.parametrize("out", ["taken/x", "none/x", "folder", "folder/", "", "o" * 300])
def test_a_film_that_cannot_be_written_is_refused_before_a_run_is_looked_for(folder, out):
    from tandem.commands import render

    assert "--out" in complaint(render.main, ["--run=7", f"--out={out}"])


def test_a_folder_that_may_not_be_written_into_is_refused(folder, monkeypatch):
    assert writable.problem_of_folder("folder/new/one") == ""
    monkeypatch.setattr(writable.os, "access", lambda path, mode: False)  # root may write wherever it is asked
    assert "nothing can be written into" in writable.problem_of_folder("folder/new/one")
    assert not (folder / "folder" / "new").exists()


@pytest.mark.parametrize(
    "word", ["--at=nan", "--at=inf", "--at=soon", "--at=", "--threshold=nan", f"--at=1{'0' * 400}"]
)
def test_numbers_of_a_comparison_are_finite(word):
    assert word.partition("=")[0] in complaint(compare.parser().parse_args, ["1", word])


@pytest.mark.parametrize(
    "words, said",
    [
        (["-metric=x"], "cannot read '-metric'"), (["--x=time", "--x=steps"], "--x is given twice"),
        (["--"], "cannot read '--'"), (["--metrik=x"], "cannot read '--metrik'; did you mean --metric?"),
    ],
)  # fmt: skip
def test_flags_that_would_be_dropped_or_misread_are_refused(words, said):
    assert said in complaint(compare.parser().parse_args, ["1", *words])


@pytest.mark.parametrize("text", ["99999999999", "1-99999999999", "10001", "9" * 400, "²", "٣", "1-2-3", "5-3"])
def test_seeds_are_counted_before_they_are_listed(text):
    assert "seeds" in complaint(seeds.parse, text)


@pytest.mark.parametrize("asked", ["²", "0", "-1", "9" * 400, "1.5", ""])
def test_a_number_of_jobs_is_one(asked):
    assert "jobs" in complaint(number_of_jobs, asked, 3, 0)


@pytest.mark.parametrize("word", ["--samples=99999999999", "--samples=²", "--concurrent=0", "--grace=nan", "--grace=0"])
def test_numbers_of_a_sweep_are_bounded(word):
    assert word.partition("=")[0] in complaint(tune.read, ["--space=mazero", word])


def test_a_grid_of_more_trials_than_can_be_run_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wide = [*range(1, 61)]
    (tmp_path / "wide.yaml").write_text(
        f"seed: {wide}\nlearner_args.unroll: {wide}\nplanner_args.num_simulations: {wide}\n"
    )
    assert "216,000 trials" in complaint(tune.main, ["--space=wide.yaml", "--env-config=matrix_game"])


@pytest.mark.parametrize("results", ["taken", "taken/x"])
def test_results_that_cannot_be_written_are_refused_by_a_batch(folder, results):
    words = ["--seeds=2", "--config=mazero_seq", "--env-config=matrix_game", "with", f"results_dir={results}"]
    assert f"results_dir={results}: " in complaint(batch.main, words)


def test_commands_are_shown_as_a_shell_reads_them(tmp_path, capsys):
    path = tmp_path / "a b.yaml"
    path.write_text(
        "seeds: 1\nenvironments: {m: {env_config: matrix_game}}\nvariants: {'x [y]': {config: mazero_seq}}\n"
    )
    assert ablation.main([str(path), "--dry-run"]) == 0
    assert "'name=x [y]'" in capsys.readouterr().out


def test_help_is_printed_wherever_it_is_asked_for(capsys):
    with pytest.raises(SystemExit):
        arguments.parse(flags.parser("batch", "What it does."), ["with", "seed=1", "--help"])
    assert "What it does." in capsys.readouterr().out
