"""Reads runs from MongoDB."""

import re
from typing import Any

from pymongo.database import Database

from tandem.records import series

PART = re.compile(r" \[(\d+)\]$")  # documents of a series that is too long for one: "loss", "loss [2]", ...


def read_series(database: Database, run_id: Any) -> dict[str, series.Series]:
    """Return a run's complete series by metric, joined from all their documents."""
    documents = {one["name"]: one for one in database["metrics"].find({"run_id": run_id})}
    found: dict[str, series.Series] = {}
    for name in sorted(documents, key=_part):
        points = documents[name]
        series.add(found, PART.sub("", name), points["steps"], points["values"], points["timestamps"])
    return found


def _part(name: str) -> int:
    match = PART.search(name)
    return int(match[1]) if match else 1
