"""What training makes smaller: the teacher-forced cross-entropy of the reference captions."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from captioner.data.batches import Words
from captioner.model.decoder import Decoder
from captioner.text.vocabulary import NEVER_SAID, PADDING, START
from captioner.training.noise import Noise


class Loss(NamedTuple):
    """The loss of some pictures."""

    total: Tensor
    """Over all target words, in nats; a scalar that can be differentiated."""
    words: int
    """How many target words there are, end tokens among them."""


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


@torch.no_grad()
def _mix_in_own_words(decoder: Decoder, features: Tensor, inputs: Tensor, share: float, noise: Noise) -> Tensor:
    logits = decoder.score(teacher_forcing(decoder, features, inputs))
    logits[..., list(NEVER_SAID)] = -torch.inf
    # The first word whose cumulative probability passes a random number.
    reached = logits.float().softmax(dim=-1).cumsum(dim=-1)
    drawn = noise.uniform(inputs.shape, inputs.device).unsqueeze(-1) * reached[..., -1:]
    guesses = torch.searchsorted(reached, drawn, right=True).squeeze(-1).clamp(max=logits.shape[-1] - 1)
    own = inputs.clone()
    own[:, :, 1:] = guesses[:, :, :-1]
    chosen = noise.uniform(inputs.shape, inputs.device) < share
    return torch.where(chosen & (inputs != START) & (inputs != PADDING), own, inputs)
