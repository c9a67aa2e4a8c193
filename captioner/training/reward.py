"""What a drawn caption is worth in self-critical training, judged by the picture's training captions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from captioner.data.batches import Captions
from captioner.text.metrics import CiderD, smoothed_bleu
from captioner.text.mirroring import mirrored_caption
from captioner.text.vocabulary import END, SPECIAL_TOKENS, Vocabulary

_END_WORD = SPECIAL_TOKENS[END]


class Reward:
    """CIDEr-D, and a share of BLEU-4, with the end token as the last word of captions and references.

    Without that token a caption with a dangling end ("a man in a") loses little, and training soon finds that; with
    it the n-grams at the end of a whole sentence pay too, and one that never ends is worth nothing. Document
    frequencies are those of all training pictures, and references keep the words that the vocabulary does not hold.
    """

    def __init__(self, captions: Iterable[Iterable[str]], vocabulary: Vocabulary, *, bleu_weight: float = 0.0) -> None:
        """`captions` are those of every training picture, as people wrote them."""
        self._vocabulary = vocabulary
        self._bleu_weight = bleu_weight
        self._references = [[[*vocabulary.normalise(caption), _END_WORD] for caption in row] for row in captions]
        self._cider_d = CiderD(self._references)

    def of(
        self,
        pictures: Sequence[int] | NDArray[np.int64],
        captions: Captions,
        *,
        mirrored: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float64]:
        """The rewards (pictures, rows), 0 to 10 + `bleu_weight`, of several captions about each of these pictures.

        The captions are word ids, END last if they ended; each picture has equally many. Those of a `mirrored` picture
        (by default none is) are about its mirror image.
        """
        if mirrored is None:
            mirrored = np.zeros(len(pictures), dtype=bool)
        hypotheses = [
            mirrored_caption(" ".join(self._words(ids))).split() if mirror else self._words(ids)
            for rows, mirror in zip(captions, mirrored, strict=True)
            for ids in rows
        ]
        references = [self._references[picture] for picture, rows in zip(pictures, captions, strict=True) for _ in rows]
        rewards = self._cider_d.score(hypotheses, references)
        if self._bleu_weight:
            rewards += self._bleu_weight * smoothed_bleu(hypotheses, references)
        return rewards.reshape(len(captions), -1)

    def _words(self, ids: Sequence[int]) -> list[str]:
        return [*self._vocabulary.decode(ids), _END_WORD] if END in ids else []
