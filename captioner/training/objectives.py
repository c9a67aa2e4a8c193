"""What training makes smaller: the cross-entropy of the reference captions, or the self-critical loss of drawn ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from captioner.data.batches import Captions, Words
from captioner.model.decoder import Decoder, word_log_probabilities
from captioner.text.vocabulary import END, PADDING, START
from captioner.training.noise import Noise


class Loss(NamedTuple):
    """The loss of some pictures."""

    total: Tensor
    """Over all words: of target words their cross-entropy in nats, of drawn ones that times what they are better than
    others by; a scalar that can be differentiated."""
    words: int
    """How many target words, or drawn ones, there are, end tokens among them."""
    reward: float = 0.0
    """The sum over the pictures of the mean reward of their drawn captions."""


def teacher_forcing(decoder: Decoder, features: Tensor, inputs: Tensor) -> Tensor:
    """What the decoder says after each given word: `step` in a loop.

    features (pictures, regions, feature_size), inputs (pictures, rows, time) word ids
    -> outputs (pictures, rows, time, output_size), for `decoder.score`, after dropout.
    """
    embedded = decoder.embed(inputs)
    state = decoder.start(features, rows=inputs.shape[1])
    outputs = []
    for time in range(inputs.shape[2]):
        output, state, *_ = decoder.step(embedded[:, :, time], state)
        outputs.append(output)
    dropped: Tensor = decoder.dropout(torch.stack(outputs, dim=2))
    return dropped


def cross_entropy(
    decoder: Decoder, features: Tensor, words: Words, *, label_smoothing: float, own_words: float, noise: Noise
) -> Loss:
    """Cross-entropy of the target words, each given the reference words before it.

    A share `own_words` of the words given are the model's own guesses instead (scheduled sampling, Bengio et
    al. 2015), all taken from one pass under teacher forcing so that no step waits for another (Mihaylova and
    Martins 2019).
    """
    inputs = words.inputs
    if own_words > 0:
        inputs = _mix_in_own_words(decoder, features, inputs, own_words, noise)
    real = words.targets != PADDING
    logits = decoder.score(teacher_forcing(decoder, features, inputs)[real])
    targets = words.targets[real]
    total = F.cross_entropy(logits.float(), targets, label_smoothing=label_smoothing, reduction="sum")
    return Loss(total, len(targets))


class Drawn(NamedTuple):
    """Captions that the decoder drew; all tensors are (pictures, rows, time)."""

    words: Tensor
    """Ids, the end token last, then PADDING; a caption that did not end in time has no end token."""
    log_probabilities: Tensor
    """Of each word, where it was drawn; 0 for padding. They can be differentiated."""


def draw_captions(decoder: Decoder, features: Tensor, *, samples: int, max_length: int, noise: Noise) -> Drawn:
    """For each picture so many captions of at most `max_length` words, drawn from what the decoder says itself.

    features (pictures, regions, feature_size). What is drawn is what is differentiated: there is no second pass, and
    dropout, if there is any, falls on both alike. As in a search, tokens that are no words have no chance.
    """
    words = torch.full((len(features), samples), START, device=features.device)
    over = torch.zeros_like(words, dtype=torch.bool)
    state = decoder.start(features, rows=samples)
    drawn, outputs = [], []
    for _time in range(max_length + 1):  # the end token is not a word of the caption
        output, state, *_ = decoder.step(decoder.embed(words), state)
        outputs.append(decoder.dropout(output))
        with torch.no_grad():
            chances = word_log_probabilities(decoder, outputs[-1]).exp()
            words = _draw(chances, noise.uniform(words.shape, words.device))
        words = words.masked_fill(over, PADDING)
        drawn.append(words)
        over = over | (words == END)
        if bool(over.all()):
            break
    chosen = torch.stack(drawn, dim=-1)
    real = chosen != PADDING
    distributions = word_log_probabilities(decoder, torch.stack(outputs, dim=2)[real])
    said = distributions.gather(-1, chosen[real].unsqueeze(-1)).squeeze(-1)
    return Drawn(chosen, said.new_zeros(chosen.shape).masked_scatter(real, said))


def self_critical(
    decoder: Decoder,
    features: Tensor,
    rewards: Callable[[Captions], NDArray[np.float64]],
    *,
    samples: int,
    max_length: int,
    noise: Noise,
) -> Loss:
    """The loss whose gradient makes drawn captions likelier that are better than the picture's others (REINFORCE).

    Rennie et al. 2017, arXiv:1612.00563, equation 7, with the mean reward of the picture's other captions as the
    baseline (Luo 2020, arXiv:2003.09971). `rewards` judges captions, word ids for each picture -> (pictures, samples).
    """
    drawn = draw_captions(decoder, features, samples=samples, max_length=max_length, noise=noise)
    captions = [[[word for word in ids if word != PADDING] for ids in rows] for rows in drawn.words.tolist()]
    reward = torch.from_numpy(rewards(captions)).to(features)
    others = (reward.sum(dim=1, keepdim=True) - reward) / (samples - 1)
    total = -((reward - others).unsqueeze(-1) * drawn.log_probabilities).sum()
    return Loss(total, int((drawn.words != PADDING).sum()), float(reward.mean(dim=1).sum()))


def _draw(chances: Tensor, luck: Tensor) -> Tensor:
    """Words (...): the first whose cumulative probability, of chances (..., vocabulary), passes a number of `luck`."""
    reached = chances.cumsum(dim=-1)
    words = torch.searchsorted(reached, luck.unsqueeze(-1) * reached[..., -1:], right=True).squeeze(-1)
    return words.clamp(max=chances.shape[-1] - 1)


@torch.no_grad()
def _mix_in_own_words(decoder: Decoder, features: Tensor, inputs: Tensor, share: float, noise: Noise) -> Tensor:
    chances = word_log_probabilities(decoder, teacher_forcing(decoder, features, inputs)).exp()
    guesses = _draw(chances, noise.uniform(inputs.shape, inputs.device))
    own = inputs.clone()
    own[:, :, 1:] = guesses[:, :, :-1]
    chosen = noise.uniform(inputs.shape, inputs.device) < share
    return torch.where(chosen & (inputs != START) & (inputs != PADDING), own, inputs)
