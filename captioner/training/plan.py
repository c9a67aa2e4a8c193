"""The plan of a run: what each step learns, and when the development pictures are captioned.

It follows from the recipe and the captions alone, so that a run can go on from any step, in any number of processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from captioner.config import TrainingConfig
from captioner.data.batches import Captions, Words, epoch_batches, pad
from captioner.data.views import Views


@dataclass(frozen=True)
class Batch:
    """What one step learns, in all processes together."""

    step: int
    pictures: NDArray[np.int64]
    """Their numbers."""
    views: NDArray[np.int64]
    """Which view of each picture is seen."""
    mirrored: NDArray[np.bool_]
    """Which of the pictures are seen as mirror images."""
    words: Words
    """On the CPU."""
    own_words: float
    """The share of previous words that are the model's own."""


class Plan:
    """Which pictures every step of a run learns from."""

    def __init__(
        self, settings: TrainingConfig, captions: Captions, *, mirrored_captions: Captions, views: Views
    ) -> None:
        """`mirrored_captions` are those of the mirror images."""
        self._settings = settings
        self._captions = captions
        self._mirrored_captions = mirrored_captions
        self._views = views
        self.steps_per_epoch = -(-len(captions) // settings.pictures_per_batch)
        steps = max(settings.epochs * self.steps_per_epoch, settings.min_steps)
        self.steps = steps if settings.max_steps is None else min(steps, settings.max_steps)
        rounds = self.steps / self.steps_per_epoch if settings.evaluations is None else settings.evaluations
        ends = [round(self.steps * (number + 1) / rounds) for number in range(int(rounds))]
        self._evaluations = {*ends, self.steps}
        self._epoch = lru_cache(maxsize=1)(self._plan_epoch)

    def evaluates_after(self, steps: int) -> bool:
        """Whether the development pictures are captioned after so many steps."""
        return steps in self._evaluations

    def batch(self, step: int) -> Batch:
        """What the step with this number, from 0, learns."""
        epoch, number = divmod(step, self.steps_per_epoch)
        batches, views = self._epoch(epoch)
        pictures = batches[number]
        mirrored = self._views.are_mirrored(views[pictures])
        captions = [
            (self._mirrored_captions if mirror else self._captions)[picture]
            for picture, mirror in zip(pictures, mirrored, strict=True)
        ]
        return Batch(
            step=step,
            pictures=pictures,
            views=views[pictures],
            mirrored=mirrored,
            words=pad(captions),
            own_words=self._settings.scheduled_sampling * step / max(1, self.steps - 1),
        )

    def _plan_epoch(self, epoch: int) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
        """The batches of an epoch and the view of every picture in it."""
        seed = self._settings.seed
        batches = epoch_batches(
            self._captions, pictures_per_batch=self._settings.pictures_per_batch, seed=seed, epoch=epoch
        )
        views = np.random.default_rng((seed, epoch, 1)).integers(len(self._views), size=len(self._captions))
        return list(batches), views
