"""The development pictures and their references, on which a network is measured while it is trained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from captioner.data.features import CaptionedFeatures
from captioner.model.captioning import CaptioningModel
from captioner.text.metrics import CiderD, bleu
from captioner.text.vocabulary import Vocabulary
from captioner.training.processes import Processes

_GREEDILY: dict[str, Any] = {"method": "beam", "beam_width": 1, "groups": 1, "consensus": 0.0, "min_length": 0}
"""How the development pictures are captioned: cheaply, but as long as the model's own search allows."""

_PICTURES_AT_ONCE = 100

_EXAMPLES = 8


class Scores(NamedTuple):
    """How good greedy captions are, both figures times 100."""

    cider_d: float
    bleu_4: float
    examples: dict[str, str]
    """The captions of the pictures that `example_pictures` chooses, by their names."""


def example_pictures(pictures: int) -> list[int]:
    """The numbers of a few of so many pictures, at equal distances: those whose captions are kept to be read."""
    return sorted({number * pictures // _EXAMPLES for number in range(_EXAMPLES)})


class Development:
    """The development pictures, ready to score a model."""

    def __init__(self, validation: CaptionedFeatures, vocabulary: Vocabulary) -> None:
        self._features = validation.features
        self._names = validation.names
        self._references = [[vocabulary.normalise(caption) for caption in row] for row in validation.captions]
        self._cider_d = CiderD(self._references)

    @torch.inference_mode()
    def score(self, model: CaptioningModel, last_blocks: nn.Module, processes: Processes) -> Scores:
        """Score a model; each process captions its share, and all come to the same scores.

        `last_blocks` turns the development features into those of the whole encoder (see `SplitEncoder`).
        """
        share = processes.share(len(self._features))
        greedy = replace(model.config.search, **_GREEDILY)
        own: list[list[str]] = []
        for first in range(share.start, share.stop, _PICTURES_AT_ONCE):
            pictures = np.arange(first, min(first + _PICTURES_AT_ONCE, share.stop))
            features = last_blocks(torch.from_numpy(self._features.read(pictures)).to(model.device))
            found = model.search(features, greedy)
            own += [model.vocabulary.decode(best[0].words) if best else [] for best in found]
        captions = processes.gather(own)
        cider_d = float(self._cider_d.score(captions, self._references).mean())
        examples = {
            self._names[picture]: model.vocabulary.detokenise(captions[picture])
            for picture in example_pictures(len(captions))
        }
        return Scores(100 * cider_d, 100 * bleu(captions, self._references)[3], examples)
