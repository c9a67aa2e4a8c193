"""Any pictures in, captions out: `Captioner.from_pretrained().caption("dog.jpg")`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import torch
from torch import Tensor

import captioner.pretrained
from captioner.config import SearchConfig
from captioner.data.images import ImageSource, read_image
from captioner.errors import ConfigError, ImageError
from captioner.inference.explanation import Explanation, explain
from captioner.model.captioning import CaptioningModel
from captioner.model.checkpoint import checkpoint_fingerprint, load_checkpoint
from captioner.search.beam import Hypothesis
from captioner.text.vocabulary import detokenise


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

    @property
    def text(self) -> str | None:
        """The best caption; None when there is none."""
        return self.candidates[0].text if self.candidates else None


class Captioner:
    """A trained model, ready to caption."""

    def __init__(self, model: CaptioningModel, *, name: str = "unsaved") -> None:
        self.model = model.eval()
        self.name = name
        """Which model this is: its folder's name and the beginning of its fingerprint."""
        self.search = model.config.search

    @classmethod
    def from_pretrained(cls, folder: str | Path | None = None, *, device: str | None = None) -> Captioner:
        """The model in `folder`, or the one shipped with the package.

        Works without a network. The device defaults to CUDA where there is one. Raises CheckpointError when
        the folder holds no sound model, ConfigError when there is no such device.
        """
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        path = Path(folder) if folder is not None else Path(captioner.pretrained.__file__).parent
        model = load_checkpoint(path)
        name = f"{'default' if folder is None else path.resolve().name}@{checkpoint_fingerprint(path)[:12]}"
        try:
            return cls(model.to(device), name=name)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"The device must be one PyTorch can use here, but {device!r} is not.") from error

    @overload  # a string is a sequence too: the first signature wins
    def caption(  # type: ignore[overload-overlap]
        self, images: ImageSource, *, candidates: int | None = ..., search: SearchConfig | None = ...
    ) -> Caption: ...

    @overload
    def caption(
        self, images: Sequence[ImageSource], *, candidates: int | None = ..., search: SearchConfig | None = ...
    ) -> list[Caption]: ...

    def caption(
        self,
        images: ImageSource | Sequence[ImageSource],
        *,
        candidates: int | None = None,
        search: SearchConfig | None = None,
    ) -> Caption | list[Caption]:
        """Caption one picture, or a list of them.

        A picture is a path, encoded bytes, a PIL image or an array. One picture that cannot be read raises
        ImageError; in a list it becomes a `Caption` with `error` set. `candidates` is how many captions to
        return (default: as many as the beam is wide), `search` replaces the settings stored with the model.
        """
        if isinstance(images, list | tuple):
            return list(self.caption_each(images, candidates=candidates, search=search))
        [only] = self.caption_each([images], candidates=candidates, search=search)  # type: ignore[list-item]
        if only.error is not None:
            raise ImageError(only.error)
        return only

    def caption_each(
        self,
        images: Iterable[ImageSource],
        *,
        candidates: int | None = None,
        search: SearchConfig | None = None,
        batch_size: int = 16,
    ) -> Iterator[Caption]:
        """One `Caption` per picture, in order, as they are made; a picture that cannot be read is one too."""
        search = search or self.search
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
            found = iter(self._search(pixels, search, candidates or search.beam_width) if pixels else [])
            for message in errors:
                yield Caption(error=message) if message else self._caption(next(found))

    def explain(self, image: ImageSource, *, search: SearchConfig | None = None) -> Explanation:
        """The best caption of one picture, with the probability of each word and where it looked."""
        features = self._features([self._pixels(image)])
        [[best]] = self.model.search(features, search or self.search, best=1)
        return explain(self.model, features[0], best)

    def _pixels(self, source: ImageSource) -> Tensor:
        preprocessing = self.model.encoder.preprocessing
        return preprocessing.pixels(read_image(source, at_least=2 * preprocessing.size))

    @torch.inference_mode()
    def _features(self, pixels: list[Tensor]) -> Tensor:
        features: Tensor = self.model.encoder(torch.stack(pixels).to(self.model.device))
        return features

    def _search(self, pixels: list[Tensor], search: SearchConfig, candidates: int) -> list[list[Hypothesis]]:
        if not 1 <= candidates <= max(1, search.beam_width):
            raise ConfigError(
                f"A beam {search.beam_width} wide gives 1 to {search.beam_width} candidates, but {candidates} "
                "were asked for; widen the beam."
            )
        return self.model.search(self._features(pixels), search, best=candidates)

    def _caption(self, hypotheses: list[Hypothesis]) -> Caption:
        if not hypotheses:
            return Caption(error="No caption obeys the search's rules; relax no_repeat_ngram or the lengths.")
        candidates = []
        for hypothesis in hypotheses:
            words = self.model.vocabulary.decode(hypothesis.words)
            candidates.append(Candidate(detokenise(words), hypothesis.log_probability, tuple(words)))
        return Caption(tuple(candidates))
