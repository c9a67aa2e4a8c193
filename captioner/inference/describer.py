"""From pixels to captions, everything about the search decided: what a `Captioner` does for each batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from captioner.config import SearchConfig
from captioner.data.preprocessing import Pixels
from captioner.errors import ConfigError
from captioner.inference.caption import Candidate, Caption
from captioner.inference.confidence import Calibration, Judgement, read_signs
from captioner.inference.explanation import Explanation, explain
from captioner.model.captioning import CaptioningModel
from captioner.search.hypothesis import Hypothesis
from captioner.search.tree import Recorder
from captioner.text.steering import Steering

NO_CAPTION = "No caption obeys the search's rules; relax no_repeat_ngram, the lengths or what is required."


@dataclass(frozen=True)
class Encoded:
    """A batch that the CNN has seen."""

    features: Tensor
    """(pictures and filling, regions, feature_size)"""
    keys: tuple[int, ...]
    """A number for each, the same wherever the picture stands, so that one seed draws the same captions for it."""
    pictures: int
    """How many come before the filling."""


class Describer:
    """Captions batches of pictures in two stages, so that one batch can be encoded while another is searched."""

    def __init__(
        self,
        model: CaptioningModel,
        calibration: Calibration | None,
        *,
        search: SearchConfig,
        steering: Steering,
        candidates: int | None,
    ) -> None:
        """`candidates` is how many captions each picture gets; None: as many as the beam is wide, one if drawn.

        Raises ConfigError when no caption can obey the settings and the steering.
        """
        self._rules = steering.rules(model.vocabulary)
        model.constraints(search, self._rules)
        wanted = candidates or (search.beam_width if search.method == "beam" else 1)
        if search.method == "beam" and not 1 <= wanted <= max(1, search.beam_width):
            raise ConfigError(
                f"A beam {search.beam_width} wide gives 1 to {search.beam_width} candidates, but {wanted} "
                "were asked for; widen the beam."
            )
        self.model = model
        self.calibration = calibration
        self.search = search
        self.steering = steering
        self.candidates = wanted

    @torch.inference_mode()
    def encode(self, pictures: Sequence[Pixels], *, filled_to: int = 0) -> Encoded:
        """Let the CNN look at some pictures, at least one.

        A batch of fewer than `filled_to` is filled up: the arithmetic of a batch depends in its last digits on how
        many pictures it holds, and batches of one size give every picture the same answer in whatever company.
        """
        filling = max(0, filled_to - len(pictures))
        pixels = torch.from_numpy(np.stack([*pictures, *[pictures[-1]] * filling]))
        features: Tensor = self.model.encoder(pixels.to(self.model.device))
        return Encoded(features, tuple(_key(picture) for picture in pixels), len(pictures))

    def describe(self, encoded: Encoded) -> list[Caption]:
        """One `Caption` for each picture, in their order."""
        found = self._find(encoded)
        captions = map(self._caption, found, self._judge(encoded.features, found))
        return list(captions)[: encoded.pictures]

    def explain(self, encoded: Encoded) -> Explanation:
        """The caption of the one picture encoded, and what the model computed for each of its words.

        Raises ConfigError when no caption obeys the rules.
        """
        # Greedy search and sampling weigh no tree.
        recorder = Recorder() if self.search.beam_width > 1 and self.search.method == "beam" else None
        [hypotheses] = found = self._find(encoded, recorder)
        if not hypotheses:
            raise ConfigError(NO_CAPTION)
        [judgement] = self._judge(encoded.features, found)
        return explain(
            self.model,
            encoded.features[0],
            hypotheses[0].words,
            caption=self._caption(hypotheses, judgement),
            tree=recorder.trees[0] if recorder else None,
        )

    def _find(self, encoded: Encoded, recorder: Recorder | None = None) -> list[list[Hypothesis]]:
        """The candidates of each picture, best first."""
        return self.model.search(
            encoded.features,
            self.search,
            best=self.candidates,
            rules=self._rules,
            keys=encoded.keys,
            recorder=recorder,
        )

    def _judge(self, features: Tensor, found: list[list[Hypothesis]]) -> list[Judgement | None]:
        """How sure the best caption of each picture is; None where there is none, or no calibration."""
        judgements: list[Judgement | None] = [None] * len(found)
        said = [place for place, hypotheses in enumerate(found) if hypotheses]
        if self.calibration is not None and said:
            signs = read_signs(self.model, features[said], [found[place][0].words for place in said])
            for place, of_picture in zip(said, signs, strict=True):
                judgements[place] = self.calibration.judge(of_picture)
        return judgements

    def _caption(self, hypotheses: list[Hypothesis], judgement: Judgement | None) -> Caption:
        if not hypotheses:
            return Caption(error=NO_CAPTION, error_kind="no caption")
        candidates = []
        for hypothesis in hypotheses:
            words = self.model.vocabulary.decode(hypothesis.words)
            sentence = self.model.vocabulary.detokenise(words)
            candidates.append(Candidate(sentence, hypothesis.log_probability, tuple(words)))
        if judgement is None:
            return Caption(tuple(candidates))
        return Caption(
            tuple(candidates),
            confidence=judgement.confidence,
            word_confidences=judgement.words,
            uncertain=judgement.uncertain,
        )


def _key(pixels: Tensor) -> int:
    return int.from_bytes(hashlib.blake2b(pixels.numpy().tobytes(), digest_size=8).digest())
