"""A caption where a narrow search found none: the likeliest words first, and back again from every dead end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch

from captioner.search.constraints import Constraints
from captioner.search.hypothesis import AnyState, Hypothesis, Step


@torch.inference_mode()
def backtrack(
    step: Step[AnyState],
    state: AnyState,
    picture: int,
    *,
    pictures: int,
    start: int,
    constraints: Constraints,
    attempts: int = 1000,
    device: torch.device | str = "cpu",
) -> Hypothesis | None:
    """The first caption of one picture that obeys the rules, depth first; None when there is none.

    `state` holds one row for every picture of the batch. Gives up after so many `attempts`, each of them one step:
    rules that leave a way open only to whoever tries thousands of captions.
    """
    steps = itertools.count()

    def captions(words: tuple[int, ...], total: float, state: AnyState) -> Iterator[Hypothesis]:
        if next(steps) >= attempts:
            return
        last = torch.full((pictures, 1), words[-1] if words else start, device=device)
        history = torch.tensor(words, dtype=torch.long, device=device).expand(pictures, 1, -1)
        log_probabilities, after = step(last, state)
        allowed = constraints.apply(log_probabilities, history, constraints.progress(history))[picture, 0]
        values, order = allowed.sort(descending=True)
        for word, value in zip(order.tolist(), values.tolist(), strict=True):
            if value == -torch.inf:
                return
            if word == constraints.end:
                yield Hypothesis(words, total + value, total + value)
            else:
                yield from captions((*words, word), total + value, after)

    return next(captions((), 0.0, state), None)
