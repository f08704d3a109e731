"""A run's folder -> MongoDB, in Sacred's schema (`runs`, `metrics`, GridFS), so that Omniboard and Incense read it.

Everything here may be repeated: ids follow from the run and from content, points are appended only where the server's
series ends where ours says, and a run counts as finished in the database only after all the rest is there.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any

import pymongo
from bson.datetime_ms import DatetimeMS
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError
from sacred.observers.mongo import force_bson_encodeable

from src.recording import record_files
from src.recording.mongo_files import Files, as_file, derived_id
from src.recording.series import Series, Tail

POINTS_PER_DOCUMENT = 250_000  # a document may have 16 MB, a point takes up to 48 bytes


class OutOfStep(ValueError):
    """The server does not hold what it was believed to hold; the next attempt asks it first."""


@dataclasses.dataclass
class Upload:
    """Keeps one run's documents in step with its folder; `series` are the run's metrics."""

    folder: Path
    database: Database
    series: dict[str, Series]
    run_id: int | str | None = None  # in the database
    last_progress: float = 0.0  # time.monotonic() of the last thing the server took

    def __post_init__(self) -> None:
        self.runs: Collection = self.database["runs"]
        self.metrics: Collection = self.database["metrics"]
        self.files = Files(self.database, self._progress)
        self.uid = record_files.identity(self.folder)
        self.held: dict[Any, Tail] | None = None  # the server's series by document; None: to be asked for
        self.sent: dict[str, Any] = {}  # the run's document as the server has it

    def sync(self, final: bool) -> None:
        """Bring the database up to what the folder and the series hold now; `final` adds what only a finished run has.

        Raises:
          PyMongoError: the server is away or refuses; everything is tried anew at the next call.
          OSError, ValueError: a file of the record cannot be read.
        """
        try:
            self._sync(final)
        except OutOfStep:  # found out by asking; now it is known
            self._sync(final)

    def _sync(self, final: bool) -> None:
        try:
            entry = record_files.read_entry(self.folder)
            if self.run_id is None:
                self.run_id = self._find_or_insert(entry)
            entry["info"]["metrics"] = self._sync_series()
            stale = self._sync_files(entry, final)
            self._sync_entry(entry)
            for file_id in stale:
                self.files.remove(file_id)
        except BaseException:
            self._doubt()
            raise

    def _progress(self) -> None:
        self.last_progress = time.monotonic()

    def _doubt(self) -> None:
        """Take nothing for granted about the server: an answer was lost, or it came back with another memory."""
        self.held, self.run_id = None, None
        self.sent.clear()
        self.files.forget()

    # The run's own document.

    def _find_or_insert(self, entry: dict[str, Any]) -> int | str:
        """Return the run's `_id` in the database: its own number where that is free there, else the next free one."""
        self.runs.create_index("tandem.uid", unique=True, sparse=True)
        self.metrics.create_index("run_id")
        self.files.prepare()
        wanted = int(self.folder.name) if self.folder.name.isdigit() else None
        while True:
            held = self.runs.find_one({"tandem.uid": self.uid}, {"_id": 1})
            if held:
                return held["_id"]
            wanted = wanted if wanted is not None else self._next_free()
            beginning = {key: entry.get(key) for key in ("tandem", "start_time", "heartbeat")}
            try:
                self.runs.insert_one({"_id": wanted, "status": "RUNNING", **beginning})
            except DuplicateKeyError:  # another run has this number, or somebody uploads this very run
                wanted = None

    def _next_free(self) -> int:
        last = self.runs.find_one({"_id": {"$type": "number"}}, {"_id": 1}, sort=[("_id", pymongo.DESCENDING)])
        return last["_id"] + 1 if last else 1

    def _sync_entry(self, entry: dict[str, Any]) -> None:
        """Write the fields that have changed, and take away those that a resumed run no longer has."""
        entry = force_bson_encodeable(entry)
        changed = {key: value for key, value in entry.items() if key not in self.sent or self.sent[key] != value}
        gone = {
            key: "" for key in ("stop_time", "fail_trace") if key not in entry and (not self.sent or key in self.sent)
        }
        update = ({"$set": changed} if changed else {}) | ({"$unset": gone} if gone else {})
        if update and not self.runs.update_one({"_id": self.run_id, "tandem.uid": self.uid}, update).matched_count:
            raise OutOfStep(f"run {self.run_id} is gone")
        self.sent = entry
        self._progress()

    # Metrics.

    def _sync_series(self) -> list[dict[str, str]]:
        """Write the points that the server lacks; return Sacred's list of the run's metrics."""
        first = self.held is None
        held = self._ask() if first else self.held
        writes, tails, listed = [], {}, []
        for metric, series in sorted(list(self.series.items())):  # a copy at once: another thread adds metrics
            for part, begin in enumerate(range(0, len(series), POINTS_PER_DOCUMENT)):
                name = f"{metric} [{part + 1}]" if part else metric
                key = derived_id("metric", self.uid, name)
                end = min(begin + POINTS_PER_DOCUMENT, len(series))
                tails[key] = series.tail(begin, end)
                listed.append({"name": name, "id": str(key)})
                if held.get(key) != tails[key]:
                    writes.append(self._write(key, name, series, begin, end, held.get(key)))
        self._send(writes)
        if first:  # after a resumed run went back to its checkpoint
            self.metrics.delete_many({"run_id": self.run_id, "_id": {"$nin": list(tails)}})
        self.held = tails
        return listed

    def _ask(self) -> dict[Any, Tail]:
        """Return what the server holds of this run's series."""
        fields = {"size": {"$size": "$steps"}}
        fields |= {
            short: {"$arrayElemAt": [field, -1]} for short, field in (("step", "$steps"), ("time", "$timestamps"))
        }
        found = self.metrics.aggregate([{"$match": {"run_id": self.run_id}}, {"$project": fields}])
        return {
            one["_id"]: Tail(one["size"], one["step"], int(DatetimeMS(one["time"]))) for one in found if one["size"]
        }

    def _write(self, key, name: str, series: Series, begin: int, end: int, held: Tail | None) -> Any:
        """Return the request that appends what the server lacks if its points are the first of ours, or writes all."""
        if held and held.size < end - begin and held == series.tail(begin, begin + held.size):
            pushed = {field: {"$each": items} for field, items in _points(series, begin + held.size, end).items()}
            return pymongo.UpdateOne({"_id": key, "steps": {"$size": held.size}}, {"$push": pushed})
        document = {"run_id": self.run_id, "name": name, **_points(series, begin, end)}
        return pymongo.ReplaceOne({"_id": key}, document, upsert=True)

    def _send(self, writes: list) -> None:
        if not writes:
            return
        result = self.metrics.bulk_write(writes, ordered=False)
        if result.matched_count + result.upserted_count != len(writes):
            raise OutOfStep("a series on the server has changed")
        self._progress()

    # Files.

    def _sync_files(self, entry: dict[str, Any], final: bool) -> set[Any]:
        """Store sources and artifacts, and put their ids where Sacred has them; return ids that are of no use now."""
        experiment = entry["experiment"]
        experiment["sources"] = [
            [name, self.files.put(path, str(Path(experiment.get("base_dir", "")) / name))]
            for name, path in record_files.sources(self.folder, entry)
        ]
        before = {one["file_id"] for one in self._artifacts_held()}
        found = record_files.artifacts(self.folder, entry, final)
        entry["artifacts"] = [{"name": name, "file_id": self._put(name, path)} for name, path in found.items()]
        return before - {one["file_id"] for one in entry["artifacts"]}

    def _artifacts_held(self) -> list[dict[str, Any]]:
        if self.sent:
            return self.sent["artifacts"]
        return (self.runs.find_one({"_id": self.run_id}, {"artifacts": 1}) or {}).get("artifacts") or []

    def _put(self, name: str, path: Path) -> Any:
        with as_file(path) as file:
            return self.files.put(file, f"artifact://runs/{self.run_id}/{name}")


def _points(series: Series, begin: int, end: int) -> dict[str, list]:
    """Return points [begin, end) as Sacred has them in its documents."""
    times = [DatetimeMS(time) for time in series.times[begin:end]]
    return {"steps": series.steps[begin:end].tolist(), "values": series.values[begin:end].tolist(), "timestamps": times}
