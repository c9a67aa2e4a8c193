"""Greedy search: the likeliest word each time. Beam search's cheap and short-sighted relative."""

from __future__ import annotations

import torch

from captioner.search.backtracking import backtrack
from captioner.search.constraints import Constraints
from captioner.search.hypothesis import AnyState, Hypothesis, Step


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
    """For every picture the caption whose every word is the likeliest; `state` holds one row per picture.

    Where that leads into a dead end, the caption that `backtrack` finds. A picture without any caption that obeys
    the rules gets one without words of log-probability -inf.
    """
    at_start = state
    history = torch.empty(pictures, 1, 0, dtype=torch.long, device=device)
    words = torch.full((pictures, 1), start, device=device)
    progress = torch.zeros_like(words)
    totals = torch.zeros(pictures, 1, device=device)
    over = torch.zeros(pictures, 1, dtype=torch.bool, device=device)
    while not bool(over.all()):
        log_probabilities, state = step(words, state)
        best, words = constraints.apply(log_probabilities, history, progress).max(dim=-1)
        totals = totals + best.masked_fill(over, 0.0)
        words = words.masked_fill(over | best.isneginf(), constraints.end)
        over = over | (words == constraints.end)
        progress = constraints.advance(progress, words)
        history = torch.cat([history, words.unsqueeze(-1)], dim=-1)
    answers = []
    for picture, (ids, total) in enumerate(zip(history[:, 0].tolist(), totals[:, 0].tolist(), strict=True)):
        answer = Hypothesis(tuple(ids[: ids.index(constraints.end)]), total, total)
        if total == -torch.inf:
            way = backtrack(
                step, at_start, picture, pictures=pictures, start=start, constraints=constraints, device=device
            )
            answer = way or Hypothesis((), -torch.inf, -torch.inf)
        answers.append(answer)
    return answers
