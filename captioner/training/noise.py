"""Random numbers for training that depend on the seed, the step and the place in the batch, and on nothing else.

Several processes, or one that computes a batch in parts, each draw the numbers of the whole batch and take those of
their own pictures: dropout is the same however a batch is divided, and a resumed run has no random state to restore.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


class Noise:
    """A source of uniform random numbers for some pictures of a batch."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}
        self.place(step=0, first=0, pictures=1)

    def place(self, *, step: int, first: int, pictures: int) -> None:
        """From now on the numbers of step `step` for the pictures from number `first` on, of `pictures` in the batch.

        The sequence begins anew: whoever asks for the same shapes in the same order gets the same numbers.
        """
        self._first, self._pictures = first, pictures
        self._key = int(np.random.SeedSequence((self._seed, step)).generate_state(1, np.uint64)[0] >> np.uint64(1))
        self._generators.clear()

    def uniform(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """Numbers (own pictures, ...) from 0 up to 1."""
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._key)
        whole = torch.rand((self._pictures, *shape[1:]), generator=self._generators[device], device=device)
        return whole[self._first : self._first + shape[0]]


class PlacedDropout(nn.Dropout):
    """Dropout (Srivastava et al. 2014) of tensors (pictures, ...) whose chances come from `Noise`."""

    def __init__(self, probability: float, noise: Noise) -> None:
        super().__init__(probability)
        self._noise = noise

    def forward(self, values: Tensor) -> Tensor:
        """Values with some set to zero and the others scaled up; in evaluation mode as they are."""
        if not self.training or self.p == 0:
            return values
        kept = self._noise.uniform(values.shape, values.device) >= self.p
        return values * kept / max(1 - self.p, 1e-9)
