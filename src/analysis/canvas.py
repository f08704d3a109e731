"""A picture to draw on, and scenes drawn on it; twice as large as shown while drawing, so that
edges come out smooth.
"""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tandem.analysis.palette import rgb
from tandem.scene import Box, Colour, Disc, Line, Scene

SMOOTH = 2
MARGIN, CAPTION = 12, 26  # around a scene, and below it for its caption
Place = tuple[float, float, float, float]  # left, top, right, bottom in pixels, y pointing down


@lru_cache(maxsize=None)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own font, which is the same on every machine."""
    return ImageFont.load_default(size * SMOOTH)


class Canvas:
    """A picture of `width` x `height` pixels; all coordinates are in these."""

    def __init__(self, width: int, height: int):
        self.image = Image.new("RGB", (width * SMOOTH, height * SMOOTH), rgb("background"))
        self.draw = ImageDraw.Draw(self.image)

    def box(self, place: Place, fill: Colour = "none", frame: Colour = "none", width: float = 1.0) -> None:
        left, top, right, bottom = (round(edge * SMOOTH) for edge in place)
        if right > left and bottom > top:
            self.draw.rectangle((left, top, right - 1, bottom - 1), rgb(fill), rgb(frame), round(width * SMOOTH))

    def disc(self, x: float, y: float, radius: float, fill: Colour) -> None:
        self.draw.circle((x * SMOOTH, y * SMOOTH), radius * SMOOTH, rgb(fill))

    def line(self, start: tuple[float, float], end: tuple[float, float], colour: Colour, width: float = 2.0) -> None:
        self.draw.line([(x * SMOOTH, y * SMOOTH) for x, y in (start, end)], rgb(colour), round(width * SMOOTH))

    def text(self, x: float, y: float, words: str, size: int, colour: Colour = "text", anchor: str = "lm") -> None:
        self.draw.text((x * SMOOTH, y * SMOOTH), words, rgb(colour), font(size), anchor)

    def cells(self, place: Place, values: np.ndarray) -> None:
        """Fill `place` with a table of colours [rows, columns, 3] uint8."""
        left, top, right, bottom = (round(edge * SMOOTH) for edge in place)
        image = Image.fromarray(values).resize((right - left, bottom - top), Image.Resampling.NEAREST)
        self.image.paste(image, (left, top))

    def pixels(self) -> np.ndarray:
        """Return the picture as [height, width, 3] uint8."""
        return np.asarray(self.image.reduce(SMOOTH))


def text_width(words: str, size: int) -> float:
    """Return how many pixels wide a text is."""
    return font(size).getlength(words) / SMOOTH


def draw_scene(canvas: Canvas, scene: Scene, place: Place, bounds: Place) -> None:
    """Draw a scene as large as fits into `place`, such that `bounds` (left, bottom, right, top in its
    units) is seen.
    """
    left, top, right, bottom = place[0] + MARGIN, place[1] + MARGIN, place[2] - MARGIN, place[3] - MARGIN - CAPTION
    low_x, low_y, high_x, high_y = bounds
    scale = min((right - left) / (high_x - low_x), (bottom - top) / (high_y - low_y))
    origin_x = (left + right) / 2 - scale * (low_x + high_x) / 2
    origin_y = (top + bottom) / 2 + scale * (low_y + high_y) / 2

    def at(x: float, y: float) -> tuple[float, float]:
        return origin_x + scale * x, origin_y - scale * y

    for figure in scene.figures:
        if isinstance(figure, Disc):
            _disc(canvas, figure, *at(figure.x, figure.y), scale)
        elif isinstance(figure, Box):
            _box(canvas, figure, (*at(figure.left, figure.top), *at(figure.right, figure.bottom)))
        elif isinstance(figure, Line):
            canvas.line(at(*figure.start), at(*figure.end), figure.colour, 2.5)
    canvas.text((left + right) / 2, place[3] - CAPTION / 2 - 4, scene.caption, 14, "quiet", "mm")


def draw_picture(canvas: Canvas, picture: np.ndarray, place: Place) -> None:
    """Draw a picture [height, width, 3] uint8 as large as fits into `place`."""
    left, top, right, bottom = (round(edge * SMOOTH) for edge in place)
    height, width = picture.shape[:2]
    scale = min((right - left) / width, (bottom - top) / height)
    image = Image.fromarray(picture).resize((max(1, int(width * scale)), max(1, int(height * scale))))
    canvas.image.paste(image, ((left + right - image.width) // 2, (top + bottom - image.height) // 2))


def _disc(canvas: Canvas, disc: Disc, x: float, y: float, scale: float) -> None:
    radius = max(3.0, scale * disc.radius)
    canvas.disc(x, y, radius, disc.colour)
    size = int(min(20, 1.3 * radius))
    if disc.label and size >= 7:
        canvas.text(x, y, disc.label, size, "background", "mm")
    if disc.note:
        canvas.text(x, y + radius + 9, disc.note, 12, "text", "mm")
    if disc.health is not None:
        half = max(radius, 9.0)
        canvas.box((x - half, y - radius - 8, x + half, y - radius - 4), "bar")
        canvas.box((x - half, y - radius - 8, x - half + 2 * half * max(0.0, disc.health), y - radius - 4), disc.colour)


def _box(canvas: Canvas, box: Box, place: Place) -> None:
    canvas.box(place, box.colour, box.frame, 3.0 if box.frame == "chosen" else 1.0)
    left, top, right, bottom = place
    size = int(min(22, 0.5 * (bottom - top)))
    while size > 8 and text_width(box.label, size) > 0.9 * (right - left):
        size -= 1
    canvas.text((left + right) / 2, (top + bottom) / 2, box.label, size, box.ink, "mm")
