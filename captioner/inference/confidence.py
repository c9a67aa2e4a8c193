"""How sure a captioner may be of what it says, and when it should say that it is not sure.

Three small logistic regressions, stored beside the model as `calibration.json`, read what the network computed
anyway while it chose the caption:

    words        the probability that a content word's stem (Porter) stands in one of the picture's references;
                 function words claim nothing that a picture shows and have none
    captions     the probability that the caption is as good as a person's: that its CIDEr-D reaches the median of
                 human captions (`captioner.inference.calibration` says how both are scored)
    photographs  the odds that the picture is a photograph at all, from the mean of its regions; where they are too
                 low the caption is `uncertain`

The first two were measured on photographs, so where a caption is uncertain they are not told.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captioner.errors import CheckpointError
from captioner.inference.logistic import Floats, Logistic
from captioner.model.checkpoint import read_beside
from captioner.model.watching import Choices
from captioner.text.function_words import FUNCTION_WORDS
from captioner.text.vocabulary import Vocabulary

FILE = "calibration.json"
FORMAT = 2

WORD_SIGNS = ("log_probability", "entropy", "looked_away", "caption_log_probability")
"""What is known of a word: its log-probability; the entropy of the choice, in nats; the attention that went to the
sentinel and not to the picture (0 without one); the mean log-probability of the caption's words."""

CAPTION_SIGNS = ("log_probability", "word_confidence", "length", "all_right")
"""What is known of a caption: the mean log-probability of its words and end; the mean confidence of its content
words (0 without any: it claims nothing); its words; the log-probability that all content words are right, were they
independent (0 without any)."""


class Signs(NamedTuple):
    """What the network computed about one caption of one picture."""

    words: Floats
    """(words, len(WORD_SIGNS))"""
    content: NDArray[np.bool_]
    """(words,): which are content words."""
    log_probability: float
    """Mean, in nats, of the words and the end."""
    picture: Floats
    """(feature_size,): the mean of the picture's regions."""


class Judgement(NamedTuple):
    """How sure a caption is."""

    confidence: float | None
    """None where the caption is uncertain."""
    words: tuple[float | None, ...] | None
    """Of each word; None for function words, and altogether where the caption is uncertain."""
    uncertain: bool


@dataclass(frozen=True)
class Calibration:
    """What turns signs into probabilities; fitted by `captioner calibrate`."""

    words: Logistic
    captions: Logistic
    photographs: Logistic
    threshold: float
    """Log-odds of being a photograph; a caption of anything below is uncertain."""
    measured: dict[str, Any] = field(default_factory=dict)
    """The figures of the development pictures, each measured on pictures left out of the fit; for people."""

    def judge(self, signs: Signs) -> Judgement:
        """How sure the caption is."""
        if self.photographs.log_odds(signs.picture) < self.threshold:
            return Judgement(None, None, uncertain=True)
        words = self.words.probability(signs.words)
        told = tuple(float(each) if content else None for each, content in zip(words, signs.content, strict=True))
        confidence = float(self.captions.probability(caption_signs(signs, self.words)))
        return Judgement(confidence, told, uncertain=False)

    def to_json(self) -> str:
        """JSON text that `from_json` reads back, number for number."""
        return json.dumps(
            {
                "format": FORMAT,
                "words": _named(self.words, WORD_SIGNS),
                "captions": _named(self.captions, CAPTION_SIGNS),
                "photographs": {
                    "intercept": self.photographs.intercept,
                    "threshold": self.threshold,
                    "weights": self.photographs.weights.tolist(),
                },
                "measured": self.measured,
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Raises CheckpointError when `text` is no calibration."""
        try:
            stored = json.loads(text)
            if stored["format"] != FORMAT:
                raise ValueError(f"its format is {stored['format']!r}, not {FORMAT}")
            photographs = stored["photographs"]
            return cls(
                words=_from_named(stored["words"], WORD_SIGNS),
                captions=_from_named(stored["captions"], CAPTION_SIGNS),
                photographs=Logistic(
                    _finite(photographs["intercept"]), np.array([*map(_finite, photographs["weights"])])
                ),
                threshold=_finite(photographs["threshold"]),
                measured=dict(stored["measured"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{FILE} must hold what `captioner calibrate` writes, but it does not ({error}); run that again."
            ) from error


def read_calibration(folder: Path, *, feature_size: int) -> Calibration | None:
    """The calibration of the model in `folder`, or None when it has none.

    Raises CheckpointError when it is damaged, is not this model's, or is for a CNN of another `feature_size`.
    """
    data = read_beside(folder, FILE)
    if data is None:
        return None
    calibration = Calibration.from_json(data.decode(errors="replace"))
    weights = len(calibration.photographs.weights)
    if weights != feature_size:
        raise CheckpointError(
            f"{FILE} in {folder} must fit a CNN of {feature_size} features, but it is for one of {weights}; run "
            "`captioner calibrate` again."
        )
    return calibration


def caption_signs(signs: Signs, words: Logistic) -> Floats:
    """(len(CAPTION_SIGNS),): what is known of the caption, given how the confidence of its words comes about."""
    content = signs.words[signs.content]
    claims = words.probability(content)
    all_right = -np.logaddexp(0.0, -words.log_odds(content)).sum()
    return np.array([signs.log_probability, claims.mean() if len(claims) else 0.0, len(signs.words), all_right])


@torch.inference_mode()
def read_signs(vocabulary: Vocabulary, features: Tensor, caption: Sequence[int], choices: Choices) -> Signs:
    """What the choices of a caption's words (ids) tell of how sure it is; features (regions, feature_size)."""
    noted = torch.stack(choices, dim=-1).double().cpu().numpy()
    picture = features.float().mean(dim=0).double().cpu().numpy()
    mean = float(noted[:, 0].mean())  # of the words and the end after them
    words = np.column_stack([noted[:-1], np.full(len(caption), mean)])
    content = np.array([vocabulary.words[word] not in FUNCTION_WORDS for word in caption], dtype=bool)
    return Signs(words, content, mean, picture)


def _named(fitted: Logistic, names: Sequence[str]) -> dict[str, Any]:
    weights = dict(zip(names, fitted.weights.tolist(), strict=True))
    return {"intercept": fitted.intercept, "weights": weights}


def _from_named(stored: dict[str, Any], names: Sequence[str]) -> Logistic:
    if set(stored["weights"]) != set(names):
        raise ValueError(f"its weights are for {', '.join(stored['weights'])}, not {', '.join(names)}")
    return Logistic(_finite(stored["intercept"]), np.array([_finite(stored["weights"][name]) for name in names]))


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)
