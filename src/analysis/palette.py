"""Colours of the pictures: agents have one each, told apart also by the colour-blind (Okabe and
Ito's, and two more).
"""

from tandem.scene import Colour

AGENTS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#7f5f3f", "#6a4fc1", "#8a9a00")
NAMED = {
    "text": "#22252a",
    "quiet": "#80858c",
    "background": "#ffffff",
    "panel": "#f5f5f2",
    "paper": "#fbfbf9",
    "grid": "#c9ccd1",
    "opponent": "#c8321e",
    "landmark": "#404040",
    "good": "#d3edd8",
    "chosen": "#22252a",
    "bar": "#d5d8dc",
    "imagined": "#a3218e",
}


def rgb(colour: Colour) -> str | None:
    """Return a colour as "#rrggbb", or None for "none"."""
    return None if colour == "none" else _hex(colour)


def pale(colour: Colour, share: float = 0.65) -> str:
    """Return the colour mixed with that share of white."""
    parts = bytes.fromhex(_hex(colour)[1:])
    return "#" + "".join(f"{round(part + share * (255 - part)):02x}" for part in parts)


def _hex(colour: Colour) -> str:
    return AGENTS[colour % len(AGENTS)] if isinstance(colour, int) else NAMED.get(colour, colour)
