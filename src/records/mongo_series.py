"""A run's series as MongoDB stores them, in one document for each metric, and the state of its points.

The state of a document is the number of its points and a hash of all of them in their order, so two documents have the
same state only if they hold the same points. The hash is extended with the series, so the cost of a round depends only
on the new points. Points that the server has stored are dropped here, because 100,000 reports of 48 metrics are 115 MB.
They are read from the run's folder again if the server loses them.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from bson.datetime_ms import DatetimeMS

from tandem.records import series
from tandem.records.mongo_files import derived_id
from tandem.records.series import Series

POINTS_PER_DOCUMENT = 250_000  # a document may have 16 MB, and a point takes up to 48 bytes
POINT = np.dtype([("step", "<i8"), ("value", "<f8"), ("time", "<i8")])


class State(NamedTuple):
    """The number of a document's points, and the hash of them all."""

    size: int
    digest: str


class Document:
    """The points of one document; of those before `forgotten` only the hash is kept."""

    def __init__(self, uid: str, metric: str, part: int):
        self.uid, self.metric, self.part = uid, metric, part
        self.name = f"{metric} [{part + 1}]" if part else metric
        self.key = derived_id("metric", uid, self.name)
        self.points, self.forgotten = Series(), 0
        self.hash = hashlib.blake2b(digest_size=16)  # of the forgotten points

    def __len__(self) -> int:
        return self.forgotten + len(self.points)

    def take(self, points: Series, begin: int, end: int) -> None:
        """Append points [begin, end) of a series."""
        self.points.steps.extend(points.steps[begin:end])
        self.points.values.extend(points.values[begin:end])
        self.points.times.extend(points.times[begin:end])

    def state(self, size: int | None = None) -> State | None:
        """Return the document's state after its first `size` points (default: all); None if it was dropped."""
        size = len(self) if size is None else size
        if not self.forgotten <= size <= len(self):
            return None
        known = self.hash.copy()
        known.update(_packed(self.points, size - self.forgotten))
        return State(size, known.hexdigest())

    def forget(self, size: int) -> None:
        """Drop the first `size` points and keep only their hash."""
        count = max(0, size - self.forgotten)
        self.hash.update(_packed(self.points, count))
        for field in (self.points.steps, self.points.values, self.points.times):
            del field[:count]
        self.forgotten += count

    def fields(self, begin: int, end: int) -> dict[str, list]:
        """Return points [begin, end), none of them dropped, in the form of Sacred's documents."""
        part, points = slice(begin - self.forgotten, end - self.forgotten), self.points
        times = [DatetimeMS(time) for time in points.times[part]]
        return {"steps": points.steps[part].tolist(), "values": points.values[part].tolist(), "timestamps": times}


class Documents:
    """All documents of one run's series."""

    def __init__(self, uid: str):
        self.uid = uid  # identifies the run, and so do the documents' ids
        self.parts: dict[str, list[Document]] = {}

    def __iter__(self) -> Iterator[Document]:
        return (document for metric in sorted(self.parts) for document in self.parts[metric])

    def add(self, found: dict[str, Series]) -> None:
        """Move points into their documents and empty `found`, so that no point is in memory twice."""
        while found:
            metric, points = found.popitem()
            begin = 0
            while begin < len(points):
                document = self._open(metric)
                end = begin + POINTS_PER_DOCUMENT - len(document)
                document.take(points, begin, end)
                begin = end

    def _open(self, metric: str) -> Document:
        """Return the document of a metric that takes its next point."""
        parts = self.parts.setdefault(metric, [])
        if not parts or len(parts[-1]) == POINTS_PER_DOCUMENT:
            parts.append(Document(self.uid, metric, len(parts)))
        return parts[-1]

    def unsent(self) -> int:
        """Return the number of points in memory."""
        return sum(len(document.points) for document in self)

    def forget(self) -> None:
        """Drop all points and keep only their hashes."""
        for document in self:
            document.forget(len(document))


def recall(documents: Sequence[Document], folder: Path) -> None:
    """Read the dropped points of documents from the run's folder again.

    Raises:
      ValueError: the folder does not have them, or has others.
    """
    found = series.of(folder) if documents else {}
    for document in documents:
        again, begin = Document(document.uid, document.metric, document.part), document.part * POINTS_PER_DOCUMENT
        again.take(found.get(document.metric, Series()), begin, begin + len(document))
        if again.state() != document.state():
            raise ValueError(f"{folder} does not hold the points of {document.metric} that the run reported")
        document.points, document.forgotten, document.hash = again.points, again.forgotten, again.hash


def content(stored: Mapping[str, Any]) -> State | None:
    """Return the state of a document's content on the server; None if it has no points."""
    points = Series()
    try:
        points.extend(stored["steps"], stored["values"], stored["timestamps"])
    except (KeyError, TypeError, ValueError, OverflowError):  # not written by Tandem
        return None
    if not len(points.steps) == len(points.values) == len(points.times):
        return None
    return State(len(points), hashlib.blake2b(_packed(points, len(points)), digest_size=16).hexdigest())


def _packed(points: Series, count: int) -> bytes:
    """Return the bytes of the first `count` points, which do not depend on where the points were read."""
    packed = np.empty(count, POINT)
    packed["step"], packed["value"], packed["time"] = (
        np.asarray(field[:count]) for field in (points.steps, points.values, points.times)
    )
    packed["value"][np.isnan(packed["value"])] = np.nan  # a processor makes several NaNs, but JSON has only one
    return packed.tobytes()
