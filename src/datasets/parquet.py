"""A dataset as one Parquet file: a row for each step, arrays as lists of fixed sizes, the card in the schema."""

import json
from pathlib import Path

import numpy as np

from tandem.datasets.dataset import Dataset, lengths, successor
from tandem.ops.streams import FOLLOWED_BY
from tandem.records.places import replace_with

CARD = b"card"  # of the schema's metadata


def write(file: Path, data: Dataset) -> int:
    """Write the file, whole or not at all, and return how many rows it has.

    The columns are `episode`, `step` in it, the fields of a row, and next_* of its true successor. An array is laid out
    flat; its shape stands in the metadata of its column.
    """
    import pyarrow as pa
    from pyarrow import parquet

    length = lengths(data)
    episode = np.repeat(np.arange(len(length)), length)
    columns = {"episode": episode, "step": np.arange(data.size) - (data.ends["row"] - length + 1)[episode]}
    columns |= data.rows | {name: successor(data, name) for name in FOLLOWED_BY}
    columns = {name: array for name, array in columns.items() if array.ndim == 1 or array[0].size}
    made = {name: _column(array) for name, array in columns.items()}
    fields = [
        pa.field(name, column.type, metadata={b"shape": json.dumps(columns[name].shape[1:]).encode()})
        for name, column in made.items()
    ]
    schema = pa.schema(fields, metadata={CARD: json.dumps(data.card).encode()})
    table = pa.Table.from_arrays(list(made.values()), schema=schema)
    replace_with(file, lambda opened: parquet.write_table(table, opened), "wb")
    return table.num_rows


def _column(array: np.ndarray):
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(array).reshape(-1))
    return flat if array.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, int(array[0].size))
