"""Training with MongoDB from the command line: one whole run, and starts that must not happen."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import gridfs
import pymongo
import pytest

from tests.reference.mongod import SECRET
from tests.test_main import ROOT, TINY

CONFIGURED, VARIABLE, OPTION, COMMENT, WRITTEN = "c0nfigured", "v4riable", "0ption", "c0mment", "wr1tten"
SECRETS = (SECRET, CONFIGURED, VARIABLE, OPTION, COMMENT, WRITTEN)


def type_in(folder, *words, **environ):
    command = [sys.executable, str(ROOT / "src" / "main.py"), *words]
    return subprocess.run(
        command, cwd=folder, env=os.environ | environ, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def trained(guarded, tmp_path_factory):
    """Train once, the database named in all four ways; the flag must win."""
    folder = tmp_path_factory.mktemp("trained")
    options = f"?tlsCertificateKeyFilePassword={OPTION}&authMechanismProperties=AWS_SESSION_TOKEN:{OPTION}"
    settings = [f"mongo_url=mongodb://me:{CONFIGURED}@127.0.0.1:1/db{options}", "max_minutes=0.003", "seed=3"]
    settings += ["-c", f"not mongodb://me:a {COMMENT}/x@h/db"]
    flag = guarded.url("trained", f"writer:{SECRET}", "?authSource=admin")
    written = (ROOT / "src" / "config" / "algs" / "mazero_seq.yaml").read_text()
    with tempfile.TemporaryDirectory() as elsewhere:
        own = Path(elsewhere) / "mazero_seq.yaml"
        own.write_text(f"{written}\nmongo_url: mongodb://me:{WRITTEN}@127.0.0.1:3/db\n")
        words = [f"--config={own}", *TINY[1:], *settings, "-m", flag]
        done = type_in(folder, *words, TANDEM_MONGO_URL=f"mongodb://me:{VARIABLE}@127.0.0.1:2/db")
    with pymongo.MongoClient(flag) as client:
        yield done, folder, client["trained"]


def test_a_training_run_is_recorded_whole(trained):
    done, folder, database = trained
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "MongoDB: run 1 in 127.0.0.1:" in done.stdout
    record = folder / "results" / "sacred" / "1"
    stored = {name: json.loads((record / f"{name}.json").read_text()) for name in ("run", "config", "metrics")}
    (run,) = database.runs.find()
    assert (run["_id"], run["status"], run["result"]) == (1, "COMPLETED", stored["run"]["result"])
    assert run["config"] == stored["config"] and run["config"]["planner_args"]["num_simulations"] == 2
    assert run["host"] == stored["run"]["host"] and run["experiment"]["name"] == "tandem"
    curves = {one["name"]: one for one in database.metrics.find({"run_id": 1})}
    assert set(curves) == set(stored["metrics"]) and len(curves) > 10
    assert all(curves[name]["steps"] == points["steps"] for name, points in stored["metrics"].items())
    assert "mazero_seq on matrix_game/climbing, seed 3: done" in run["captured_out"]
    artifacts = {one["name"]: gridfs.GridFS(database).get(one["file_id"]).read() for one in run["artifacts"]}
    assert json.loads(artifacts["config.json"])["seed"] == 3


def test_no_password_is_printed_or_stored(trained):
    done, folder, database = trained
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    rows = [repr(one).encode() for name in database.list_collection_names() for one in database[name].find()]
    stored_files = [gridfs.GridFS(database).get(one["_id"]).read() for one in database["fs.files"].find()]
    everything = [done.stdout.encode(), done.stderr.encode(), *files, *rows, *stored_files]
    assert len(files) > 5 and len(rows) > 10 and any(path.name == "provenance.json" for path in folder.rglob("*"))
    assert any(b"mongodb://***@h/db" in text for text in files)  # the comment
    assert not [text for text in everything for secret in SECRETS if secret.encode() in text]
    assert database.runs.find_one()["config"]["mongo_url"].startswith("mongodb://***@127.0.0.1:")


def test_upload_finds_nothing_to_do_and_needs_the_password_again(trained, guarded):
    _, folder, database = trained
    before = list(database.runs.find())
    refused = type_in(folder, "upload", "--run=1", TANDEM_MONGO_URL="")
    assert refused.returncode == 2 and "credentials are not stored" in refused.stderr, refused.stderr
    url = guarded.url("trained", f"writer:{SECRET}", "?authSource=admin")
    done = type_in(folder, "upload", "--run=1", TANDEM_MONGO_URL=url)
    assert done.returncode == 0 and "-> run 1 in 127.0.0.1" in done.stdout, done.stderr
    assert list(database.runs.find()) == before


def test_a_run_does_not_start_without_its_database(tmp_path):
    done = type_in(tmp_path, *TINY, f"mongo_url=mongodb://me:{SECRET}@127.0.0.1:1/db")
    assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr
    assert "MongoDB at 127.0.0.1:1/db (mongo_url) does not answer" in done.stderr
    assert "mongo_optional=True" in done.stderr
    assert SECRET not in done.stderr and list(tmp_path.iterdir()) == []


def test_a_mistyped_setting_does_not_give_the_password_away(capsys, monkeypatch):
    from tandem import main

    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))  # which `main` adds to
    url = f"mongodb://me:{SECRET}@h/db"
    assert main.main(["--config=mazero_seq", "with", "compile_cache_dir=", url, f"mongo_ulr={url}"]) == main.BAD_USAGE
    said = capsys.readouterr().err
    assert "did you mean mongo_url?" in said and "'mongodb://***@h/db'" in said and SECRET not in said


def test_an_optional_database_does_not_keep_a_run_from_starting(capsys):
    from tandem.commands import preparing
    from tandem.config import commandline

    words = ["--config=mazero_seq", "with", f"mongo_url=mongodb://me:{SECRET}@127.0.0.1:1/db", "mongo_optional=True"]
    place = preparing.choose_mongo(commandline.parse(words, ("train",)))
    said = capsys.readouterr().err
    assert str(place) == "127.0.0.1:1/db" and "the run starts anyway" in said and SECRET not in said


@pytest.mark.parametrize(
    "words", [["-m", "u"], ["-mu"], ["--mongo_db", "u"], ["--mongo_db=u"], ["--mongo=u"], ["--mongo-url=u"]]
)
def test_sacreds_flag_is_taken_out_in_all_its_spellings(words):
    from tandem.config import commandline

    request = commandline.parse(["train", *words, "with", "seed=3", "-c", "text"], ("train",))
    assert request.mongo == "u" and request.rest == ("train", "with", "seed=3", "-c", "text")


@pytest.mark.parametrize("words", [["-m"], ["--mongo_db="], ["-m", "with", "seed=3"]])
def test_sacreds_flag_without_a_database_is_refused(words):
    from tandem.config import commandline

    with pytest.raises(commandline.UsageError, match="needs a database"):
        commandline.parse(words, ("train",))
