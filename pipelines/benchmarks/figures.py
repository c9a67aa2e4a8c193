"""What the benchmark tells: figures with their range over the rounds and, where there is one, the bar to reach."""

import math
import statistics
from collections.abc import Callable, Container, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Plan:
    """What every section is given."""

    model: str | None
    """A folder, or USER/NAME; None: the shipped model."""
    rounds: int
    threads: int
    """Processors that every contestant is held to."""
    pictures: tuple[str, ...]
    """Photographs, JPEG files, no two the same."""
    data: Path | None
    """A prepared collection, for the lengths of its captions."""


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    value: float | None
    """The median over the rounds if nothing else is said; None where it cannot be measured here, as `note` says."""
    unit: str
    low: float | None = None
    high: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""
    points: tuple[tuple[float, float], ...] = ()
    """Size and seconds, where the value is an exponent fitted to them."""

    @property
    def met(self) -> bool | None:
        """Whether the bar is reached; None where there is no bar, or nothing was measured."""
        if self.value is None or (self.at_least is None and self.at_most is None):
            return None
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )


def take_turns(
    laps: Mapping[Name, Callable[[], Answer]], rounds: int, *, warm: Container[Name] = ()
) -> dict[Name, list[Answer]]:
    """What each lap answered in each round, A B C A B C.

    Before that, each but those that are `warm` already runs once and is not counted.
    """
    for name, lap in laps.items():
        if name not in warm:
            lap()
    answers: dict[Name, list[Answer]] = {name: [] for name in laps}
    for _ in range(rounds):
        for name, lap in laps.items():
            answers[name].append(lap())
    return answers


def figure(
    name: str,
    values: Sequence[float],
    unit: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    note: str = "",
) -> Figure:
    """The median of one value per round, with the least and the greatest."""
    middle = statistics.median(values)
    return Figure(name, middle, unit, min(values), max(values), at_least=at_least, at_most=at_most, note=note)


def worst(name: str, shares: Sequence[float], *, at_least: float | None, note: str = "") -> Figure:
    """The least share of the rounds, for what every one of them must reach."""
    return Figure(name, min(shares), "share", min(shares), max(shares), at_least=at_least, note=note)


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent do not exceed."""
    return sorted(values)[-(-len(values) * percent // 100) - 1]


def paired(slower: Sequence[float], faster: Sequence[float]) -> list[float]:
    """How many times as long one took as the other, round by round."""
    return [numerator / denominator for numerator, denominator in zip(slower, faster, strict=True)]


def exponent(name: str, points: Sequence[tuple[float, float]], *, at_most: float, note: str = "") -> Figure:
    """The b of seconds = a * size ** b, fitted to (size, seconds) without the smallest third.

    By least squares of the logarithms.
    """
    larger = [(math.log(size), math.log(seconds)) for size, seconds in points[len(points) // 3 :]]
    slope = statistics.linear_regression(*zip(*larger, strict=True)).slope
    return Figure(name, slope, "exponent", at_most=at_most, note=note, points=tuple(points))
