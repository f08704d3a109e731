"""Scenes: a state of an environment as a few figures in its own units. Other modules draw them.

Coordinates point right and up. A colour is the index of a trained agent, which has one colour in the whole picture,
or one of the names in `src/analysis/palette.py`, or "#rrggbb".
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

Colour = int | str
Rebuild = Callable[[Any, Any], Any]


class Disc(NamedTuple):
    """A unit, an agent, a landmark."""

    x: float
    y: float
    radius: float
    colour: Colour
    label: str = ""  # written inside
    note: str = ""  # written below
    health: float | None = None  # share in [0, 1], drawn as a bar above


class Box(NamedTuple):
    """A field of a table; `frame` is the colour of its border, `ink` that of its label."""

    left: float
    bottom: float
    right: float
    top: float
    colour: Colour
    label: str = ""
    ink: Colour = "text"
    frame: Colour = "grid"


class Line(NamedTuple):
    """A shot, a push, a wall."""

    start: tuple[float, float]
    end: tuple[float, float]
    colour: Colour


class Scene(NamedTuple):
    """One picture; later figures lie over earlier ones."""

    figures: tuple[Disc | Box | Line, ...]
    bounds: tuple[float, float, float, float]  # left, bottom, right, top of the visible area
    caption: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawing:
    """How to draw an environment; host functions over states whose leaves are NumPy arrays."""

    agents: tuple[str, ...]  # names of the trained agents, in their order
    actions: tuple[tuple[str, ...], ...]  # names of each agent's actions, in their order
    scene: Callable[[Any, Any], Scene]  # state, joint action [N] about to be played (None at the end) -> picture
    # state, what the team sees [N, O] -> the state with everything where the team sees it, for `scene`; what nobody
    # sees stays as it was. None: observations do not say where things are
    rebuilt: Rebuild | None = None
