"""Any pictures in, captions out: `Captioner.from_pretrained().caption("dog.jpg")`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

import torch
from torch import Tensor

from captioner.config import SearchConfig
from captioner.data.images import ImageSource
from captioner.data.preprocessing import Pixels
from captioner.errors import ConfigError, ImageError
from captioner.inference.caption import Caption
from captioner.inference.confidence import Calibration, read_calibration
from captioner.inference.describer import NO_CAPTION, Describer
from captioner.inference.explanation import Explanation
from captioner.model.captioning import CaptioningModel
from captioner.model.checkpoint import checkpoint_fingerprint, load_checkpoint
from captioner.model.device import choose_device
from captioner.model.hub import FoundModel, find_model
from captioner.model.onnx_model import is_exported, load_exported
from captioner.text.steering import Steering


class Captioner:
    """A trained model, ready to caption."""

    def __init__(
        self,
        model: CaptioningModel,
        *,
        name: str = "unsaved",
        calibration: Calibration | None = None,
        folder: Path | None = None,
    ) -> None:
        self.model = model.eval()
        self.calibration = calibration
        self.name = name
        """Which model this is: its folder's name and the beginning of its fingerprint."""
        self.folder = folder
        """Its checkpoint, where there is one."""
        self.search = model.config.search

    @property
    def precision(self) -> str:
        """What it computes in, as PyTorch calls it: float32, or bfloat16, on a GPU for the CNN alone."""
        return str(self.model.precision_here).removeprefix("torch.")

    @classmethod
    def from_pretrained(
        cls, model: str | Path | FoundModel | None = None, *, device: str | None = None, calibrated: bool = True
    ) -> Captioner:
        """The model shipped with the package, the one in a folder, or one of the Hugging Face hub.

        A model of the hub is called `user/name` or `user/name@revision`; a folder of that name comes first, and only
        what was never downloaded needs a network. The device defaults to CUDA where there is one. If not `calibrated`,
        its calibration is left alone and captions carry no confidence. Raises CheckpointError when there is no sound
        model, ConfigError when there is no such device.
        """
        found = find_model(model)
        exported = is_exported(found.folder)
        network = load_exported(found.folder) if exported else load_checkpoint(found.folder)
        feature_size = network.encoder.feature_size
        calibration = read_calibration(found.folder, feature_size=feature_size) if calibrated else None
        name = f"{found.name}@{checkpoint_fingerprint(found.folder)[:12]}"
        place = torch.device("cpu") if exported else choose_device(device)
        network = network if exported else network.to(place).for_inference()
        return cls(network, name=name, calibration=calibration, folder=found.folder)

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
        if only.error_kind == "no caption":
            raise ConfigError(NO_CAPTION)
        if only.error is not None:
            assert only.error_kind != "not written", "nothing is written here"
            raise ImageError(only.error, kind=only.error_kind or "damaged")
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
        describer = self.describer(candidates=candidates, search=search, steering=steering)
        return self._caption_each(images, describer, batch_size)

    def describer(
        self, *, candidates: int | None = None, search: SearchConfig | None = None, steering: Steering | None = None
    ) -> Describer:
        """What captions batches of pixels with these settings, checked; the arguments are those of `caption`."""
        return Describer(
            self.model,
            self.calibration,
            search=search or self.search,
            steering=steering or Steering(),
            candidates=candidates,
        )

    def _caption_each(self, images: Iterable[ImageSource], describer: Describer, batch_size: int) -> Iterator[Caption]:
        remaining = iter(images)
        while sources := list(itertools.islice(remaining, batch_size)):
            pixels: list[Pixels] = []
            failed: list[ImageError | None] = []
            for source in sources:
                try:
                    pixels.append(self._pixels(source))
                    failed.append(None)
                except ImageError as error:
                    failed.append(error)
            found = iter(describer.describe(describer.encode(pixels)) if pixels else [])
            for reason in failed:
                yield Caption(error=str(reason), error_kind=reason.kind) if reason else next(found)

    def explain(
        self,
        image: ImageSource,
        *,
        candidates: int | None = None,
        search: SearchConfig | None = None,
        steering: Steering | None = None,
    ) -> Explanation:
        """One picture's caption, and what the model computed for each of its words; the arguments are as in `caption`.

        To go on from a branch of its tree instead, explain again with `Steering(beginning=branch.beginning)`. Raises
        ImageError when the picture cannot be read, ConfigError when no caption can obey the rules.
        """
        describer = self.describer(candidates=candidates, search=search, steering=steering)
        [explanation] = describer.explain(describer.encode([self._pixels(image)]))
        if explanation is None:
            raise ConfigError(NO_CAPTION)
        return explanation

    def features(self, image: ImageSource) -> Tensor:
        """What its own search is given of one picture: (regions, feature_size). Raises ImageError."""
        features: Tensor = self.describer().encode([self._pixels(image)]).features[0]
        return features

    def _pixels(self, source: ImageSource) -> Pixels:
        return self.model.encoder.preprocessing.read(source)
