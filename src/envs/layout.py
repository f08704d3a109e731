"""Describes a flat observation piece by piece, in the order of its features."""

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np

from tandem.core import Entities, Vector

Piece = tuple[str, int, int]  # kind of things, number of things, features of each


def laid_out(
    pieces: Sequence[Piece],
    *,
    first_actions: Mapping[str, int] = {},
    absent: Mapping[str, float | Sequence[float]] = {},
    places: Mapping[str, Sequence[int]] = {},
    relative: bool = False,
    scales: Mapping[str, Sequence[float]] = {},
) -> Vector:
    """Return the space of the observations that consist of these pieces.

    Args:
      pieces: in the order of the features. Pieces of one kind describe the same things; the kind "" describes nothing.
      first_actions: {kind: the action that targets the first of them}.
      absent: {kind: the row of a thing that is gone or out of sight, or one number for all its features}.
      places: {kind: the features of a row that are its position}.
      relative: positions are relative to the observer's, except its own.
      scales: {kind: the usual size of each feature of a row}.
    """
    ends = list(accumulate(count * width for _, count, width in pieces))
    parts: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for end, (kind, count, width) in zip(ends, pieces):
        if kind and count:
            parts.setdefault((kind, count), []).append((end - count * width, width))

    def block(kind: str, count: int) -> Entities:
        bare = Entities(
            kind=kind,
            count=count,
            parts=tuple(parts[kind, count]),
            first_action=first_actions.get(kind, -1),
            place=tuple(places.get(kind, ())),
            relative=relative and kind in places and kind != "own",
            scale=tuple(scales.get(kind, ())),
        )
        if kind not in absent:
            return bare
        return dataclasses.replace(bare, absent=tuple(np.broadcast_to(absent[kind], bare.width).tolist()))

    return Vector(ends[-1], tuple(block(*key) for key in parts))
