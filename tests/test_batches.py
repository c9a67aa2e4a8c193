"""Batches: every picture once, little padding, the same order for the same seed."""

from __future__ import annotations

import numpy as np

from captioner.data.batches import epoch_batches, pad
from captioner.text.vocabulary import END, PADDING, START


def test_padding_by_hand() -> None:
    words = pad([[[7, 8], [9]], [[5]]])
    assert words.inputs.tolist() == [[[START, 7, 8], [START, 9, PADDING]], [[START, 5, PADDING], [PADDING] * 3]]
    assert words.targets.tolist() == [[[7, 8, END], [9, END, PADDING]], [[5, END, PADDING], [PADDING] * 3]]


def some_captions(pictures: int) -> list[list[list[int]]]:
    lengths = np.random.default_rng(0).integers(1, 30, size=(pictures, 5))
    return [[[4] * int(length) for length in row] for row in lengths]


def test_an_epoch_shows_every_picture_once() -> None:
    batches = list(epoch_batches(some_captions(203), pictures_per_batch=10, seed=1, epoch=2))
    assert sorted(np.concatenate(batches).tolist()) == list(range(203))
    assert all(1 <= len(batch) <= 10 for batch in batches)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    captions = some_captions(60)

    def order(seed: int, epoch: int) -> list[list[int]]:
        return [batch.tolist() for batch in epoch_batches(captions, pictures_per_batch=7, seed=seed, epoch=epoch)]

    assert order(1, 1) == order(1, 1)
    assert order(1, 1) != order(1, 2)
    assert order(1, 1) != order(2, 1)


def test_captions_of_similar_length_come_together() -> None:
    captions = some_captions(1000)

    def padded(batches: list[np.ndarray]) -> int:
        return sum(pad([captions[picture] for picture in batch]).inputs.numel() for batch in batches)

    bucketed = list(epoch_batches(captions, pictures_per_batch=50, seed=0, epoch=0))
    anyhow = np.split(np.random.default_rng(0).permutation(1000), 20)
    assert padded(bucketed) < 0.95 * padded(anyhow)
