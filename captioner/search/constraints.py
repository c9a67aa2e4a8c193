"""What a caption may not do, as -inf in the log-probabilities before anything is chosen: guaranteed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from captioner.errors import ConfigError


@dataclass(frozen=True)
class Constraints:
    """Rules every caption obeys. Lengths are in words; the end token is not one."""

    end: int
    """Id of the end token."""
    min_length: int = 0
    max_length: int = 20
    no_repeat_ngram: int = 0
    """No sequence of so many words occurs twice; 0 allows repeats."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_length <= self.max_length or self.max_length < 1:
            raise ConfigError(
                "A caption's lengths must satisfy 0 <= min_length <= max_length and 1 <= max_length, but "
                f"min_length {self.min_length} and max_length {self.max_length} came."
            )

    def apply(self, log_probabilities: Tensor, history: Tensor) -> Tensor:
        """The log-probabilities (pictures, rows, vocabulary) with what the rules forbid set to -inf.

        `history` (pictures, rows, length) holds the words so far, without the start token.
        """
        length = history.shape[-1]
        allowed = log_probabilities
        if self.no_repeat_ngram:
            allowed = allowed.masked_fill(self._repeating(history, allowed.shape[-1]), -torch.inf)
        if length < self.min_length:
            allowed = allowed.index_fill(-1, torch.tensor([self.end], device=allowed.device), -torch.inf)
        if length >= self.max_length:
            ending = torch.full_like(allowed, -torch.inf)
            ending[..., self.end] = allowed[..., self.end]
            allowed = ending
        return allowed

    def _repeating(self, history: Tensor, vocabulary: int) -> Tensor:
        """Which next words would repeat a sequence: bool (pictures, rows, vocabulary)."""
        pictures, rows, length = history.shape
        banned = torch.zeros(pictures, rows, vocabulary, dtype=torch.bool, device=history.device)
        if length < self.no_repeat_ngram:
            return banned
        sequences = history.unfold(-1, self.no_repeat_ngram, 1)
        beginning = history[..., length - self.no_repeat_ngram + 1 :].unsqueeze(2)
        begun_again = (sequences[..., :-1] == beginning).all(dim=-1)
        return banned.scatter_add(-1, sequences[..., -1], begun_again)
