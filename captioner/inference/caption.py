"""What is said about one picture, how sure it is, or why nothing is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from captioner.errors import ImageErrorKind

Level = Literal["low", "medium", "high"]

ErrorKind = ImageErrorKind | Literal["no caption", "not written"]

LOW, HIGH = 0.2, 0.5
"""Below one in five a caption's confidence is low; from one in two on, when it is as likely as not to be as good as
a person's, it is high. Words are told because people who cannot see the picture make more of them than of numbers
(MacLeod et al. 2017, "Understanding blind people's experiences with computer-generated captions")."""


def level(confidence: float) -> Level:
    """A caption's confidence in a word."""
    return "low" if confidence < LOW else "medium" if confidence < HIGH else "high"


@dataclass(frozen=True)
class Candidate:
    """One caption the search found."""

    text: str
    log_probability: float
    """Natural logarithm, of the whole sentence and its end."""
    words: tuple[str, ...]
    """As the vocabulary spells them, before they became a sentence."""


@dataclass(frozen=True)
class Caption:
    """What is said about one picture, or why nothing is."""

    candidates: tuple[Candidate, ...] = ()
    """Best first; empty when the picture could not be captioned."""
    error: str | None = None
    """A sentence."""
    error_kind: ErrorKind | None = None
    """The same in a word or two that can be counted."""
    confidence: float | None = None
    """The probability that the best caption is as good as a person's (`captioner.inference.confidence` says how that
    is judged); None when it is uncertain or the model has no calibration."""
    word_confidences: tuple[float | None, ...] | None = None
    """For each of the best caption's words the probability that a person would use it (its stem) of this picture;
    None for function words, and altogether like `confidence`."""
    word_probabilities: tuple[float, ...] | None = None
    """For each of the best caption's words the probability that the model gave it after those before it; None where
    that was neither asked for nor needed for the confidence."""
    uncertain: bool | None = None
    """Whether the picture looks unlike the photographs the captioner knows; None when the model has no calibration."""

    @property
    def text(self) -> str | None:
        """The best caption; None when there is none."""
        return self.candidates[0].text if self.candidates else None

    @property
    def level(self) -> Level | None:
        """The confidence in a word, "low" for a caption that is uncertain; None when the model has no calibration."""
        return "low" if self.uncertain else level(self.confidence) if self.confidence is not None else None

    @property
    def hedged(self) -> str | None:
        """The best caption as it should be told: `Not sure: perhaps a dog runs.` when it is uncertain."""
        return None if self.text is None else self.hedge(self.text)

    def hedge(self, sentence: str) -> str:
        """A sentence that says what the caption says, as it should be told."""
        return f"Not sure: perhaps {sentence[:1].lower()}{sentence[1:]}" if self.uncertain else sentence
