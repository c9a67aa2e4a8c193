"""What the model computed for each word of a caption."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from captioner.model.captioning import CaptioningModel
from captioner.search.beam import Hypothesis
from captioner.text.vocabulary import detokenise


@dataclass(frozen=True)
class ExplainedWord:
    """One word of a caption."""

    text: str
    probability: float
    """That the model gave this word after those before it, between 0 and 1."""
    attention: NDArray[np.float32] | None
    """(grid height, grid width): how much it looked at each cell of the picture; None without attention.

    Sums to one, or to less where the model has a sentinel: the rest is `not_looking`.
    """
    not_looking: float
    """The share of attention on what the decoder remembers instead of on the picture."""


@dataclass(frozen=True)
class Explanation:
    """A caption, word by word."""

    text: str
    words: tuple[ExplainedWord, ...]


def explain(model: CaptioningModel, features: Tensor, caption: Hypothesis) -> Explanation:
    """Say `caption` again about the picture with these features (regions, feature_size), and report each word."""
    trace = model.trace(features, caption.words)
    words = model.vocabulary.decode(caption.words)
    grid = (model.encoder.grid_height, model.encoder.grid_width)
    explained = []
    for time, word in enumerate(words):
        attention, not_looking = None, 0.0
        if trace.weights is not None:
            looked = trace.weights[time].float().cpu().numpy()
            attention = looked[: grid[0] * grid[1]].reshape(grid)
            not_looking = float(looked[grid[0] * grid[1] :].sum())
        probability = float(trace.log_probabilities[time].exp())
        explained.append(ExplainedWord(word, probability, attention, not_looking))
    return Explanation(detokenise(words), tuple(explained))
