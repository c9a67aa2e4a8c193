"""Beam search over a step function: all pictures and all beams in one tensor.

The search knows no model. It is given `step(words, state) -> (log_probabilities, state)` and a state whose rows
it can reorder, and returns for every picture the n best captions by

    score = log-probability / (number of words + 1) ** length_exponent

It is exact in this sense: a picture's search ends only when no unfinished caption could still come among the n
best, so the answer depends neither on the other pictures of the batch nor on their order, and a beam as wide as
the number of all captions finds the best of all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from captioner.search.constraints import Constraints


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


@dataclass
class _Finished:
    """The best finished captions so far; places not yet taken have score -inf."""

    words: Tensor  # (pictures, best, longest + 1), filled with the end token
    log_probabilities: Tensor  # (pictures, best)
    scores: Tensor  # (pictures, best)

    def add(self, history: Tensor, log_probabilities: Tensor, scores: Tensor) -> None:
        """Offer one finished caption per row; keep the best."""
        padding = self.words.shape[-1] - history.shape[-1]
        words = torch.nn.functional.pad(history, (0, padding), value=int(self.words[0, 0, -1]))
        best = self.scores.shape[1]
        self.scores, chosen = torch.cat([self.scores, scores], dim=1).topk(best, dim=1)
        self.log_probabilities = torch.cat([self.log_probabilities, log_probabilities], dim=1).gather(1, chosen)
        self.words = torch.cat([self.words, words], dim=1).gather(
            1, chosen.unsqueeze(-1).expand(-1, -1, self.words.shape[-1])
        )


@torch.inference_mode()
def beam_search(
    step: Step[AnyState],
    state: AnyState,
    *,
    pictures: int,
    start: int,
    constraints: Constraints,
    beam_width: int,
    best: int | None = None,
    length_exponent: float = 0.0,
    device: torch.device | str = "cpu",
) -> list[list[Hypothesis]]:
    """For every picture its `best` captions (default: `beam_width`), best first; fewer where fewer exist.

    `state` holds one row per picture; `start` is the id of the start token.
    """
    best = best or beam_width
    end, longest = constraints.end, constraints.max_length
    history = torch.empty(pictures, 1, 0, dtype=torch.long, device=device)
    words = torch.full((pictures, 1), start, device=device)
    totals = torch.zeros(pictures, 1, device=device)
    nothing = torch.full((pictures, best), -torch.inf, device=device)
    finished = _Finished(torch.full((pictures, best, longest + 1), end, device=device), nothing, nothing)

    for length in range(longest + 1):
        log_probabilities, state = step(words, state)
        reached = totals.unsqueeze(-1) + constraints.apply(log_probabilities, history)
        ended = reached[..., end]
        finished.add(history, ended, ended / (length + 1) ** length_exponent)
        if length == longest:
            break
        reached[..., end] = -torch.inf
        totals, rows, words = _best_extensions(reached, beam_width)
        # What is unfinished loses probability with every word; only a longer division can still raise its score.
        hope = totals[:, 0] / (longest + 1) ** length_exponent
        if bool((finished.scores[:, -1] > hope).all()) or bool(totals.isneginf().all()):
            break
        state = state.select_rows(rows)
        history = torch.cat([history.gather(1, rows.unsqueeze(-1).expand(-1, -1, length)), words.unsqueeze(-1)], dim=-1)
    return _hypotheses(finished, end)


def _best_extensions(reached: Tensor, beam_width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best continuations among (pictures, rows, vocabulary): their totals, rows and words, best first.

    Two stages, best words of each row and then best of those, cost far less than sorting rows x vocabulary.
    """
    per_row = reached.topk(min(beam_width, reached.shape[-1]), dim=-1)
    candidates = per_row.values.flatten(1)
    totals, chosen = candidates.topk(min(beam_width, candidates.shape[1]), dim=1)
    return totals, chosen // per_row.values.shape[-1], per_row.indices.flatten(1).gather(1, chosen)


def _hypotheses(finished: _Finished, end: int) -> list[list[Hypothesis]]:
    answers = []
    for words, log_probabilities, scores in zip(
        finished.words.tolist(), finished.log_probabilities.tolist(), finished.scores.tolist(), strict=True
    ):
        answers.append(
            [
                Hypothesis(tuple(ids[: ids.index(end)]), log_probability, score)
                for ids, log_probability, score in zip(words, log_probabilities, scores, strict=True)
                if score > -torch.inf
            ]
        )
    return answers
