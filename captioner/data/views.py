"""The views of a picture that training shows: itself, its mirror image, and random parts of it in other colours.

A view always looks the same: what is random about it follows from its number, the picture's, and how many there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_LEAST_AREA = 0.6
"""A part shows at least this share of the picture, so that what the captions say is still to be seen."""
_COLOURS = 0.3
"""Brightness, contrast and saturation change by up to this share."""


@dataclass(frozen=True)
class Views:
    """How many views a picture has; number 0 is the picture itself."""

    mirrored: bool = False
    """Number 1 is the whole picture's mirror image, and every second of the crops is mirrored, too."""
    crops: int = 0
    """So many random parts, resized to the size of the whole."""

    @property
    def name(self) -> str:
        """Views that look alike have the same name, which can be part of a file's; others have another."""
        whole = str(1 + self.mirrored)
        return f"{whole}+{self.crops}-{_LEAST_AREA:g}-{_COLOURS:g}" if self.crops else whole

    def __len__(self) -> int:
        return 1 + self.mirrored + self.crops

    def are_mirrored(self, views: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which of the views with these numbers are mirror images."""
        odd: NDArray[np.bool_] = views % 2 == 1
        return odd & self.mirrored

    def show(self, pixels: Tensor, view: int, pictures: Iterable[int]) -> Tensor:
        """A view of each of several pictures, uint8 (pictures, 3, size, size), whose numbers are `pictures`."""
        if view > self.mirrored:
            seeds = (len(self) * number + view for number in pictures)
            pixels = torch.stack([_crop(whole, seed) for whole, seed in zip(pixels, seeds, strict=True)])
        return pixels.flip(-1) if self.are_mirrored(np.array(view)) else pixels


def _crop(picture: Tensor, seed: int) -> Tensor:
    """A random part of a picture (3, size, size), as large as the picture and in other colours."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # of the CPU, the only one that is forked
        part: Tensor = _random_crop(picture.shape[-1])(picture)
    return part


@lru_cache(maxsize=1)
def _random_crop(size: int) -> Any:
    from torchvision.transforms import v2  # importing it takes as long as importing PyTorch

    crop = v2.RandomResizedCrop(size, scale=(_LEAST_AREA, 1.0), interpolation=v2.InterpolationMode.BICUBIC)
    return v2.Compose([crop, v2.ColorJitter(brightness=_COLOURS, contrast=_COLOURS, saturation=_COLOURS)])
