"""Greedy search: the likeliest word each time. Beam search's cheap and short-sighted relative."""

from __future__ import annotations

import torch

from captioner.search.beam import AnyState, Hypothesis, Step
from captioner.search.constraints import Constraints


@torch.inference_mode()
def greedy_search(
    step: Step[AnyState],
    state: AnyState,
    *,
    pictures: int,
    start: int,
    constraints: Constraints,
    device: torch.device | str = "cpu",
) -> list[Hypothesis]:
    """For every picture the caption whose every word is the likeliest; `state` holds one row per picture."""
    history = torch.empty(pictures, 1, 0, dtype=torch.long, device=device)
    words = torch.full((pictures, 1), start, device=device)
    totals = torch.zeros(pictures, 1, device=device)
    over = torch.zeros(pictures, 1, dtype=torch.bool, device=device)
    while not bool(over.all()):
        log_probabilities, state = step(words, state)
        best, words = constraints.apply(log_probabilities, history).max(dim=-1)
        totals = totals + best.masked_fill(over, 0.0)
        words = words.masked_fill(over, constraints.end)
        over = over | (words == constraints.end)
        history = torch.cat([history, words.unsqueeze(-1)], dim=-1)
    answers = []
    for ids, total in zip(history[:, 0].tolist(), totals[:, 0].tolist(), strict=True):
        answers.append(Hypothesis(tuple(ids[: ids.index(constraints.end)]), total, total))
    return answers
