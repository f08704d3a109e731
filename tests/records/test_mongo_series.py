"""The series in MongoDB are those of the run's folder, point for point, and a round costs what is new."""

import datetime
import math
import signal
import struct

import pytest

from tandem.commands import upload
from tandem.records import mongo, mongo_place, mongo_series, mongo_upload
from tandem.records.mongo_upload import Upload
from tests.reference.mongo_runs import Recorder, curve, differing, documents, points, reports, uploaded, wait_for
from tests.reference.mongod import Mongod

NAME = "train/return"


@pytest.fixture
def start(tmp_path, monkeypatch):
    return Recorder(tmp_path, monkeypatch)


def test_a_run_whose_server_is_restarted_stopped_and_killed_has_the_series_of_its_folder(start, tmp_path):
    server = Mongod(tmp_path / "db").start()

    def disturb(step):
        if step == 100:
            server.process.terminate()
            server.process.wait()
            wait_for(lambda: len(start.said) == 1)
            server.start()
        if step == 200:
            wait_for(lambda: len(start.said) == 2)
            server.process.send_signal(signal.SIGSTOP)
        if step == 300:
            server.process.send_signal(signal.SIGCONT)
            server.kill()
            wait_for(lambda: len(start.said) == 3)
            server.start()

    try:
        start(server.url("runs"), reports(400, disturb))
        database = mongo_place.open_lazily(mongo_place.parse(server.url("runs"), "test"))
        assert len(points(database, 1, NAME)[0]) == 400 and differing(database, tmp_path / "sacred" / "1") == []
        database.client.close()
    finally:
        server.kill()


@pytest.fixture
def recorded(start, mongod, database, tmp_path, monkeypatch):
    """Return the folder of a finished run that is in the database, which `upload.main(["--run=1"])` brings up to it."""
    start(mongod.url(database.name), reports(9))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").symlink_to(tmp_path)
    monkeypatch.setenv("TANDEM_MONGO_URL", mongod.url(database.name))
    return tmp_path / "sacred" / "1"


@pytest.mark.parametrize("field", ["steps", "values", "timestamps"])
@pytest.mark.parametrize("stored", ["as hashes of other points", "without hashes, as before there were any"])
def test_upload_mends_points_in_another_order_with_the_same_last_one(recorded, database, capsys, field, stored):
    held = database.metrics.find_one({"name": NAME})
    later = datetime.timedelta(milliseconds=7) if field == "timestamps" else 0  # all may be of one millisecond
    held[field][2], held[field][5] = held[field][5] + later, held[field][2]
    database.metrics.replace_one({"_id": held["_id"]}, held)
    if "without" in stored:
        database.metrics.update_many({}, {"$unset": {"tandem": ""}})
    assert differing(database, recorded) == [NAME]
    assert upload.main(["--run=1"]) == 0 and differing(database, recorded) == []
    assert "1 series had other points there and are mended" in capsys.readouterr().out
    assert upload.main(["--run=1"]) == 0 and "mended" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "broken",
    [
        {"values": [1.0]},
        {"steps": "none"},
        {"timestamps": [1, 2]},
        {"tandem": {"size": 9}},
        {"steps": [], "values": []},
    ],
)
def test_upload_mends_a_document_that_is_no_series(recorded, database, broken):
    database.metrics.update_one({"name": NAME}, {"$set": broken})
    assert upload.main(["--run=1"]) == 0 and differing(database, recorded) == []


def test_a_mirror_takes_old_documents_without_a_hash_for_what_they_hold(recorded, database):
    """Of two series that a run goes on with, one is in the folder's order and the other is not."""
    database.metrics.update_many({}, {"$unset": {"tandem": ""}})
    database.metrics.update_one({"name": NAME}, {"$set": {"values.3": 0.5}})
    work = uploaded(recorded, database)
    work.documents.forget()  # as a run does that is gone on with
    work.sync(final=False)
    assert work.replaced == [NAME] and differing(database, recorded) == []


def test_a_nan_is_the_same_wherever_it_was_made(start, mongod, database, tmp_path):
    start(mongod.url(database.name), reports(2))
    negative = struct.unpack("<d", struct.pack("<Q", 0xFFF8 << 48))[0]  # as an x86 processor makes it of 0 / 0
    for nan in (negative, math.nan):
        loss = curve([1, 2])
        loss["loss"].values[0] = nan
        work = Upload(tmp_path / "sacred" / "1", database, check_content=True)
        work.documents.add(loss)
        work.sync(final=False)
    assert work.replaced == []


def test_a_round_costs_what_is_new_however_long_the_series_are(start, mongod, database, tmp_path, monkeypatch):
    start(mongod.url(database.name), reports(2))
    work = Upload(tmp_path / "sacred" / "1", database)
    work.documents.add(curve(range(20_000)) | curve(range(20_000), "other"))
    work.sync(final=False)
    looked_at, packed = [], mongo_series._packed

    def count(series, count):
        looked_at.append(count)
        return packed(series, count)

    monkeypatch.setattr(mongo_series, "_packed", count)
    monkeypatch.setattr(mongo_series.series, "of", lambda folder: pytest.fail("the folder was read again"))
    monkeypatch.setattr(Upload, "_ask", lambda self: pytest.fail("the server was asked for its series again"))
    for step in range(3):
        work.documents.add(curve([20_000 + step]))
        work.sync(final=False)
        assert work.documents.unsent() == 0
    assert sum(looked_at) < 30 and points(database, 1, "loss")[0] == list(range(20_003))


def test_rounds_come_further_apart_the_more_the_server_has_to_write_anew(start, mongod, database, tmp_path):
    """mongod needs half a microsecond for each point of a document that is appended to, also for the old ones."""
    start(mongod.url(database.name), reports(2))
    work = Upload(tmp_path / "sacred" / "1", database)
    for begin, end, metrics in ((0, 30_000, 2), (30_000, 30_001, 2), (30_001, 30_002, 1), (0, 0, 0)):
        for name in ["loss", "other"][:metrics]:
            work.documents.add(curve(range(begin, end), name))
        work.sync(final=False)
        assert work.touched == metrics * end
    assert mongo.pause(0.005, 48 * 100_000) > 100 * 2.2 and mongo.pause(0.005, 48 * 100) < mongo.INTERVAL
    assert mongo.pause(3.0, 0) >= 300


def test_a_server_that_is_away_for_long_costs_no_memory_and_misses_nothing(start, tmp_path, monkeypatch):
    monkeypatch.setattr(mongo, "POINTS_KEPT", 60)
    server = Mongod(tmp_path / "db")

    def disturb(step):
        if step == 100:
            documents = start.mirror.upload.documents
            wait_for(lambda: start.said and sum(map(len, list(documents))) == 2 * 99 and documents.unsent() <= 60)
            server.start()

    try:
        start(server.url("runs"), reports(100, disturb))
        database = mongo_place.open_lazily(mongo_place.parse(server.url("runs"), "test"))
        assert len(points(database, 1, NAME)[0]) == 100 and differing(database, tmp_path / "sacred" / "1") == []
        database.client.close()
    finally:
        server.kill()


def test_points_that_the_folder_no_longer_holds_are_told_and_nothing_is_overwritten(recorded, database):
    work = uploaded(recorded, database)
    work.sync(final=False)
    work.documents.add(curve([900], NAME))
    work.documents.forget()  # a point that the folder has not
    before = documents(database)["metrics"]
    with pytest.raises(ValueError, match=f"does not hold the points of {NAME} that the run reported"):
        work.sync(final=False)
    assert documents(database)["metrics"] == before


def test_a_request_holds_a_bounded_number_of_points(start, mongod, database, tmp_path, monkeypatch):
    monkeypatch.setattr(mongo_upload, "POINTS_PER_REQUEST", 70)
    start(mongod.url(database.name), reports(2))
    work = Upload(tmp_path / "sacred" / "1", database)
    sizes, send = [], work._send

    def count(batch, held):
        sizes.append(sum(piece.end - piece.begin for piece in batch))
        send(batch, held)

    monkeypatch.setattr(work, "_send", count)
    work.documents.add(curve(range(150)) | curve(range(30), "other") | curve(range(30), "third"))
    work.sync(final=False)
    assert sum(sizes) == 210 and max(sizes) <= 70 and len(sizes) == 3
    assert [len(points(database, 1, name)[0]) for name in ("loss", "other", "third")] == [150, 30, 30]
