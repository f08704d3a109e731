"""What stands on a film of imagined episodes beside the scenes: lines over the steps, and observations as colours."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tandem.analysis.canvas import Canvas, Place
from tandem.analysis.palette import AGENTS
from tandem.scene import Colour

LOW, MIDDLE, HIGH = (np.array(rgb, float) for rgb in ((0, 114, 178), (251, 251, 249), (213, 94, 0)))
LABEL, GAP = 26, 6  # pixels to the left of an agent's strips, and between agents


class Line(NamedTuple):
    """A quantity over the steps of an episode."""

    name: str
    values: np.ndarray  # [T + 1], not a number where there is none
    colour: Colour


def draw_lines(
    canvas: Canvas, place: Place, title: str, lines: Sequence[Line], step: int, marks: Sequence[tuple[int, Colour]]
) -> None:
    """Draw lines up to a step, with the values there in words, and upright marks at steps that have come.

    The scale is that of the whole episode, so that it does not move.
    """
    left, top, right, bottom = place
    known = np.concatenate([line.values for line in lines])
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    room = max(high - low, 1e-6)
    last = max(1, len(lines[0].values) - 1)

    def at(t: int, value: float) -> tuple[float, float]:
        return left + (right - left) * t / last, bottom - (bottom - top - 26) * (value - low) / room

    canvas.text(left, top + 8, title, 13)
    x = right
    for line in reversed(lines):
        value = line.values[step]
        words = f"{line.name} {value:.3g}" if np.isfinite(value) else line.name
        canvas.text(x, top + 8, words, 12, line.colour, "rm")
        x -= 118
    canvas.line((left, bottom), (right, bottom), "grid", 1.0)
    for t, colour in marks:
        if t <= step:
            canvas.line((at(t, low)[0], top + 22), (at(t, low)[0], bottom), colour, 1.0)
    for line in lines:
        _draw_line(canvas, [at(t, float(v)) if np.isfinite(v) else None for t, v in enumerate(line.values[: step + 1])],
                   line.colour)  # fmt: skip


def _draw_line(canvas: Canvas, points: list[tuple[float, float] | None], colour: Colour) -> None:
    for one, other in zip(points, points[1:]):
        if one and other:
            canvas.line(one, other, colour)
    if points and points[-1]:
        canvas.disc(*points[-1], 3.0, colour)


def draw_strips(canvas: Canvas, place: Place, real: np.ndarray, imagined: np.ndarray, scale: np.ndarray) -> None:
    """Draw what each agent sees [N, O] as a strip of colours, real above imagined: blue is below zero, orange above.

    Args:
      scale: [O] the largest size of each feature, which has the full colour.
    """
    left, top, right, bottom = place
    height = (bottom - top) / len(real)
    gap = min(GAP, height / 4)
    for i, pair in enumerate(zip(real, imagined, strict=True)):
        upper, lower = top + i * height, top + (i + 1) * height - gap
        canvas.disc(left + 10, (upper + lower) / 2, min(7.0, height / 3), i % len(AGENTS))
        for j, row in enumerate(pair):
            half = (lower - upper) / 2
            canvas.cells((left + LABEL, upper + j * half, right, upper + (j + 1) * half), colours(row[None], scale))


def colours(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return colours [..., O, 3] uint8 of values [..., O]: from LOW at -scale over MIDDLE at zero to HIGH at scale."""
    share = np.clip(values / np.maximum(scale, 1e-8), -1.0, 1.0)[..., None]
    return np.round(
        MIDDLE + np.maximum(share, 0.0) * (HIGH - MIDDLE) + np.maximum(-share, 0.0) * (LOW - MIDDLE)
    ).astype(np.uint8)
