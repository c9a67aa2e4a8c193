"""Splits for pictures that have none: dealt by their content, so that the same picture always goes the same way.

A picture's SHA-256, read as a number from 0 to 1, says where it belongs: low numbers to validation, high ones to test.
Adding or removing others moves a picture only while a collection is so small that a split would fall below `LEAST`
pictures; then the lowest (or highest) numbers are taken until it has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from captioner.errors import ConfigError

LEAST = 10
"""Pictures a split gets at least, if they are no more than a fifth of all; two pictures give one to validation."""


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Which shares of the pictures without a split go to validation and to test, 0 to 1; the rest is for training."""

    validation: float = 0.1
    test: float = 0.0

    def __post_init__(self) -> None:
        if min(self.validation, self.test) < 0 or not self.validation + self.test < 1:
            raise ConfigError(
                "The shares of validation and test must be 0 or more and leave something to train on, but "
                f"{self.validation} and {self.test} came."
            )


def deal(digests: Sequence[bytes], shares: Shares) -> list[str]:
    """The split of each picture, by the SHA-256 of its content; equal contents go together."""
    order = sorted(set(digests))
    of = dict.fromkeys(order, "train")
    ends: tuple[tuple[str, float, Iterable[bytes]], ...] = (
        ("test", shares.test, reversed(order)),
        ("validation", shares.validation, order),
    )
    for split, share, candidates in ends:
        if share > 0:
            of |= dict.fromkeys(_taken(candidates, share, least=_least(len(order)), high=split == "test"), split)
    return [of[digest] for digest in digests]


def _least(pictures: int) -> int:
    return min(LEAST, max(pictures // 5, int(pictures > 1)))


def _taken(candidates: Iterable[bytes], share: float, *, least: int, high: bool) -> list[bytes]:
    """The candidates, nearest their end first, whose number lies within the share of that end."""
    taken: list[bytes] = []
    for digest in candidates:
        number = int.from_bytes(digest[:8]) / 2**64
        if len(taken) >= least and (1 - number if high else number) >= share:
            break
        taken.append(digest)
    return taken
