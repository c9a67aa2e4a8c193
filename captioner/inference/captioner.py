"""Any pictures in, captions out: `Captioner.from_pretrained().caption("dog.jpg")`."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import torch
from torch import Tensor

import captioner.pretrained
from captioner.config import SearchConfig
from captioner.data.images import ImageSource
from captioner.errors import ConfigError, ImageError
from captioner.inference.confidence import Calibration, Judgement, Level, level, read_calibration, read_signs
from captioner.inference.explanation import Explanation, explain
from captioner.model.captioning import CaptioningModel
from captioner.model.checkpoint import checkpoint_fingerprint, load_checkpoint
from captioner.model.device import choose_device
from captioner.search.hypothesis import Hypothesis
from captioner.search.tree import Recorder
from captioner.text.steering import Steering, WordRules
from captioner.text.vocabulary import detokenise

_NO_CAPTION = "No caption obeys the search's rules; relax no_repeat_ngram, the lengths or what is required."


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
    confidence: float | None = None
    """The probability that the best caption is as good as a person's (`captioner.inference.confidence` says how that
    is judged); None when it is uncertain or the model has no calibration."""
    word_confidences: tuple[float | None, ...] | None = None
    """For each of the best caption's words the probability that a person would use it (its stem) of this picture;
    None for function words, and altogether like `confidence`."""
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
        if self.text is None or not self.uncertain:
            return self.text
        return f"Not sure: perhaps {self.text[:1].lower()}{self.text[1:]}"


class Captioner:
    """A trained model, ready to caption."""

    def __init__(
        self, model: CaptioningModel, *, name: str = "unsaved", calibration: Calibration | None = None
    ) -> None:
        self.model = model.eval()
        self.calibration = calibration
        self.name = name
        """Which model this is: its folder's name and the beginning of its fingerprint."""
        self.search = model.config.search

    @classmethod
    def from_pretrained(
        cls, folder: str | Path | None = None, *, device: str | None = None, calibrated: bool = True
    ) -> Captioner:
        """The model in `folder`, or the one shipped with the package.

        Works without a network. The device defaults to CUDA where there is one. If not `calibrated`, its
        calibration is left alone and captions carry no confidence. Raises CheckpointError when the folder holds
        no sound model, ConfigError when there is no such device.
        """
        path = Path(folder) if folder is not None else Path(captioner.pretrained.__file__).parent
        model = load_checkpoint(path)
        calibration = read_calibration(path, feature_size=model.encoder.feature_size) if calibrated else None
        name = f"{'default' if folder is None else path.resolve().name}@{checkpoint_fingerprint(path)[:12]}"
        return cls(model.to(choose_device(device)), name=name, calibration=calibration)

    @overload  # a string is a sequence too: the first signature wins
    def caption(  # type: ignore[overload-overlap]
        self,
        images: ImageSource,
        *,
        candidates: int | None = ...,
        search: SearchConfig | None = ...,
        steering: Steering | None = ...,
    ) -> Caption: ...

    @overload
    def caption(
        self,
        images: Sequence[ImageSource],
        *,
        candidates: int | None = ...,
        search: SearchConfig | None = ...,
        steering: Steering | None = ...,
    ) -> list[Caption]: ...

    def caption(
        self,
        images: ImageSource | Sequence[ImageSource],
        *,
        candidates: int | None = None,
        search: SearchConfig | None = None,
        steering: Steering | None = None,
    ) -> Caption | list[Caption]:
        """Caption one picture, or a list of them.

        A picture is a path, encoded bytes, a PIL image or an array. One picture that cannot be read raises
        ImageError; in a list it becomes a `Caption` with `error` set. `candidates` is how many captions to
        return (default: as many as the beam is wide, and one where captions are drawn at random), `search`
        replaces the settings stored with the model, `steering` says which words must and must not occur.

        Raises ConfigError when no caption can obey the settings and the steering.
        """
        if isinstance(images, list | tuple):
            return list(self.caption_each(images, candidates=candidates, search=search, steering=steering))
        [only] = self.caption_each(
            [images],  # type: ignore[list-item]
            candidates=candidates,
            search=search,
            steering=steering,
        )
        if only.error is not None:
            raise ImageError(only.error)
        return only

    def caption_each(
        self,
        images: Iterable[ImageSource],
        *,
        candidates: int | None = None,
        search: SearchConfig | None = None,
        steering: Steering | None = None,
        batch_size: int = 16,
    ) -> Iterator[Caption]:
        """One `Caption` per picture, in order, as they are made; a picture that cannot be read is one too.

        The arguments are those of `caption`, and are checked before the first picture is asked for.
        """
        if batch_size < 1:
            raise ConfigError(f"A batch must hold at least one picture, but batch_size {batch_size} came.")
        search = search or self.search
        wanted = candidates or (search.beam_width if search.method == "beam" else 1)
        if search.method == "beam" and not 1 <= wanted <= max(1, search.beam_width):
            raise ConfigError(
                f"A beam {search.beam_width} wide gives 1 to {search.beam_width} candidates, but {wanted} "
                "were asked for; widen the beam."
            )
        rules = (steering or Steering()).rules(self.model.vocabulary)
        self.model.constraints(search, rules)
        return self._caption_each(images, wanted, search, rules, batch_size)

    def _caption_each(
        self, images: Iterable[ImageSource], candidates: int, search: SearchConfig, rules: WordRules, batch_size: int
    ) -> Iterator[Caption]:
        remaining = iter(images)
        while sources := list(itertools.islice(remaining, batch_size)):
            pixels: list[Tensor] = []
            errors: list[str | None] = []
            for source in sources:
                try:
                    pixels.append(self._pixels(source))
                    errors.append(None)
                except ImageError as error:
                    errors.append(str(error))
            found = iter(self._captions(pixels, search, candidates, rules) if pixels else [])
            for message in errors:
                yield Caption(error=message) if message else next(found)

    def explain(
        self, image: ImageSource, *, search: SearchConfig | None = None, steering: Steering | None = None
    ) -> Explanation:
        """The best caption of one picture, and what the model computed for each of its words.

        To go on from a branch of the tree instead, give `Steering(beginning=branch.beginning)`. Raises ImageError when
        the picture cannot be read, ConfigError when no caption can obey the rules.
        """
        pixels, settings = self._pixels(image), search or self.search
        features = self._features([pixels])
        rules = (steering or Steering()).rules(self.model.vocabulary)
        # Greedy search and sampling weigh no tree.
        recorder = Recorder() if settings.beam_width > 1 and settings.method == "beam" else None
        [hypotheses] = self.model.search(
            features, settings, best=1, rules=rules, keys=[_key(pixels)], recorder=recorder
        )
        if not hypotheses:
            raise ConfigError(_NO_CAPTION)
        return explain(self.model, features[0], hypotheses[0], tree=recorder.trees[0] if recorder else None)

    def features(self, image: ImageSource) -> Tensor:
        """What the CNN makes of one picture: (regions, feature_size). Raises ImageError."""
        return self._features([self._pixels(image)])[0]

    def _pixels(self, source: ImageSource) -> Tensor:
        return torch.from_numpy(self.model.encoder.preprocessing.read(source))

    @torch.inference_mode()
    def _features(self, pixels: list[Tensor]) -> Tensor:
        features: Tensor = self.model.encoder(torch.stack(pixels).to(self.model.device))
        return features

    def _captions(
        self, pixels: list[Tensor], search: SearchConfig, candidates: int, rules: WordRules
    ) -> Iterator[Caption]:
        keys = [_key(picture) for picture in pixels] if search.method == "sample" else None
        features = self._features(pixels)
        found = self.model.search(features, search, best=candidates, rules=rules, keys=keys)
        return map(self._caption, found, self._judge(features, found))

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
            return Caption(error=_NO_CAPTION)
        candidates = []
        for hypothesis in hypotheses:
            words = self.model.vocabulary.decode(hypothesis.words)
            candidates.append(Candidate(detokenise(words), hypothesis.log_probability, tuple(words)))
        if judgement is None:
            return Caption(tuple(candidates))
        return Caption(
            tuple(candidates),
            confidence=judgement.confidence,
            word_confidences=judgement.words,
            uncertain=judgement.uncertain,
        )


def _key(pixels: Tensor) -> int:
    """A number that stays with a picture wherever it stands, so that the same seed draws the same captions for it."""
    return int.from_bytes(hashlib.blake2b(pixels.cpu().numpy().tobytes(), digest_size=8).digest())
