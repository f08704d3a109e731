"""The rows that a run learns from without acting: those of a dataset, or those that an earlier run stored."""

import json
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tandem.core import EnvSpec, PolicyExtras, PyTree, Stream, Transition
from tandem.datasets import store
from tandem.datasets.dataset import BEHAVIOUR, ROW, Dataset, differences, spec_of
from tandem.ops.streams import FOLLOWED_BY, numbered, stream
from tandem.records import rows as recorded_rows


def load(results: str | Path, name: str, spec: EnvSpec, row: Transition) -> tuple[Stream, int]:
    """Return the rows of a dataset, or of a recorded run, on the host, and a checksum of them.

    Args:
      name: a dataset's folder; else the run's number, or its folder.
      row: what one row has to look like: a tree of jax.ShapeDtypeStruct.

    Raises:
      ValueError: there are no such rows, or they do not fit; the message names the fields.
    """
    folder = Path(name).expanduser()
    if store.is_dataset(folder):
        data = store.read(folder)
        hashes = json.dumps(data.card["hashes"], sort_keys=True)  # which reading has just compared with the arrays
        return as_stream(data, spec, row, f"the dataset {name}"), zlib.crc32(hashes.encode())
    found = stream(recorded_rows.load(results, name, row))
    return found, checksum(found)


def checksum(rows: PyTree) -> int:
    """Return the CRC-32 of all arrays."""
    total = 0
    for leaf in jax.tree.leaves(rows):
        total = zlib.crc32(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8), total)
    return total


def as_stream(data: Dataset, spec: EnvSpec, row: Transition, name: str) -> Stream:
    """Return a dataset's rows as a run's rows look.

    What is not known of the policy that acted is not a number, and a memory is zero: nobody's is in a dataset.

    Raises:
      ValueError: they are of another environment, or of targets that no dataset has.
    """
    if odd := differences(data.card["spec"], spec_of(spec)):
        raise ValueError(f"{name} does not fit this environment (dataset against environment): {'; '.join(odd)}")
    if not isinstance(row.extras, PolicyExtras):
        raise ValueError(
            f"{name} holds no targets of a search, which this learner learns from; choose one that learns from rows "
            "without them, as learner=q does, or the rows of a run that searched"
        )
    fields = {field: _fitting(data.rows[field], getattr(row, field)) for field in ROW}
    fields |= {after: _fitting(data.ends[after], getattr(row, field)) for after, field in FOLLOWED_BY.items()}
    number = np.arange(data.size, dtype=np.int32)
    rows = Transition(**fields, extras=_extras(data, row.extras), env_step=number[None])
    return Stream(rows=rows, end=numbered(np.isin(number, data.ends["row"])))


def _fitting(array: np.ndarray, like: Any) -> np.ndarray:
    """Return an array [R, ...] as [1, R, ...] of the type that is wanted."""
    return array.astype(like.dtype, copy=False).reshape(1, len(array), *like.shape)


def _extras(data: Dataset, like: PolicyExtras) -> PolicyExtras:
    def unknown(leaf: Any) -> np.ndarray:
        return np.full((data.size, *leaf.shape), np.nan, leaf.dtype)

    known = {field: data.rows.get(field, unknown(getattr(like, field))) for field in BEHAVIOUR}
    behaviour = {field: _fitting(array, getattr(like, field)) for field, array in known.items()}
    memory: PyTree = jax.tree.map(lambda leaf: np.zeros((1, data.size, *leaf.shape), leaf.dtype), like.memory)
    return like.replace(**behaviour, memory=memory)
