"""Recorded rows in NumPy, with all their successors, or only those at ends, to store no observation twice."""

import math
from typing import Any

import numpy as np

from tandem.core import Stream, Transition

FOLLOWED_BY = {"next_obs": "obs", "next_state": "state", "next_legal": "legal", "next_alive": "alive"}
ALIGNMENT = 64  # bytes


def stream(rows: Transition) -> Stream:
    """Return rows [1, R, ...] without the successors that are the next row; they are on the host."""
    end = (rows.terminated | rows.truncated)[0] | np.append(rows.first[0, 1:], True)
    last = np.flatnonzero(end)
    kept = rows.replace(**{name: getattr(rows, name)[:, last] for name in FOLLOWED_BY})
    return Stream(rows=kept, end=numbered(end))


def numbered(end: np.ndarray) -> np.ndarray:
    """Return the index of each row among the ends [R] int32, or -1; `end` [R] is True at ends."""
    return np.where(end, np.cumsum(end) - 1, -1).astype(np.int32)


def whole(held: Stream) -> Transition:
    """Return rows [1, R, ...] with the successor of each."""
    last = np.flatnonzero(held.end >= 0)

    def followed_by(name: str, own: str) -> np.ndarray:
        return successors(getattr(held.rows, own)[0], getattr(held.rows, name)[0], last)[None]

    return held.rows.replace(**{name: followed_by(name, own) for name, own in FOLLOWED_BY.items()})


def successors(own: np.ndarray, at_ends: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return the successor of every row [R, ...]: the next row of `own`, but `at_ends` for the rows `last` [E]."""
    after = np.roll(own, -1, axis=0)
    after[last] = at_ends
    return after


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array whose memory JAX takes over as it is, where it computes on the processor, and does not copy."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT
    return memory[begin : begin + size].view(dtype).reshape(shape)
