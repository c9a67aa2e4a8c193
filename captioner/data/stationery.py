"""What drawings are made of: paper, ink, letters and light, all from a random generator."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""

_SYLLABLES = "ba co di fe gu ha ji ke lo mu na po qui ra se ti vo wa xe zu an er on il st th".split()


def picture(pixels: NDArray[np.float64]) -> Image.Image:
    """Levels (height, width, 1 or 3), 0 to 255, as an RGB picture; what lies outside is cut off."""
    levels = np.broadcast_to(pixels.round().clip(0, 255).astype(np.uint8), (*pixels.shape[:2], 3))
    return Image.fromarray(np.ascontiguousarray(levels))


def slope(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """(size, size): rising from 0 to 1 in a random direction."""
    angle = rng.uniform(0, 2 * math.pi)
    rows, columns = np.mgrid[:size, :size] / size
    rising = math.sin(angle) * rows + math.cos(angle) * columns
    return np.asarray((rising - rising.min()) / (rising.max() - rising.min()))


def sheet(rng: np.random.Generator, size: int) -> tuple[Image.Image, ImageDraw.ImageDraw, Colour]:
    """A sheet of paper, a brush for it and a colour that shows: dark on light, or now and then the reverse."""
    light, dark = paper(rng), _colour(rng.integers(0, 90, 3))
    ground, ink = (dark, light) if rng.random() < 0.15 else (light, dark)
    page = Image.new("RGB", (size, size), ground)
    return page, ImageDraw.Draw(page), ink


def paper(rng: np.random.Generator) -> Colour:
    """White or nearly so."""
    return _colour(np.clip(rng.uniform(215, 255) + rng.normal(0, 6, 3), 0, 255))


def any_colour(rng: np.random.Generator) -> Colour:
    """Any colour but white."""
    return _colour(rng.integers(0, 230, 3))


def box(rng: np.random.Generator, size: int, smallest: float) -> Box:
    """A box in a picture of `size` pixels, its sides at least a share `smallest` of the picture's."""
    corner, sides = rng.uniform(0.02, 0.6, 2) * size, rng.uniform(smallest, 0.38, 2) * size
    return corner[0], corner[1], corner[0] + sides[0], corner[1] + sides[1]


def words(rng: np.random.Generator, count: int) -> str:
    """So many words of no language."""
    return " ".join("".join(rng.choice(_SYLLABLES, int(rng.integers(1, 4)))) for _ in range(count)).capitalize()


def paragraphs(rng: np.random.Generator, brush: ImageDraw.ImageDraw, place: Box, height: float, ink: Colour) -> None:
    """Fill a box with lines of text, letters so many pixels high; some lines end early, and a paragraph with them."""
    left, y, right, bottom = place
    letter = font(height)
    while y + height < bottom:
        share = rng.uniform(0.2, 0.9) if rng.random() < 0.2 else 1.0
        letters = int(share * (right - left) / max(1.0, letter.getlength("n")))
        brush.text((left, y), words(rng, 18)[:letters], fill=ink, font=letter)
        y += height * (2.2 if share < 1 else 1.35)


def font(height: float) -> Any:
    """The font inside Pillow, so many pixels high."""
    return ImageFont.load_default(max(6.0, height))


def _colour(levels: NDArray[Any]) -> Colour:
    red, green, blue = (int(level) for level in levels)
    return red, green, blue
