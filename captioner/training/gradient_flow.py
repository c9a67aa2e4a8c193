"""How gradients survive over time: how much reaches the first word of a caption from the words long after it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from captioner.data.batches import Captions
from captioner.model.decoder import Attend, ShowAndTell
from captioner.text.vocabulary import START


def gradient_norms(losses: Sequence[Tensor], first: Tensor) -> Tensor:
    """The norm of each loss's gradient at `first` (rows, ..., size), where no row has a share in another's loss.

    Losses are (rows,), one for each time -> norms (time, rows, ...).
    """
    return torch.stack([torch.autograd.grad(loss.sum(), first, retain_graph=True)[0].norm(dim=-1) for loss in losses])


def gradient_flow(decoder: ShowAndTell | Attend, features: Tensor, words: Tensor) -> list[float]:
    """How much gradient reaches the first word from the loss so many words later: of the next word, the one after, ...

    features (pictures, regions, feature_size), words (pictures, time): of each picture one caption of equal length.
    What is told is the norm of the gradient at the first word's embedding, its mean over the captions, divided by that
    which comes from the very next word; so the first number of the time - 1 is 1. The decoder should be in evaluation
    mode: dropout would let some gradients through and others not.
    """
    read = list(decoder.look_up(words).detach().unsqueeze(1).unbind(dim=2))
    first = read[0].requires_grad_()
    start = decoder.look_up(torch.full_like(words[:, :1], START)).detach()
    state = decoder.step(decoder.cell.project(start), decoder.start(features, rows=1)).state
    losses = []
    for embedded, following in zip(read, words[:, 1:].T, strict=False):
        said = decoder.step(decoder.cell.project(embedded), state)
        state = said.state
        losses.append(F.cross_entropy(decoder.score(said.output.squeeze(1)), following, reduction="none"))
    norms = gradient_norms(losses, first).mean(dim=(1, 2))
    relative: list[float] = (norms / norms[0]).tolist()
    return relative


def longest_captions(captions: Captions, count: int) -> tuple[NDArray[np.int64], Tensor]:
    """The numbers of the `count` pictures with the longest captions, and these, cut to the shortest of them.

    The captions are word ids (pictures, time), one of each picture.
    """
    longest = [max(row, key=len) for row in captions]
    pictures = np.argsort([-len(words) for words in longest], kind="stable")[:count]
    time = len(longest[pictures[-1]])
    return pictures, torch.tensor([longest[picture][:time] for picture in pictures])
