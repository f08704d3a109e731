"""The points of one metric, in few bytes."""

from array import array
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from src.recording.record_files import read_json

EPOCH = datetime(1970, 1, 1)


class Tail(NamedTuple):
    """How many points there are, and the last one; in records that are appended to, equal tails mean equal series."""

    size: int
    step: int
    time: int


class Series:
    """Points of a metric: 24 bytes each. One thread appends while another reads up to `len`."""

    def __init__(self) -> None:
        self.steps = array("q")
        self.values = array("d")
        self.times = array("q")  # milliseconds since 1970, UTC: what MongoDB keeps

    def __len__(self) -> int:
        return len(self.times)  # appended to last

    def extend(self, steps: Iterable[int], values: Iterable[float], times: Iterable[datetime]) -> None:
        self.steps.extend(int(step) for step in steps)
        self.values.extend(float(value) for value in values)
        self.times.extend((time - EPOCH) // timedelta(milliseconds=1) for time in times)

    def tail(self, begin: int, end: int) -> Tail:
        """Return the tail of points [begin, end), which are not empty."""
        return Tail(end - begin, self.steps[end - 1], self.times[end - 1])


def read(path: Path) -> dict[str, Series]:
    """Return the series by metric that Sacred's metrics.json holds; none where there is no such file."""
    if not path.exists():
        return {}
    found: dict[str, Series] = {}
    for name, points in read_json(path).items():
        add(found, name, points["steps"], points["values"], map(datetime.fromisoformat, points["timestamps"]))
    return found


def add(to: dict[str, Series], name: str, steps: Any, values: Any, times: Iterable[datetime]) -> None:
    """Append points to a metric's series, which begins here if there is none yet."""
    to.setdefault(name, Series()).extend(steps, values, times)
