"""The panel beside a scene: step, return, and each agent's action and policy."""

import math
from typing import NamedTuple

import numpy as np

from tandem.analysis.canvas import Canvas, Place, text_width
from tandem.analysis.palette import pale

ROWS = 9  # agents below one another before a further column begins
TALLEST = 124  # pixels of an agent's block, however few agents there are
LABELS = 10  # font size of action names


class Choice(NamedTuple):
    """What one agent decided."""

    agent: int
    name: str
    alive: bool
    action: str  # what it does in words; empty at the end of an episode
    chosen: int  # index among its actions, -1 = none
    bars: np.ndarray  # [A] heights in [0, 1]
    labels: tuple[str, ...]  # [A], empty if there is no choice


def draw_header(canvas: Canvas, place: Place, title: str, lines: tuple[str, ...], score: str) -> None:
    """Draw the title, the position in the film, and the return so far."""
    left, top, right, _ = place
    canvas.text(left, top + 14, title, _fitting(title, 17, right - left))
    for i, line in enumerate(lines):
        canvas.text(left, top + 40 + 20 * i, line, _fitting(line, 14, right - left), "quiet")
    canvas.text(right, top + 56, score, 26, "text", "rb")
    canvas.text(right, top + 70, "team return", 12, "quiet", "rb")


def _fitting(words: str, size: int, width: float) -> int:
    """Return the size, or the greatest below it in which the words are no wider than that; at least 10."""
    while size > 10 and text_width(words, size) > width:
        size -= 1
    return size


def draw_choices(canvas: Canvas, place: Place, choices: list[Choice]) -> None:
    """Draw one block per agent, in as many columns as it takes."""
    left, top, right, bottom = place
    columns = math.ceil(len(choices) / ROWS)
    rows = math.ceil(len(choices) / columns)
    width, height = (right - left) / columns, min(TALLEST, (bottom - top) / rows)
    for i, choice in enumerate(choices):
        x, y = left + (i // rows) * width, top + (i % rows) * height
        _draw_choice(canvas, (x, y, x + width - (12 if columns > 1 else 0), y + height), choice)


def _draw_choice(canvas: Canvas, place: Place, choice: Choice) -> None:
    left, top, right, bottom = place
    size = int(min(15, max(9, (bottom - top) / 3.2)))
    middle, radius = top + size * 0.75, size * 0.42
    canvas.disc(left + radius, middle, radius, choice.agent if choice.alive else "grid")
    canvas.text(left + 2 * radius + 6, middle, choice.name, size, "text" if choice.alive else "quiet")
    canvas.text(right, middle, choice.action, size, "text" if choice.alive else "quiet", "rm")
    if choice.alive:
        _draw_bars(canvas, (left, top + 1.6 * size, right, bottom - 5), choice)


def _draw_bars(canvas: Canvas, place: Place, choice: Choice) -> None:
    """Draw the policy: a bar per action on one line, the chosen one in the agent's colour."""
    left, top, right, bottom = place
    step = (right - left) / max(1, len(choice.labels))
    names = max((text_width(label, LABELS) for label in choice.labels), default=0.0)
    labelled = bottom - top > 34 and names < step - 2
    floor = bottom - (LABELS + 6 if labelled else 2)
    gap = min(6.0, step / 4)
    for i, label in enumerate(choice.labels):
        x, height = left + i * step, float(choice.bars[i]) * (floor - top)
        canvas.box(
            (x + gap / 2, floor - height, x + step - gap / 2, floor),
            choice.agent if i == choice.chosen else pale(choice.agent),
        )
        if labelled:
            canvas.text(
                x + step / 2, floor + 3 + LABELS / 2, label, LABELS, "text" if i == choice.chosen else "quiet", "mm"
            )
    canvas.line((left, floor), (right, floor), "grid", 1.0)
