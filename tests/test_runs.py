"""Finding recorded runs."""

import json

import pytest

from src import runs


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


@pytest.mark.parametrize(("run", "words"), [("3", ("no run '3'", "2, 10")), ("nowhere/4", ("nowhere/4", "does not exist"))])
def test_a_missing_run_is_named_with_those_there_are(results, run, words):
    with pytest.raises(ValueError, match="no run") as error:
        runs.find(run, results)
    assert all(word in str(error.value) for word in words)


def test_a_folder_without_a_configuration_is_no_run(results):
    (results / "sacred" / "10" / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json cannot be read"):
        runs.find("10", results)
