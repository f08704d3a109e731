"""Recorded episodes that are not learned from, in NumPy: drawn out of a stream, and laid side by side to be judged."""

import jax
import numpy as np

from tandem.core import Stream, Transition
from tandem.ops.streams import FOLLOWED_BY, aligned, numbered

SIDE_BY_SIDE = 32  # episodes that are judged at once
UNREAD = (*FOLLOWED_BY, "extras", "env_step")  # fields that nobody judges by


def divided(held: Stream, share: float, seed: int = 0) -> tuple[Stream, Transition]:
    """Return a stream without a share of its episodes, and these [G, B, L, ...] in groups: at least one.

    They are drawn by lot, the same for every run. Each begins at L = 0. What is behind an episode's end repeats its
    last row, where nobody is alive; so do whole rows that fill up the last group.

    Args:
      held: [1, R, ...]; what is between two ends counts as an episode.

    Raises:
      ValueError: there are fewer than two episodes.
    """
    last = np.flatnonzero(held.end >= 0)
    if len(last) < 2:
        raise ValueError("there is one episode, which cannot be both learned from and held out; set holdout to 0")
    count = min(max(1, round(share * len(last))), len(last) - 1)
    drawn = np.sort(np.random.default_rng(seed).choice(len(last), count, replace=False))
    begin = np.append(0, last[:-1] + 1)
    out = np.zeros(len(held.end), bool)
    for episode in drawn:
        out[begin[episode] : last[episode] + 1] = True
    others = np.setdiff1d(np.arange(len(last)), drawn)
    return _without(held, np.flatnonzero(~out), others), side_by_side(held, begin[drawn], last[drawn])


def side_by_side(held: Stream, begin: np.ndarray, last: np.ndarray) -> Transition:
    """Return the episodes from rows `begin` [e] to `last` [e], in groups, as `divided` tells."""
    length = int(np.max(last - begin)) + 1
    slots = begin[:, None] + np.arange(length)
    behind = slots > last[:, None]
    slots = np.minimum(slots, last[:, None])
    groups = -(-len(begin) // SIDE_BY_SIDE)
    room = groups * SIDE_BY_SIDE if groups > 1 else len(begin)
    filled = np.minimum(np.arange(room), len(begin) - 1)
    slots, behind = slots[filled], behind[filled] | (np.arange(room) >= len(begin))[:, None]
    rows = jax.tree.map(lambda x: x[0][slots], held.rows.replace(**dict.fromkeys(UNREAD, ())))
    first = np.zeros_like(behind)
    first[:, 0] = True
    rows = rows.replace(alive=rows.alive & ~behind[..., None], first=first)
    return jax.tree.map(lambda x: x.reshape(groups, -1, *x.shape[1:]), rows)


def _without(held: Stream, rows: np.ndarray, ends: np.ndarray) -> Stream:
    """Return the stream of some rows [r] and of some ends [e]."""

    def taken(x: np.ndarray, index: np.ndarray) -> np.ndarray:
        return np.take(x, index, axis=1, out=aligned((1, len(index), *x.shape[2:]), x.dtype), mode="clip")

    def of(fields: Transition, index: np.ndarray) -> Transition:
        return jax.tree.map(lambda x: taken(x, index), fields)

    own = of(held.rows.replace(**dict.fromkeys(FOLLOWED_BY, ())), rows)
    after = {name: taken(getattr(held.rows, name), ends) for name in FOLLOWED_BY}
    return Stream(rows=own.replace(**after), end=numbered(held.end[rows] >= 0))
