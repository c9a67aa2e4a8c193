"""Where a captioner is good and where it is not: its figures by the length of what it says, and by what is shown."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from captioner.text.metrics import Captions, References, bleu
from captioner.text.nouns import commonest_nouns

_LENGTHS = 4
"""Groups of about as many captions each."""
_NOUNS = 16


class OfLength(NamedTuple):
    """The captions of some lengths."""

    least: int
    """Words of the shortest."""
    most: int
    """Words of the longest."""
    pictures: int
    cider_d: float
    """Mean, times 100."""
    bleu_4: float
    """Times 100."""


class OfNoun(NamedTuple):
    """The pictures with a noun in a reference."""

    noun: str
    pictures: int
    said: float
    """Of these pictures the share whose caption says it."""
    right: float | None
    """Of the captions that say it the share that a reference bears out; None where no caption does."""
    cider_d: float
    """Mean over these pictures, times 100."""


def by_length(captions: Captions, references: References, cider_d: NDArray[np.float64]) -> list[OfLength]:
    """Captions in up to four groups, shortest first; `cider_d` (captions,) is that of each, times 100."""
    lengths = np.array([len(words) for words in captions])
    cuts = np.unique(np.quantile(lengths, np.arange(1, _LENGTHS) / _LENGTHS, method="lower"))
    group = np.searchsorted(cuts, lengths)
    found = []
    for number in np.unique(group):
        chosen = group == number
        numbers, own = np.flatnonzero(chosen).tolist(), lengths[chosen]
        *_, bleu_4 = bleu([captions[each] for each in numbers], [references[each] for each in numbers])
        found.append(OfLength(int(own.min()), int(own.max()), len(own), float(cider_d[chosen].mean()), 100 * bleu_4))
    return found


def by_noun(captions: Captions, references: References, cider_d: NDArray[np.float64]) -> list[OfNoun]:
    """The pictures of the references' commonest nouns; `cider_d` (captions,) is that of each caption, times 100."""
    found = []
    for noun in commonest_nouns(references, _NOUNS):
        shown = np.array([any(noun in words for words in rows) for rows in references])
        said = np.array([noun in words for words in captions])
        right = float((shown & said).sum() / said.sum()) if said.any() else None
        found.append(OfNoun(noun, int(shown.sum()), float(said[shown].mean()), right, float(cider_d[shown].mean())))
    return found
