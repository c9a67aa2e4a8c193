"""The built-in drawn collection: coloured shapes on plain backgrounds, each with five true captions.

It needs no download, and everything its captions say can be seen: how many shapes there are (one to three),
what each is, its colour, whether a lone or a paired shape is large or small, how they are arranged, and the
background. Captions always go from left to right or from top to bottom and paraphrase one phrase, so that a
captioner which has seen a thousand or two can be right about the rest.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from captioner.errors import DataError

COLOURS = {
    "red": (214, 40, 40),
    "green": (40, 150, 60),
    "blue": (40, 80, 210),
    "yellow": (240, 196, 0),
    "purple": (130, 40, 160),
    "black": (25, 25, 25),
}
BACKGROUNDS = {"white": (250, 250, 250), "grey": (190, 190, 190), "beige": (242, 226, 196)}
KINDS = ("circle", "square", "triangle", "star")

# Distance from a shape's middle to its outermost point, as a share of the picture's side. Three in a line
# leave no room for two sizes, so they have one between the others and no word for it.
_RADII = {"large": (0.19, 0.21), "small": (0.09, 0.11), "": (0.115, 0.125)}
# Smaller, and a small star is no longer seen to be one.
SMALLEST_SIZE = 32
# Shapes are painted this many times too large and then shrunk, which smooths their edges.
_OVERSAMPLING = 4
# Standard deviation of the noise, in levels out of 255.
_NOISE = 3.0


@dataclass(frozen=True)
class Drawing:
    """A picture (RGB) and the captions that are true of it."""

    image: Image.Image
    captions: tuple[str, ...]


@dataclass(frozen=True)
class _Shape:
    """One shape; `x`, `y` (its middle) and `radius` are shares of the picture's side."""

    size: str
    colour: str
    kind: str
    x: float
    y: float
    radius: float

    def __str__(self) -> str:
        return " ".join(word for word in ("a", self.size, self.colour, self.kind) if word)


def draw(count: int, *, seed: int, size: int = 96) -> Iterator[Drawing]:
    """`count` drawings of `size` x `size` pixels, the n-th always the same for the same seed and size.

    Raises DataError when `count` or `seed` is negative or `size` below SMALLEST_SIZE.
    """
    if count < 0 or seed < 0:
        raise DataError(f"A number of drawings and a seed must be 0 or more, not {min(count, seed)}.")
    if size < SMALLEST_SIZE:
        raise DataError(
            f"A drawing's side must be {SMALLEST_SIZE} pixels or more, or its shapes cannot be told apart, not {size}."
        )
    return (_drawing(np.random.default_rng([seed, number]), size) for number in range(count))


def _drawing(rng: np.random.Generator, size: int) -> Drawing:
    background = str(rng.choice(list(BACKGROUNDS)))
    upright = bool(rng.integers(2))
    shapes = _shapes(rng, count=int(rng.integers(1, 4)), upright=upright)
    return Drawing(_painted(rng, shapes, background, size), _captions(shapes, background, upright))


def _shapes(rng: np.random.Generator, *, count: int, upright: bool) -> list[_Shape]:
    """Shapes in a line, from top to bottom or from left to right, no two touching or of one colour."""
    # Where the middles lie along the line, and how far they may stray along it and across it.
    middles, along, across = {
        1: ((0.5,), 0.2, 0.2),
        2: ((0.26, 0.74), 0.01, 0.1),
        3: ((0.2, 0.5, 0.8), 0.01, 0.1),
    }[count]
    shapes = []
    for middle, colour in zip(middles, rng.permutation(list(COLOURS)), strict=False):
        size = "" if count == 3 else str(rng.choice(["large", "small"]))
        first, second = middle + rng.uniform(-along, along), 0.5 + rng.uniform(-across, across)
        x, y = (second, first) if upright else (first, second)
        radius = rng.uniform(*_RADII[size])
        shapes.append(_Shape(size, str(colour), str(rng.choice(KINDS)), float(x), float(y), float(radius)))
    return shapes


def _captions(shapes: list[_Shape], background: str, upright: bool) -> tuple[str, ...]:
    """Five captions, all of them complete: no short one to hide behind."""
    phrase = turned = str(shapes[0])
    if len(shapes) == 2:
        forth, back = ("above", "below") if upright else ("left of", "right of")
        phrase = f"{shapes[0]} {forth} {shapes[1]}"
        turned = f"{shapes[1]} {back} {shapes[0]}"
    elif len(shapes) == 3:
        line = "column" if upright else "row"
        phrase = turned = f"{shapes[0]}, {shapes[1]} and {shapes[2]} in a {line}"
    number = ("one shape", "two shapes", "three shapes")[len(shapes) - 1]
    return (
        f"{phrase} on a {background} background",
        f"there is {phrase} on a {background} background",
        f"a picture of {phrase} on a {background} background",
        f"{number} on a {background} background, {phrase}",
        f"a {background} background with {turned}",
    )


def _painted(rng: np.random.Generator, shapes: list[_Shape], background: str, size: int) -> Image.Image:
    side = size * _OVERSAMPLING
    canvas = Image.new("RGB", (side, side), BACKGROUNDS[background])
    brush = ImageDraw.Draw(canvas)
    for shape in shapes:
        points = [(side * x, side * y) for x, y in _outline(shape)]
        brush.polygon(points, fill=COLOURS[shape.colour])
    pixels = np.asarray(canvas.resize((size, size), Image.Resampling.BOX), dtype=np.float64)
    noisy = pixels + rng.normal(0, _NOISE, pixels.shape)
    return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


def _outline(shape: _Shape) -> list[tuple[float, float]]:
    """The corners of a shape, as shares of the picture's side."""
    # A ring of points at equal angles from the top; a star's are near and far by turns, and the square's
    # first lies half a side's angle further, so that it stands on a side.
    points, turn, inner = {
        "circle": (64, 0.0, 1.0),
        "square": (4, math.pi / 4, 1.0),
        "triangle": (3, 0.0, 1.0),
        "star": (10, 0.0, 0.42),
    }[shape.kind]
    corners = []
    for number in range(points):
        angle = turn + 2 * math.pi * number / points
        radius = shape.radius * (inner if number % 2 else 1)
        corners.append((shape.x + radius * math.sin(angle), shape.y - radius * math.cos(angle)))
    return corners
