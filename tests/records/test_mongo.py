"""Runs in MongoDB, on a real server: what is there afterwards, whatever happens to the server meanwhile."""

import json
import os
import shutil
import signal
import threading
import time
from datetime import datetime

import gridfs
import pymongo
import pytest

from tandem.records import mongo_place, mongo_series, mongo_upload, record_files
from tandem.records.mongo_upload import Upload
from tests.reference.mongo_runs import Recorder, curve, documents, points, reports, uploaded, wait_for
from tests.reference.mongod import Mongod


@pytest.fixture
def start(tmp_path, monkeypatch):
    return Recorder(tmp_path, monkeypatch)


def test_a_run_is_in_the_database_as_sacred_would_have_put_it_there(start, mongod, database, tmp_path):
    start(mongod.url(database.name), reports(5))
    run, stored = database.runs.find_one(), json.loads((tmp_path / "sacred" / "1" / "run.json").read_text())
    assert start.said == [] and run["_id"] == 1 and run["status"] == "COMPLETED" and run["result"] == -5.0
    assert run["config"]["env_args"] == {"scenario": "valley"} and run["host"] == stored["host"]
    assert run["start_time"] == datetime.fromisoformat(stored["start_time"]).replace(
        microsecond=run["start_time"].microsecond
    )
    assert run["stop_time"] >= run["start_time"] and run["heartbeat"] >= run["start_time"]
    assert "alg on world/valley, seed 5: done" in run["captured_out"] and "\x1b" not in run["captured_out"]
    listed = {one["name"]: one["id"] for one in run["info"]["metrics"]}
    (curve,) = database.metrics.find({"name": "train/return"})
    assert listed["train/return"] == str(curve["_id"]) and curve["run_id"] == 1
    assert curve["steps"] == [30, 60, 90, 120, 150] and curve["values"] == [step / 7 for step in range(1, 6)]
    assert all(isinstance(time, datetime) for time in curve["timestamps"])
    files = gridfs.GridFS(database)
    (resolved,) = [one for one in run["artifacts"] if one["name"] == "config.json"]
    assert json.loads(files.get(resolved["file_id"]).read())["seed"] == 5
    assert all(files.get(file_id).read() for _, file_id in run["experiment"]["sources"])


def test_artifacts_videos_and_the_best_checkpoint_come_along(start, mongod, database, tmp_path):
    start(mongod.url(database.name), reports(2))
    run = tmp_path / "sacred" / "1"
    (run / "final.mp4").write_bytes(b"film" * 200_000)  # more than one chunk
    shutil.rmtree(tmp_path / "models")  # the run's own: others, whose scores are known, take their place
    for step, score in ((60, 3.0), (120, 7.5), (180, None)):
        checkpoint = tmp_path / "models" / "1" / str(step)
        (checkpoint / "state").mkdir(parents=True)
        (checkpoint / "state" / "data").write_text(f"weights of {step}")
        (checkpoint / "meta.json").write_text(
            json.dumps({"score": score, "step": step, "update": 1, "config": {}, "keys": {}})
        )
    uploaded(run, database).sync(final=True)
    files = {one["name"]: gridfs.GridFS(database).get(one["file_id"]) for one in database.runs.find_one()["artifacts"]}
    assert set(files) >= {"config.json", "provenance.json", "final.mp4", "best_checkpoint.tar"}
    assert (
        files["final.mp4"].read() == b"film" * 200_000
        and database["fs.files"].find_one({"filename": {"$regex": "mp4"}})["contentType"] == "video/mp4"
    )
    assert b"weights of 120" in files["best_checkpoint.tar"].read()


def test_a_checkpoint_too_large_for_a_database_stays_where_it_is(start, mongod, database, tmp_path, monkeypatch):
    monkeypatch.setattr(record_files, "CHECKPOINT_LIMIT", 20)
    start(mongod.url(database.name), reports(2))
    checkpoint = tmp_path / "models" / "1" / "60"
    Upload(tmp_path / "sacred" / "1", database).sync(final=True)
    run = database.runs.find_one()
    assert "best_checkpoint.tar" not in [one["name"] for one in run["artifacts"]]
    assert str(checkpoint) in run["tandem"]["left_out"]


def test_an_artifact_that_changes_is_replaced_not_added(start, mongod, database, tmp_path):
    start(mongod.url(database.name), reports(2))
    run = tmp_path / "sacred" / "1"
    for content in (b"first", b"second"):
        (run / "film.gif").write_bytes(content)
        uploaded(run, database).sync(final=True)
    (film,) = database["fs.files"].find({"filename": {"$regex": "film"}})
    assert gridfs.GridFS(database).get(film["_id"]).read() == b"second"
    assert {one["files_id"] for one in database["fs.chunks"].find()} == {
        one["_id"] for one in database["fs.files"].find()
    }


def test_uploading_again_changes_no_document(start, mongod, database, tmp_path):
    start(mongod.url(database.name), reports(5))
    before = documents(database)
    for _ in range(2):
        uploaded(tmp_path / "sacred" / "1", database).sync(final=True)
    assert documents(database) == before


def test_a_server_killed_and_started_again_in_mid_run_misses_nothing(start, tmp_path):
    server = Mongod(tmp_path / "db").start()

    def disturb(step):
        if step == 20:
            server.kill()
        if step == 60:
            wait_for(lambda: len(start.said) == 1)
            threading.Thread(target=server.start).start()
        if step == 100:
            wait_for(lambda: len(start.said) == 2)

    try:
        start(server.url("runs"), reports(120, disturb))
        database = mongo_place.open_lazily(mongo_place.parse(server.url("runs"), "test"))
        assert points(database, 1, "train/return")[0] == [30 * step for step in range(1, 121)]
        assert points(database, 1, "eval/search/return")[1] == [-float(step) for step in range(1, 121)]
        assert database.runs.find_one()["status"] == "COMPLETED"
        database.client.close()
    finally:
        server.kill()
    assert len(start.said) == 2 and "the run continues" in start.said[0] and "is back" in start.said[1]


def test_a_server_that_comes_only_at_the_end_gets_everything(start, tmp_path):
    """As with mongo_optional=True."""
    server = Mongod(tmp_path / "db")

    def disturb(step):
        if step == 40:
            wait_for(lambda: start.said)
            server.start()

    try:
        start(server.url("runs"), reports(40, disturb))
        database = mongo_place.open_lazily(mongo_place.parse(server.url("runs"), "test"))
        assert points(database, 1, "train/return")[0] == [30 * step for step in range(1, 41)]
        database.client.close()
    finally:
        server.kill()
    assert len(start.said) == 2 and "does not answer" in start.said[0] and "is back" in start.said[1]


def test_an_interrupted_run_is_interrupted_there_as_well_with_its_last_words(start, mongod, database, tmp_path):
    def interrupt(step):
        if step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        start(mongod.url(database.name), reports(9, interrupt), beat=60)  # only the one at the end
    run = database.runs.find_one()
    assert (
        run["status"] == "INTERRUPTED"
        and run["result"] == -5.0  # it stops at its next report
        and points(database, 1, "train/return")[0] == [30, 60, 90, 120, 150]
    )
    assert "seed 5: interrupted" in run["captured_out"]
    assert run["captured_out"] == (tmp_path / "sacred" / "1" / "cout.txt").read_text()


def test_a_server_that_never_comes_back_ends_in_the_command_that_uploads_later(
    start, tmp_path, mongod, database, capsys
):
    from tandem.commands import upload

    server = Mongod(tmp_path / "db").start()

    def disturb(step):
        if step == 20:
            server.kill()
        if step == 40:
            wait_for(lambda: start.said)

    began = time.monotonic()
    start(server.url("runs"), reports(40, disturb), patience=1.5)
    assert time.monotonic() - began < 30 and "the run continues" in start.said[0] and "not complete" in start.said[1]
    (command,) = [line.strip() for line in start.said[1].splitlines() if "python src/main.py upload" in line]
    assert json.loads((tmp_path / "sacred" / "1" / "run.json").read_text())["status"] == "COMPLETED"
    assert upload.main([*command.split()[3:], "-m", mongod.url(database.name)]) == 0
    assert points(database, 1, "train/return")[0] == [30 * step for step in range(1, 41)]
    assert "-> run 1 in 127.0.0.1" in capsys.readouterr().out


def test_a_database_that_lost_its_data_gets_everything_again(start, mongod, database):
    start(
        mongod.url(database.name),
        reports(200, lambda step: database.client.drop_database(database.name) if step == 100 else time.sleep(0.003)),
    )
    assert points(database, 1, "train/return")[0] == [30 * step for step in range(1, 201)]
    assert database.runs.find_one()["status"] == "COMPLETED"
    assert all(gridfs.GridFS(database).get(one["file_id"]).read() for one in database.runs.find_one()["artifacts"])


def test_ten_runs_at_once_from_ten_machines_share_a_database(start, mongod, database, tmp_path):
    """Each has a results folder of its own, so all are run 1 there."""
    for machine in range(10):
        folder = tmp_path / str(machine) / "sacred" / "1"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"seed": machine}))
        entry = {"experiment": {"sources": []}, "status": "COMPLETED", "start_time": "2026-01-01T00:00:00", "host": {}}
        (folder / "run.json").write_text(json.dumps(entry))
    uploads = [Upload(tmp_path / str(machine) / "sacred" / "1", database) for machine in range(10)]
    for upload in uploads:
        upload.documents.add(curve(range(50)))
    threads = [threading.Thread(target=one.sync, args=(True,)) for one in uploads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(database.runs.distinct("_id")) == list(range(1, 11))
    assert sorted(one["config"]["seed"] for one in database.runs.find()) == list(range(10))
    assert {one["tandem"]["run"] for one in database.runs.find()} == {"1"}
    assert all(points(database, run_id, "loss")[0] == list(range(50)) for run_id in range(1, 11))


def test_a_series_of_100000_points_is_kept_and_read_back(start, mongod, database, tmp_path, monkeypatch):
    monkeypatch.setattr(mongo_series, "POINTS_PER_DOCUMENT", 70_000)  # so that it also needs two documents
    monkeypatch.setattr(mongo_upload, "POINTS_PER_REQUEST", 9_000)  # and several requests
    start(mongod.url(database.name), reports(1))
    work = Upload(tmp_path / "sacred" / "1", database)
    for begin in range(0, 100_000, 25_000):
        work.documents.add(curve(range(begin, begin + 25_000)))
        work.sync(final=False)
    steps, values = points(database, 1, "loss")
    assert steps == list(range(100_000)) and values == [step / 3 for step in range(100_000)]
    names = [one["name"] for one in database.runs.find_one()["info"]["metrics"]]
    assert names == ["loss", "loss [2]"]


@pytest.mark.parametrize("steps", [[30, 60, 75], [30, 60, 75, 100, 120, 150, 180]])
def test_a_run_that_went_back_to_a_checkpoint_takes_its_points_back(start, mongod, database, tmp_path, steps):
    """As after kill -9 and resume: the series on the server is other than the record, longer or shorter."""
    start(mongod.url(database.name), reports(5))
    work = Upload(tmp_path / "sacred" / "1", database)
    work.documents.add(curve(steps, "train/return"))
    work.sync(final=False)
    assert points(database, 1, "train/return") == (steps, [step / 3 for step in steps])
    assert points(database, 1, "eval/search/return") == ([], [])
    work.documents.add(curve([900], "train/return"))
    work.sync(final=False)
    assert points(database, 1, "train/return")[0] == [*steps, 900]


def test_two_uploads_of_one_run_at_once_repeat_no_point(start, mongod, database, tmp_path):
    start(mongod.url(database.name), reports(2))
    works = [Upload(tmp_path / "sacred" / "1", database) for _ in range(2)]
    for step in range(4):
        for work in works:
            work.documents.add(curve([step]))
            work.sync(final=False)
    assert points(database, 1, "loss")[0] == [0, 1, 2, 3] and database.runs.count_documents({}) == 1


def test_an_answer_that_is_lost_repeats_no_point(start, mongod, database, tmp_path, monkeypatch):
    """The server did what it was asked, and the run never heard of it."""
    start(mongod.url(database.name), reports(2))
    work = Upload(tmp_path / "sacred" / "1", database)
    write = pymongo.collection.Collection.bulk_write

    def lose_the_answer(*writes):
        write(*writes)
        raise mongo_place.PyMongoError("connection closed")

    for step in range(3):
        work.documents.add(curve([step]))
        with monkeypatch.context() as patch, pytest.raises(mongo_place.PyMongoError):
            patch.setattr(pymongo.collection.Collection, "bulk_write", lose_the_answer)
            work.sync(final=False)
        work.sync(final=False)
    assert points(database, 1, "loss")[0] == [0, 1, 2]
