"""A model whose next word is looked up in a table, small enough to try every caption it can say."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from captioner.search.constraints import Constraints
from captioner.search.hypothesis import Hypothesis

START, END, A, B, C = 0, 1, 2, 3, 4


@dataclass
class Table:
    """A model whose next word depends on the last two words and the picture."""

    log_probabilities: Tensor  # (pictures, last but one, last, next)
    before: Tensor  # (pictures, rows)

    def select_rows(self, rows: Tensor) -> Table:
        return Table(self.log_probabilities, self.before.gather(1, rows))

    def only(self, picture: int) -> Table:
        """The same model with one of its pictures."""
        return Table(self.log_probabilities[picture : picture + 1], self.before[picture : picture + 1])


def step(words: Tensor, state: Table) -> tuple[Tensor, Table]:
    pictures = torch.arange(len(words)).unsqueeze(1)
    return state.log_probabilities[pictures, state.before, words], Table(state.log_probabilities, words)


def model(table: Tensor) -> Table:
    """`table` (pictures, last but one, last, next) of probabilities."""
    return Table(table.log(), torch.zeros(len(table), 1, dtype=torch.long))


def random_model(seed: int, *, pictures: int, vocabulary: int = 4, never: float = 0.0) -> Table:
    """Random probabilities; a share of them (`never`) is 0."""
    generator = torch.Generator().manual_seed(seed)
    logits = 1.5 * torch.randn(pictures, vocabulary, vocabulary, vocabulary, generator=generator)
    logits[torch.rand(logits.shape, generator=generator) < never] = -torch.inf
    logits[..., START] = -torch.inf
    return model(logits.softmax(dim=-1).nan_to_num(0.0))


def brute_force(state: Table, picture: int, *, length_exponent: float, limits: Constraints) -> list[Hypothesis]:
    """Every caption that obeys the rules, scored from the definition, best first."""
    vocabulary = state.log_probabilities.shape[-1]
    captions = []
    for length in range(limits.max_length + 1):
        for words in itertools.product(range(END + 1, vocabulary), repeat=length):
            path = (START, START, *words, END)
            total = sum(
                float(state.log_probabilities[picture, path[i], path[i + 1], path[i + 2]]) for i in range(length + 1)
            )
            if total > -math.inf and obeys(words, limits):
                captions.append(Hypothesis(words, total, total / (length + 1) ** length_exponent))
    return sorted(captions, key=lambda caption: -caption.score)


def obeys(words: tuple[int, ...], limits: Constraints) -> bool:
    """Whether a finished caption keeps every rule, from their definitions."""
    n = limits.no_repeat_ngram
    sequences = [words[i : i + n] for i in range(len(words) - n + 1)] if n else []
    return (
        limits.min_length <= len(words) <= limits.max_length
        and len(set(sequences)) == len(sequences)
        and words[: len(limits.beginning)] == limits.beginning
        and all(holds(words, phrase) for phrase in limits.required)
        and not any(holds(words, phrase) for phrase in limits.forbidden)
    )


def holds(words: tuple[int, ...], phrase: tuple[int, ...]) -> bool:
    return any(words[i : i + len(phrase)] == phrase for i in range(len(words)))
