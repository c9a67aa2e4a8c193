"""Curves for inline SVG: where their points and the marks of their axes lie."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

Name = TypeVar("Name", bound=Hashable)

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


class Curves(NamedTuple, Generic[Name]):
    """Several curves in one frame of `WIDTH` and `HEIGHT`."""

    points: dict[Name, list[Point]]
    across: list[Mark]
    up: list[Mark]


def curve(points: Sequence[tuple[float, float]]) -> Curve:
    """The curve through at least one point, (across, up) each; the frame's edges are marks beyond all points."""
    drawn = curves({"": points})
    return Curve(drawn.points[""], drawn.across, drawn.up)


def curves(lines: Mapping[Name, Sequence[tuple[float, float]]], *, logarithmic: bool = False) -> Curves[Name]:
    """As `curve`, for several that share their axes; on a `logarithmic` axis upwards all that goes up is above 0."""

    def height(value: float) -> float:
        return math.log10(value) if logarithmic else value

    across = _round_numbers([x for points in lines.values() for x, _ in points])
    up = _round_numbers([height(y) for points in lines.values() for _, y in points], whole=logarithmic)
    return Curves(
        points={
            name: [Point(WIDTH * _share(x, across), HEIGHT * (1 - _share(height(y), up)), x, y) for x, y in points]
            for name, points in lines.items()
        },
        across=[Mark(WIDTH * _share(number, across), f"{number:.10g}") for number in across],
        up=[
            Mark(HEIGHT * (1 - _share(number, up)), _power(number) if logarithmic else f"{number:.10g}")
            for number in up
        ],
    )


def _share(value: float, marks: Sequence[float]) -> float:
    return (value - marks[0]) / (marks[-1] - marks[0])


def _power(exponent: float) -> str:
    return "10" + f"{exponent:.0f}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")) if exponent else "1"


def _round_numbers(values: Sequence[float], *, whole: bool = False) -> list[float]:
    """A few numbers at steps of 1, 2 or 5 times a power of ten, which hold all values between them."""
    low, high = min(values), max(values)
    if high == low:
        low, high = low - 0.5, high + 0.5
    power = 10.0 ** math.floor(math.log10((high - low) / _MARKS))
    if whole:
        power = max(power, 1.0)
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * _MARKS >= high - low)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 10) for number in range(first, last + 1)]
