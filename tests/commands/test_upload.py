"""The command `upload`: what it asks for and what it says."""

import json

import pytest

from tandem.commands import upload
from tandem.config.commandline import UsageError


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Two finished runs in ./results, the second with another database in its configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TANDEM_MONGO_URL", raising=False)
    for number, url in ((1, None), (2, "mongodb://127.0.0.1:1/other")):
        folder = tmp_path / "results" / "sacred" / str(number)
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"seed": number, "mongo_url": url}))
        (folder / "run.json").write_text(
            json.dumps({"experiment": {}, "status": "COMPLETED", "start_time": "2026-01-01T00:00:00"})
        )
    return tmp_path / "results"


def test_several_runs_go_up_by_id_and_by_path(results, mongod, database, capsys):
    words = ["--run=1", f"--run={results / 'sacred' / '2'}", f"--mongo={mongod.url(database.name)}"]
    assert upload.main(words) == 0 and upload.main(words) == 0
    assert [one["config"]["seed"] for one in database.runs.find(sort=[("_id", 1)])] == [1, 2]
    assert f"results/sacred/1 -> run 1 in 127.0.0.1:{mongod.port}/{database.name}" in capsys.readouterr().out


def test_the_variable_names_the_database_where_the_run_names_none(results, mongod, database, monkeypatch):
    monkeypatch.setenv("TANDEM_MONGO_URL", mongod.url(database.name))
    assert upload.main(["--run=1"]) == 0 and database.runs.count_documents({}) == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--run=7"], "no run '7'.*there are runs 1, 2"),
        (["--run=1"], "run 1 names no MongoDB.*--mongo=.*TANDEM_MONGO_URL"),
        (["--run=2"], "MongoDB at 127.0.0.1:1/other .mongo_url. does not answer"),
        (["--run=1", "-m", "a b"], "names no MongoDB database; write mongodb://"),
    ],
)
def test_what_is_missing_is_said_in_one_message(results, words, expected):
    with pytest.raises(UsageError, match=expected):
        upload.main(words)


def test_a_broken_record_is_named(results, mongod, database):
    (results / "sacred" / "1" / "run.json").write_text("{")
    with pytest.raises(UsageError, match="run.json is damaged"):
        upload.main(["--run=1", "-m", mongod.url(database.name)])
