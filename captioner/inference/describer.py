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
from captioner.inference.confidence import Calibration, read_signs
from captioner.inference.explanation import Explanation, explain
from captioner.model.captioning import CaptioningModel
from captioner.model.watching import Watch
from captioner.search.hypothesis import Hypothesis
from captioner.search.tree import Recorder
from captioner.text.steering import Steering

NO_CAPTION = "No caption obeys the search's rules; relax no_repeat_ngram, the lengths or the rules about words."


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
        wanted = candidates
        if wanted is None:
            wanted = search.beam_width if search.method == "beam" else 1
        if wanted < 1:
            raise ConfigError(f"At least one candidate must be asked for, but {wanted} were; ask for 1 or more.")
        if search.method == "beam" and wanted > search.beam_width:
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
        features = self.model.look(pixels.to(self.model.device), mirror=self.search.mirror)
        return Encoded(features, tuple(_key(picture) for picture in pixels), len(pictures))

    def encode_singly(self, pictures: Sequence[Pixels], *, filled_to: int = 0) -> Encoded:
        """The same, but the CNN looks at each picture by itself, so that filling the batch costs only its search."""
        each = [self.encode([picture]) for picture in pictures]
        each += each[-1:] * (filled_to - len(each))
        keys = tuple(key for encoded in each for key in encoded.keys)
        return Encoded(torch.cat([encoded.features for encoded in each]), keys, len(pictures))

    def describe(self, encoded: Encoded, *, word_probabilities: bool = False) -> list[Caption]:
        """One `Caption` for each picture, in their order; with the probability of each word if that is asked for."""
        watch = self.model.watch() if word_probabilities or self.calibration is not None else None
        found = self._find(encoded, watch)
        return [self._caption(encoded, found, place, watch) for place in range(encoded.pictures)]

    def explain(self, encoded: Encoded) -> list[Explanation | None]:
        """For each picture its caption and what the model computed for each word; None where none obeys the rules."""
        # Greedy search and sampling weigh no tree.
        recorder = Recorder() if self.search.beam_width > 1 and self.search.method == "beam" else None
        watch = self.model.watch()
        found = self._find(encoded, watch, recorder)
        said = [hypotheses[0].words if hypotheses else () for hypotheses in found]
        traces = self.model.traces(encoded.features, said)
        return [
            explain(
                self.model,
                said[place],
                traces[place],
                caption=self._caption(encoded, found, place, watch),
                tree=recorder.trees[place] if recorder else None,
            )
            if hypotheses
            else None
            for place, hypotheses in enumerate(found[: encoded.pictures])
        ]

    def _find(self, encoded: Encoded, watch: Watch | None, recorder: Recorder | None = None) -> list[list[Hypothesis]]:
        """The candidates of each picture, best first."""
        return self.model.search(
            encoded.features,
            self.search,
            best=self.candidates,
            rules=self._rules,
            keys=encoded.keys,
            recorder=recorder,
            watch=watch,
        )

    def _caption(self, encoded: Encoded, found: list[list[Hypothesis]], place: int, watch: Watch | None) -> Caption:
        """One picture's candidates, and how sure the best one is: that takes a calibration and a watch."""
        hypotheses, vocabulary = found[place], self.model.vocabulary
        if not hypotheses:
            return Caption(error=NO_CAPTION, error_kind="no caption")
        candidates = []
        for hypothesis in hypotheses:
            words = vocabulary.decode(hypothesis.words)
            candidates.append(Candidate(vocabulary.detokenise(words), hypothesis.log_probability, tuple(words)))
        if watch is None:
            return Caption(tuple(candidates))
        best = hypotheses[0].words
        choices = watch.choices(place, best)
        probabilities = tuple(choices.log_probabilities[:-1].exp().tolist())
        if self.calibration is None:
            return Caption(tuple(candidates), word_probabilities=probabilities)
        judgement = self.calibration.judge(read_signs(vocabulary, encoded.features[place], best, choices))
        return Caption(
            tuple(candidates),
            confidence=judgement.confidence,
            word_confidences=judgement.words,
            word_probabilities=probabilities,
            uncertain=judgement.uncertain,
        )


def _key(pixels: Tensor) -> int:
    return int.from_bytes(hashlib.blake2b(pixels.numpy().tobytes(), digest_size=8).digest())
