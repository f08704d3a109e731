"""Compact points of a metric, and the only reader of a run's series on the disk.

During a run its points are appended to `metrics.jsonl`: a line for each heartbeat, {metric: [steps, values, times]},
with times in milliseconds since 1970. Sacred's `metrics.json` is written from it at intervals and at the end, when
`metrics.jsonl` is removed. So all points are in `metrics.jsonl` if it exists, and else in Sacred's file, as in older
records.
"""

import json
from array import array
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

import numpy as np

from tandem.records.runs import RecordError, read_series

METRICS, LINES = "metrics.json", "metrics.jsonl"
EPOCH = datetime(1970, 1, 1)


class Series:
    """Points of a metric: 24 bytes each. One thread appends while another reads up to `len`."""

    def __init__(self) -> None:
        self.steps = array("q")
        self.values = array("d")
        self.times = array("q")  # milliseconds since 1970, UTC, as in MongoDB

    def __len__(self) -> int:
        return len(self.times)  # appended to last

    def extend(self, steps: Iterable[int], values: Iterable[float], times: Iterable[datetime]) -> None:
        self.extend_raw(steps, values, map(milliseconds, times))

    def extend_raw(self, steps: Iterable[int], values: Iterable[float], times: Iterable[int]) -> None:
        """Append points with times in milliseconds."""
        self.steps.extend(int(step) for step in steps)
        self.values.extend(float(value) for value in values)
        self.times.extend(times)


def milliseconds(time: datetime) -> int:
    return (time - EPOCH) // timedelta(milliseconds=1)


class Reader:
    """A growing run's series; each call reads only new points."""

    def __init__(self, folder: Path, only: Collection[str] | None = None):
        """Args: only: the metrics to keep; None = all. The names of all are in `names`."""
        self.folder, self.only = folder, only
        self.names: set[str] = set()
        self.series: dict[str, Series] = {}
        self.file: IO[bytes] | None = (
            None  # kept open, so that it can be read to its end even after the run has removed it
        )
        self.rest = b""  # an incomplete line

    def read(self) -> dict[str, Series]:
        """Return the series with everything that has been written so far.

        Raises:
          OSError, ValueError: a file cannot be read; the text names it.
        """
        try:
            self.file = self.file or open(self.folder / LINES, "rb")
        except FileNotFoundError:  # an older record, or one that is finished
            found = read(self.folder / METRICS)
            self.names = set(found)
            self.series = {name: points for name, points in found.items() if self._wanted(name)}
            return self.series
        for line in self.file:
            self.rest += line
            if self.rest.endswith(b"\n"):
                self._add(self.rest)
                self.rest = b""
        return self.series

    def _wanted(self, name: str) -> bool:
        return self.only is None or name in self.only

    def _add(self, line: bytes) -> None:
        try:
            for name, points in json.loads(line).items():
                self.names.add(name)
                if len({len(column) for column in points}) != 1:
                    raise ValueError(f"the columns of '{name}' are not of one length")
                if self._wanted(name):
                    self.series.setdefault(name, Series()).extend_raw(*points)
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise RecordError(f"{self.folder / LINES} is damaged: {error}") from error

    def close(self) -> None:
        if self.file:
            self.file.close()


def of(folder: Path) -> dict[str, Series]:
    """Return all series of the run in this folder, by metric; empty if nothing was measured yet.

    Raises:
      OSError, ValueError: a file cannot be read; the text names it.
    """
    reader = Reader(folder)
    try:
        return reader.read()
    finally:
        reader.close()


def read(path: Path) -> dict[str, Series]:
    """Return the series in Sacred's metrics.json, by metric; empty if there is no such file."""
    if not path.exists():
        return {}
    found: dict[str, Series] = {}
    try:
        for name, points in read_series(path).items():
            times = points.get("timestamps", ["1970-01-01"] * len(points["steps"]))
            add(found, name, points["steps"], points["values"], map(datetime.fromisoformat, times))
    except (TypeError, ValueError, OverflowError) as error:
        raise error if isinstance(error, RecordError) else RecordError(f"{path} is damaged: {error}") from error
    return found


def add(to: dict[str, Series], name: str, steps: Any, values: Any, times: Iterable[datetime]) -> None:
    """Append points to a metric's series, which is created if necessary."""
    to.setdefault(name, Series()).extend(steps, values, times)


def until(found: Mapping[str, Series], step: int) -> dict[str, Series]:
    """Return the series without the points after `step`, because a run that resumes there makes them again."""
    kept = {}
    for name, points in found.items():
        places = np.flatnonzero(np.frombuffer(points.steps, np.int64) <= step)
        if len(places):
            kept[name] = Series()
            columns = (points.steps, points.values, points.times)
            kept[name].extend_raw(*(np.asarray(column)[places].tolist() for column in columns))
    return kept


def begun(folder: Path) -> bool:
    """Return whether anything was measured."""
    return any((folder / name).exists() for name in (LINES, METRICS))


def line(metrics_by_name: Mapping[str, Mapping[str, list]]) -> bytes:
    """Return new points from Sacred's form in the form for appending."""
    columns = {
        name: [points["steps"], points["values"], [milliseconds(time) for time in points["timestamps"]]]
        for name, points in metrics_by_name.items()
    }
    return json.dumps(columns, separators=(",", ":")).encode() + b"\n"


def write_lines(found: Mapping[str, Series], file: IO[str]) -> None:
    """Write whole series as lines, one for each metric."""
    for name, points in found.items():
        columns = [points.steps.tolist(), points.values.tolist(), points.times.tolist()]
        file.write(json.dumps({name: columns}, separators=(",", ":")) + "\n")


def write_sacreds(found: Mapping[str, Series], file: IO[str]) -> None:
    """Write whole series in the form of Sacred's metrics.json, one metric after another, so that
    only one is in memory as text.
    """
    for number, name in enumerate(sorted(found)):
        points = found[name]
        times = np.datetime_as_string(np.frombuffer(points.times, "datetime64[ms]")).tolist()
        fields = {"steps": points.steps.tolist(), "timestamps": times, "values": points.values.tolist()}
        file.write(f"{',' if number else '{'}\n{json.dumps(name)}: {json.dumps(fields)}")
    file.write("\n}" if found else "{}")
