"""A curve for inline SVG: where its points and the marks of its axes lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 300, 180
"""Of the frame, in pixels."""

_MARKS = 4


class Mark(NamedTuple):
    """One mark of an axis: how far from its beginning, in pixels, and the number there."""

    at: float
    label: str


class Point(NamedTuple):
    """One point: right of and below the frame's upper left corner, in pixels, and its two numbers."""

    x: float
    y: float
    across: float
    up: float


class Curve(NamedTuple):
    """A curve in a frame of `WIDTH` and `HEIGHT`."""

    points: list[Point]
    across: list[Mark]
    """Left to right."""
    up: list[Mark]
    """Measured from above, as SVG does."""


def curve(points: Sequence[tuple[float, float]]) -> Curve:
    """The curve through at least one point, (across, up) each; the frame's edges are marks beyond all points."""
    across, up = (_round_numbers(min(values), max(values)) for values in zip(*points, strict=True))
    placed = [Point(WIDTH * _share(x, across), HEIGHT * (1 - _share(y, up)), x, y) for x, y in points]
    return Curve(
        points=placed,
        across=[Mark(WIDTH * _share(number, across), f"{number:.10g}") for number in across],
        up=[Mark(HEIGHT * (1 - _share(number, up)), f"{number:.10g}") for number in up],
    )


def _share(value: float, marks: Sequence[float]) -> float:
    return (value - marks[0]) / (marks[-1] - marks[0])


def _round_numbers(low: float, high: float) -> list[float]:
    """A few numbers at steps of 1, 2 or 5 times a power of ten, which hold `low` and `high` between them."""
    if high == low:
        low, high = low - 0.5, high + 0.5
    power = 10.0 ** math.floor(math.log10((high - low) / _MARKS))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * _MARKS >= high - low)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 10) for number in range(first, last + 1)]
