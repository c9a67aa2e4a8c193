"""Minimum-Bayes-risk choice: of several captions the one most like all of them, where likely ones count more.

A caption that a search scores best may say something no other one says. If the model's captions are what a person
might say, with their probabilities, then the caption with the highest expected likeness

    sum over h of p(h) * likeness(c, h)

is the best bet (Kumar and Byrne 2004, "Minimum Bayes-risk decoding for statistical machine translation", section 2).
Here p(h) is proportional to probability ** (1 / temperature): near 0 the likeliest caption decides alone, at 1 the
probabilities count as they are, and far above 1 every caption counts the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

LONGEST = 4
"""Runs of one to so many words are compared, as in BLEU and CIDEr."""


def likeness_table(captions: Sequence[Sequence[Hashable]]) -> list[list[float]]:
    """How like each caption is to each, (captions, captions), 0 to 1; a caption is a sequence of words or ids.

    The likeness of two captions is the F1 of their n-grams, averaged over the orders 1 to `LONGEST` that either has:
    twice the n-grams they share, over the n-grams of both.
    """
    counted = [_ngrams(caption) for caption in captions]
    table = [[1.0] * len(captions) for _ in captions]
    for number, one in enumerate(counted):
        for earlier, other in enumerate(counted[:number]):
            table[number][earlier] = table[earlier][number] = _likeness(one, other)
    return table


def order_by_consensus(
    table: Sequence[Sequence[float]], log_probabilities: Sequence[float], *, temperature: float
) -> list[int]:
    """The captions' numbers, the highest expected likeness first; of equals the earlier stands first.

    `table` is that of `likeness_table`, `log_probabilities` are natural logarithms, `temperature` is above 0.
    """
    likeliest = max(log_probabilities, default=0.0)
    weights = [math.exp((value - likeliest) / temperature) for value in log_probabilities]
    # fsum rounds once, so that equals stay equal whatever the order of the captions.
    expected = [math.fsum(weight * like for weight, like in zip(weights, row, strict=True)) for row in table]
    return sorted(range(len(expected)), key=lambda number: -expected[number])


def _ngrams(caption: Sequence[Hashable]) -> list[Counter[tuple[Hashable, ...]]]:
    """Of each order its n-grams with their counts."""
    return [
        Counter(tuple(caption[start : start + order]) for start in range(len(caption) - order + 1))
        for order in range(1, LONGEST + 1)
    ]


def _likeness(one: list[Counter[tuple[Hashable, ...]]], other: list[Counter[tuple[Hashable, ...]]]) -> float:
    shares = []
    for mine, theirs in zip(one, other, strict=True):
        if both := mine.total() + theirs.total():
            shares.append(2 * (mine & theirs).total() / both)
    return sum(shares) / len(shares) if shares else 1.0
