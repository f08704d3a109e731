"""Uploads a run's folder to MongoDB, in Sacred's schema (`runs`, `metrics`, GridFS), for Omniboard and Incense.

Every step may be repeated. Ids are derived from the run and from content. Points are appended only if the server's
points are a prefix of the run's. The run is marked as finished in the database only after everything else is there.
"""

import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pymongo
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError
from sacred.observers.mongo import force_bson_encodeable

from tandem.hiding import hidden_in
from tandem.records import record_files
from tandem.records.mongo_files import Files, as_file
from tandem.records.mongo_series import Document, Documents, State, content, recall

POINTS_PER_REQUEST = 50_000  # about 10 MB while they are assembled, and 2 MB when sent


class Slice(NamedTuple):
    """Points [begin, end) of a document."""

    document: Document
    begin: int
    end: int


class OutOfStep(ValueError):
    """The server does not have what was expected; the next attempt asks it first."""


@dataclasses.dataclass
class Upload:
    """Keeps one run's documents up to date with its folder; the owner adds the run's points to `documents`."""

    folder: Path
    database: Database
    check_content: bool = False  # read the server's points themselves instead of their stored hash
    run_id: int | str | None = None  # in the database
    last_progress: float = 0.0  # time.monotonic() of the last successful write

    def __post_init__(self) -> None:
        self.runs: Collection = self.database["runs"]
        self.metrics: Collection = self.database["metrics"]
        self.files = Files(self.database, self._progress)
        self.uid = record_files.identity(self.folder)
        self.documents = Documents(self.uid)
        self.held: dict[Any, State | None] | None = None  # the server's state by document; None: unknown
        self.touched = 0  # number of points in the documents of the last attempt, including old ones
        self.replaced: list[str] = []  # series of which the server had other points
        self.sent: dict[str, Any] = {}  # the run's document as the server has it

    def sync(self, final: bool) -> None:
        """Bring the database up to date with the folder and the series; `final` adds what only a finished run has.

        Raises:
          PyMongoError: the server is unreachable or refuses; the next call tries everything again.
          OSError, ValueError: a file of the record cannot be read.
        """
        try:
            self._sync(final)
        except OutOfStep:  # the server was asked, so its state is known
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
        """Forget the server's state, because an answer was lost, or the server has restarted with other data."""
        self.held, self.run_id = None, None
        self.sent.clear()
        self.files.forget()

    # The run's own document.

    def _find_or_insert(self, entry: dict[str, Any]) -> int | str:
        """Return the run's `_id` in the database: its own number if that is free there, else the next free one."""
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
            except DuplicateKeyError:  # another run has this number, or another process uploads this run
                wanted = None

    def _next_free(self) -> int:
        last = self.runs.find_one({"_id": {"$type": "number"}}, {"_id": 1}, sort=[("_id", pymongo.DESCENDING)])
        return last["_id"] + 1 if last else 1

    def _sync_entry(self, entry: dict[str, Any]) -> None:
        """Write the changed fields, and remove those that a resumed run no longer has."""
        entry = hidden_in(force_bson_encodeable(entry))  # a record of an earlier version may contain secrets
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
        held = self.held = self._ask() if self.held is None else self.held
        stale = [document for document in self.documents if held.get(document.key) != document.state()]
        self.touched = sum(map(len, stale))
        recall([one for one in stale if self._common(one, held) < one.forgotten], self.folder)
        for batch in _batches(self._slices(stale, held)):
            self._send(batch, held)
        if first:  # after a resumed run went back to its checkpoint
            self.metrics.delete_many({"run_id": self.run_id, "_id": {"$nin": [one.key for one in self.documents]}})
        return [{"name": one.name, "id": str(one.key)} for one in self.documents]

    def _ask(self) -> dict[Any, State | None]:
        """Return the server's state of this run's series."""
        fields = {"size": {"$cond": [{"$isArray": "$steps"}, {"$size": "$steps"}, -1]}, "tandem": 1}
        found = list(self.metrics.aggregate([{"$match": {"run_id": self.run_id}}, {"$project": fields}]))
        return {one["_id"]: self._state(one["_id"], one["size"], one.get("tandem")) for one in found}

    def _state(self, key: Any, size: int, stored: dict[str, Any] | None) -> State | None:
        """Return a document's state as stored with its points; if missing, it is computed from the points."""
        if stored and stored.get("size") == size and not self.check_content:
            return State(**stored)
        return content(self.metrics.find_one({"_id": key}) or {})

    def _common(self, document: Document, held: dict[Any, State | None]) -> int:
        """Return the number of the server's points if they are a prefix of the run's."""
        there = held.get(document.key)
        return there.size if there and there == document.state(there.size) else 0

    def _slices(self, stale: Sequence[Document], held: Mapping[Any, State | None]) -> Iterator[Slice]:
        """Cut the missing points into pieces that need little memory on both sides."""
        for document in stale:
            common = self._common(document, held)
            if not common and document.key in held:
                self.replaced.append(document.name)
            for begin in range(common, len(document), POINTS_PER_REQUEST):
                yield Slice(document, begin, min(begin + POINTS_PER_REQUEST, len(document)))

    def _send(self, batch: Sequence[Slice], held: dict[Any, State | None]) -> None:
        """Send pieces to the server in order, and drop them."""
        result = self.metrics.bulk_write([self._request(*piece) for piece in batch])
        if result.matched_count + result.upserted_count != len(batch):
            raise OutOfStep("a series on the server has changed")
        for document, _, end in batch:
            held[document.key] = document.state(end)
        for document, _, end in batch:
            document.forget(end)
        self._progress()

    def _request(self, document: Document, begin: int, end: int) -> pymongo.UpdateOne | pymongo.ReplaceOne:
        """Return the request that appends a piece to the server's points, or restarts the document with it."""
        points, state = document.fields(begin, end), document.state(end)._asdict()
        if not begin:
            fields = {"run_id": self.run_id, "name": document.name, "tandem": state, **points}
            return pymongo.ReplaceOne({"_id": document.key}, fields, upsert=True)
        pushed = {field: {"$each": items} for field, items in points.items()}
        same = {"_id": document.key, "steps": {"$size": begin}}
        return pymongo.UpdateOne(same, {"$push": pushed, "$set": {"tandem": state}})

    # Files.

    def _sync_files(self, entry: dict[str, Any], final: bool) -> set[Any]:
        """Store sources and artifacts, and put their ids into Sacred's fields; return ids that are no longer used."""
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


def _batches(slices: Iterable[Slice]) -> Iterator[list[Slice]]:
    """Group pieces until a request is full."""
    batch: list[Slice] = []
    for piece in slices:
        if batch and sum(end - begin for _, begin, end in [*batch, piece]) > POINTS_PER_REQUEST:
            yield batch
            batch = []
        batch.append(piece)
    if batch:
        yield batch
