"""Recorded rows in NumPy, with what followed each of them, or, to hold no observation twice, only the ends."""

import numpy as np

from tandem.core import Stream, Transition

FOLLOWED_BY = {"next_obs": "obs", "next_state": "state", "next_legal": "legal", "next_alive": "alive"}


def stream(rows: Transition) -> Stream:
    """Return rows [1, R, ...] without the successors that are the next row; they are on the host."""
    end = (rows.terminated | rows.truncated)[0] | np.append(rows.first[0, 1:], True)
    last = np.flatnonzero(end)
    kept = rows.replace(**{name: getattr(rows, name)[:, last] for name in FOLLOWED_BY})
    return Stream(rows=kept, end=numbered(end))


def numbered(end: np.ndarray) -> np.ndarray:
    """Return which of the ends each row is [R] int32, or -1, where `end` [R] is True at ends."""
    return np.where(end, np.cumsum(end) - 1, -1).astype(np.int32)


def whole(held: Stream) -> Transition:
    """Return rows [1, R, ...] with the successor of each."""
    last = np.flatnonzero(held.end >= 0)

    def successors(name: str) -> np.ndarray:
        after = np.roll(getattr(held.rows, FOLLOWED_BY[name]), -1, axis=1)
        after[:, last] = getattr(held.rows, name)
        return after

    return held.rows.replace(**{name: successors(name) for name in FOLLOWED_BY})
