"""What is read from a run's folder to be put into a database."""

import json

import pytest

from tandem.records import checkpoint_folder
from tandem.records import record_files
from tandem.records.runs import RecordError
from tests.commands import stub_runs

ENTRY = {"experiment": {"sources": [["a.py", "_sources/a.py"]]}, "artifacts": ["film.mp4", "gone.txt"], "host": {}}


@pytest.fixture
def folder(tmp_path):
    """Return the folder of a run whose record names a source file and an artifact; a file
    that is not its own lies near.
    """
    folder = stub_runs.write(tmp_path / "results", 1, [0.0])
    (folder.parent / "_sources").mkdir()
    (folder.parent / "_sources" / "a.py").write_text("one = 1")
    (folder / "film.mp4").write_text("film")
    (tmp_path / "precious").write_text("content")
    for place in (folder, folder.parent):
        (place / "link").symlink_to(tmp_path / "precious")
    return folder


def entry(folder, **changed):
    (folder / "run.json").write_text(json.dumps(ENTRY | changed))
    return record_files.read_entry(folder)


def test_what_a_record_names_is_found(folder):
    read = entry(folder)
    assert set(record_files.artifacts(folder, read, final=True)) == {"config.json", "film.mp4"}
    assert record_files.sources(folder, read) == [("a.py", folder.parent / "_sources" / "a.py")]


@pytest.mark.parametrize("name", ["/etc/hosts", "../../../precious", "../2/config.json", "link", 5, None])
def test_files_that_are_not_the_runs_own_are_refused(folder, name):
    with pytest.raises(RecordError, match="leads out of"):
        record_files.artifacts(folder, entry(folder, artifacts=["film.mp4", name]), final=False)
    if isinstance(name, str):
        with pytest.raises(RecordError, match="leads out of"):
            record_files.sources(folder, entry(folder, experiment={"sources": [["a.py", name]]}))


@pytest.mark.parametrize("value", [5, "x", [["a"]], [[1, 2]], [None]])
@pytest.mark.parametrize("key", ["experiment", "host", "sources", "base_dir"])
def test_a_record_of_another_form_is_told(folder, monkeypatch, key, value):
    monkeypatch.setattr(record_files, "SECONDS_TO_WRITE", 0.0)
    if key == "base_dir" and isinstance(value, str):
        return  # this is right
    changed = {key: value} if key in ENTRY else {"experiment": {key: value}}
    with pytest.raises(RecordError, match="run.json is damaged"):
        entry(folder, **changed)


def test_a_time_that_is_none_is_told(folder):
    with pytest.raises(RecordError, match="run.json is damaged: heartbeat: "):
        entry(folder, heartbeat="then")


def test_a_record_that_says_less_is_read_all_the_same(folder):
    (folder / "run.json").write_text("{}")
    read = record_files.read_entry(folder)
    assert record_files.sources(folder, read) == [] and set(record_files.artifacts(folder, read, False)) == {
        "config.json"
    }


@pytest.mark.parametrize(("scores", "best"), [({30: 1.0, 60: 5.0, 90: None}, "60"), ({30: None}, None), ({}, None)])
def test_the_best_checkpoint_is_the_same_one_as_everywhere(folder, scores, best):
    models = checkpoint_folder.folder(folder.parent.parent, folder.name)
    for step, score in scores.items():
        (models / str(step)).mkdir(parents=True)
        meta = checkpoint_folder.Meta(step, 1, score, {}, {})
        (models / str(step) / "meta.json").write_text(json.dumps(meta._asdict()))
    assert record_files.best_checkpoint(folder) == (models / best if best else None)
