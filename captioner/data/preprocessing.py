"""How a picture becomes the CNN's input: the numbers every reader of pictures shares. Imports no PyTorch."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from captioner.data.images import ImageSource, read_image

Pixels = NDArray[np.uint8]
"""One picture as the encoder takes it: (3, size, size)."""


@dataclass(frozen=True)
class Preprocessing:
    """Resized to a square without cropping; the encoder then normalises by `mean` and `std`, given in 0..1.

    Its `repr` is part of the encoder's fingerprint: another field makes every cached feature stale.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """What `dataclasses.asdict` made of one, after JSON. Raises KeyError or TypeError when it is no such thing."""
        return cls(stored["size"], tuple(stored["mean"]), tuple(stored["std"]))

    @classmethod
    def of_model(cls, folder: Path) -> Self | None:
        """The one that the model in a folder was made for; None where it tells none, and so cannot be loaded."""
        for name in ("onnx.json", "config.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                stored = cls.from_json(json.loads((folder / name).read_bytes())["preprocessing"])
                return stored if isinstance(stored.size, int) else None
        return None

    def read(self, source: ImageSource, *, name: str | None = None) -> Pixels:
        """Any picture as `pixels` gives it; a large JPEG is decoded at a fraction of its size. Raises ImageError.

        `name` is what the error's sentence calls the picture, if not by its path.
        """
        return self.pixels(self.open(source, name=name))

    def open(self, source: ImageSource, *, name: str | None = None) -> Image.Image:
        """The picture upright in RGB, as large as `pixels` needs it. Raises ImageError, as `read` does."""
        return read_image(source, at_least=2 * self.size, name=name)

    def pixels(self, picture: Image.Image) -> Pixels:
        """An upright RGB picture as uint8 (3, size, size); whole picture, so its aspect ratio changes."""
        resized = picture.resize((self.size, self.size), Image.Resampling.BICUBIC, reducing_gap=3.0)
        return np.array(resized, dtype=np.uint8).transpose(2, 0, 1).copy()
