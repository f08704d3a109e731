"""Finding recorded runs."""

import fcntl
import json
import os

import pytest

from tandem.records import runs
from tandem.records.runs import RecordError


@pytest.fixture
def results(tmp_path):
    for number in (2, 10):
        folder = tmp_path / "sacred" / str(number)
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"seed": number}))
    (tmp_path / "sacred" / "_sources").mkdir()
    return tmp_path


def test_a_run_is_found_by_its_id_its_folder_or_a_file_in_it(results):
    folder = results / "sacred" / "10"
    found = [runs.find("10", results), runs.find(str(folder)), runs.find(str(folder / "config.json"))]
    assert {run.folder for run in found} == {folder}
    assert found[0].config == {"seed": 10} and found[0].id == "10" and found[0].results == results


def test_ids_are_in_the_order_of_numbers(results):
    assert runs.ids(results) == ["2", "10"]


@pytest.mark.parametrize(
    ("run", "words"), [("3", ("no run '3'", "2, 10")), ("nowhere/4", ("nowhere/4", "does not exist"))]
)
def test_a_missing_run_is_named_with_those_there_are(results, run, words):
    with pytest.raises(ValueError, match="no run") as error:
        runs.find(run, results)
    assert all(word in str(error.value) for word in words)


def test_a_folder_without_a_configuration_is_no_run(results):
    (results / "sacred" / "10" / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json is damaged"):
        runs.find("10", results)


@pytest.mark.parametrize("name", ["1.bak", "\u00b2", "7 copy", "notes.txt", "-3"])
def test_other_names_beside_runs_are_passed_over(results, name):
    (results / "sacred" / name).mkdir()
    (results / "sacred" / "5").write_text("a file")
    assert runs.ids(results) == ["2", "10"]
    with pytest.raises(RecordError, match="there are runs 2, 10"):
        runs.find("77", results)


def test_a_name_that_no_folder_can_have_is_no_run(results):
    with pytest.raises(RecordError, match="no run 'x+': File name too long"):
        runs.find("x" * 300, results)


@pytest.mark.parametrize("path", [".", "./10", "../10", "10/"])
def test_a_run_knows_its_results_folder_wherever_it_is_called_from(results, monkeypatch, path):
    monkeypatch.chdir(results / "sacred" / "10" if path.startswith(".") and path != "./10" else results / "sacred")
    run = runs.find(path)
    assert run.id == "10" and run.results.resolve() == results.resolve()


@pytest.mark.parametrize("content", ["null", "[]", "5", '"x"', "{", "", "[" * 100_000, "\xff"])
def test_a_file_of_another_kind_is_named_in_one_sentence(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content.encode("latin1"))
    with pytest.raises(RecordError, match="run.json is damaged: ") as error:
        runs.read_json(tmp_path / "run.json")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [None, "[]", '{"status": null}', "{}"])
def test_a_status_that_a_record_does_not_say_is_unknown(results, content):
    if content is not None:
        (results / "sacred" / "10" / "run.json").write_text(content)
    assert runs.find("10", results).status == ""


@pytest.mark.parametrize(
    "name", ["/etc/hosts", "../2/config.json", "a/../../2", "away", "away/x", "", None, ["a"], "a\0b"]
)
def test_names_that_lead_out_of_a_folder_are_refused(results, name):
    folder = results / "sacred" / "10"
    (folder / "away").symlink_to(results / "sacred" / "2")
    with pytest.raises(RecordError, match="leads out of"):
        runs.inside(folder, name)


def test_names_within_a_folder_are_taken_also_over_links(results):
    folder = results / "sacred" / "10"
    (folder / "same").symlink_to("config.json")
    (results / "linked").symlink_to(folder)
    assert runs.inside(folder, "same") == folder / "same" and runs.inside(folder, "new/one") == folder / "new" / "one"
    assert runs.inside(results / "linked", "config.json").is_file()


@pytest.mark.parametrize("name", ["cout.txt", "film.mp4", ".lock", "deep/x"])
def test_a_record_with_a_link_that_leads_out_is_not_touched(results, tmp_path, name):
    place = results / "sacred" / "10" / name
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(tmp_path / "secret")
    with pytest.raises(RecordError, match="leads out of"):
        runs.find("10", results)


def test_checkpoints_that_lie_elsewhere_are_not_touched(results, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (results / "models").mkdir()
    (results / "models" / "10").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecordError, match="'10', which leads out of .*models"):
        runs.find("10", results)
    runs.find("2", results)


def test_a_pipe_in_a_record_hangs_nobody(results):
    os.mkfifo(results / "sacred" / "10" / "run.json")
    with pytest.raises(RecordError, match="neither a file nor a folder"):
        runs.find("10", results)


def test_a_record_is_locked_as_long_as_its_lock_is_kept(results):
    run = runs.find("10", results)
    assert not run.running
    with runs.lock(run.folder):
        assert run.running
        with pytest.raises(BlockingIOError):
            runs.lock(run.folder)
    assert not run.running


def test_a_run_that_starts_while_its_record_is_asked_about_is_not_refused(results, monkeypatch):
    folder, ask, started = results / "sacred" / "10", fcntl.fcntl, []
    (folder / ".lock").touch()

    def asking(handle, command, *args):
        answer = ask(handle, command, *args)
        if command == fcntl.F_OFD_GETLK:
            started.append(runs.lock(folder))  # while the one who asks still has the file open
        return answer

    monkeypatch.setattr(fcntl, "fcntl", asking)
    assert not runs.is_locked(folder)
    monkeypatch.undo()
    assert len(started) == 1 and runs.is_locked(folder)
    started[0].close()


def test_locking_alters_no_file_that_the_lock_is_a_link_to(results, tmp_path):
    (tmp_path / "precious").write_text("content")
    (results / "sacred" / "10" / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        runs.lock(results / "sacred" / "10")
    assert (tmp_path / "precious").read_text() == "content"


def test_a_lock_that_nobody_keeps_is_gone(results):
    held = runs.lock(results / "sacred" / "10")
    del held
    assert not runs.is_locked(results / "sacred" / "10")
