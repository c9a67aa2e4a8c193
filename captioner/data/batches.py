"""Captioned pictures -> batches: padded, with captions of similar length together.

A batch holds whole pictures with all their captions, so a picture's features are read and projected once for
all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from captioner.text.vocabulary import END, PADDING, START

Captions = Sequence[Sequence[Sequence[int]]]
"""For every picture its captions, each a list of word ids without start and end."""

_BATCHES_PER_BUCKET = 20


class Words(NamedTuple):
    """The captions of some pictures; both tensors are int64 (pictures, rows, time), filled with PADDING."""

    inputs: Tensor
    """Start token, then the words."""
    targets: Tensor
    """The words, then the end token: what should follow each input."""


def pad(captions: Captions) -> Words:
    """Captions as tensors; a picture with fewer captions than another gets rows of padding."""
    rows = max(len(rows) for rows in captions)
    time = 1 + max(len(words) for rows in captions for words in rows)
    inputs = np.full((len(captions), rows, time), PADDING, dtype=np.int64)
    targets = np.full((len(captions), rows, time), PADDING, dtype=np.int64)
    for picture, picture_captions in enumerate(captions):
        for row, words in enumerate(picture_captions):
            inputs[picture, row, : len(words) + 1] = [START, *words]
            targets[picture, row, : len(words) + 1] = [*words, END]
    return Words(torch.from_numpy(inputs), torch.from_numpy(targets))


def epoch_batches(captions: Captions, *, pictures_per_batch: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """Each picture's number once, in batches; the order depends on `seed` and `epoch` alone.

    Pictures are shuffled, then sorted by their longest caption within stretches of twenty batches, so that
    little of a batch is padding; last the batches are shuffled.
    """
    random = np.random.default_rng((seed, epoch))
    longest = np.array([max(len(words) for words in rows) for rows in captions])
    order = random.permutation(len(captions))
    stretch = pictures_per_batch * _BATCHES_PER_BUCKET
    batches = []
    for first in range(0, len(order), stretch):
        pictures = order[first : first + stretch]
        pictures = pictures[np.argsort(longest[pictures], kind="stable")]
        batches += [pictures[i : i + pictures_per_batch] for i in range(0, len(pictures), pictures_per_batch)]
    for index in random.permutation(len(batches)):
        yield batches[index]
