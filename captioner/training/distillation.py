"""Distillation: the CNN learns to see what a far larger network, its teacher, sees in the same views.

A few thousand pictures with five captions each teach a CNN little of what there is to see; a teacher that has seen
hundreds of millions tells hundreds of numbers about every region. Two linear layers, which only training has, predict
them from the CNN's own regions, and their error is one more loss (Romero et al. 2015, arXiv:1412.6550, section 2.2).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from captioner.data.features import RegionFeatures

_SAMPLE = 500
"""Pictures whose features tell the teacher's means and deviations."""


class Distillation(nn.Module):
    """Predicts a teacher's features from the student's."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, feature_size: int, teacher: RegionFeatures) -> None:
        """`teacher` holds the features of the regions and, last, of the whole picture."""
        super().__init__()
        size = teacher.shape[-1]
        self.region = nn.Linear(feature_size, size)
        self.whole = nn.Linear(feature_size, size)
        some = np.unique(np.linspace(0, len(teacher) - 1, _SAMPLE, dtype=np.int64))
        sample = torch.from_numpy(teacher.read(some))
        parts = [sample[:, :-1].flatten(0, 1), sample[:, -1]]
        self.register_buffer("mean", torch.stack([part.mean(dim=0) for part in parts]))
        deviation = torch.stack([part.std(dim=0, correction=0) for part in parts])
        self.register_buffer("deviation", deviation.clamp(min=1e-3))

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """The loss of each picture: (pictures,), about 2 where nothing is predicted and 0 where all is.

        features (pictures, regions, feature_size), targets (pictures, regions + 1, size): the mean squared error of the
        regions and that of the whole picture, each number in its deviations.
        """
        regions = (targets[:, :-1] - self.mean[0]) / self.deviation[0]
        whole = (targets[:, -1] - self.mean[1]) / self.deviation[1]
        of_regions: Tensor = (self.region(features).float() - regions).square().mean(dim=(1, 2))
        of_whole: Tensor = (self.whole(features.mean(dim=1)).float() - whole).square().mean(dim=1)
        return of_regions + of_whole
