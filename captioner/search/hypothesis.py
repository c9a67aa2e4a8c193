"""What a search is given, a step and a state, and what it answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

from torch import Tensor


class Rows(Protocol):
    """What a state must be able to do for a search."""

    def select_rows(self, rows: Tensor) -> Self:
        """The state with each picture's rows replaced by those numbered in `rows` (pictures, new rows)."""
        ...


AnyState = TypeVar("AnyState", bound=Rows)
StateOfStep = TypeVar("StateOfStep")


class Step(Protocol[StateOfStep]):
    """One word further."""

    def __call__(self, words: Tensor, state: StateOfStep) -> tuple[Tensor, StateOfStep]:
        """Last words (pictures, rows) -> log-probabilities of the next (pictures, rows, vocabulary), new state."""
        ...


@dataclass(frozen=True)
class Hypothesis:
    """A finished caption."""

    words: tuple[int, ...]
    """Ids without start and end token."""
    log_probability: float
    """Natural logarithm, end token included."""
    score: float
    """What the search ranked it by."""
