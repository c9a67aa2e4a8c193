"""What training makes smaller: the teacher-forced cross-entropy of the reference captions."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from captioner.data.batches import Words
from captioner.model.decoder import Decoder
from captioner.text.vocabulary import NEVER_SAID, PADDING, START


class Loss(NamedTuple):
    """The loss of one batch."""

    mean: Tensor
    """Per target word, in nats; a scalar that can be differentiated."""
    words: int
    """How many target words (end tokens among them) it is the mean of."""


def teacher_forcing(decoder: Decoder, features: Tensor, inputs: Tensor) -> Tensor:
    """What the decoder says after each given word: `step` in a loop.

    features (pictures, regions, feature_size), inputs (pictures, rows, time) word ids
    -> outputs (pictures, rows, time, output_size), for `decoder.score`.
    """
    embedded = decoder.embed(inputs)
    state = decoder.start(features, rows=inputs.shape[1])
    outputs = []
    for time in range(inputs.shape[2]):
        output, state, *_ = decoder.step(embedded[:, :, time], state)
        outputs.append(output)
    return torch.stack(outputs, dim=2)


def cross_entropy(
    decoder: Decoder, features: Tensor, words: Words, *, label_smoothing: float, own_words: float
) -> Loss:
    """Mean cross-entropy of the target words, each given the reference words before it.

    A share `own_words` of the words given are the model's own guesses instead (scheduled sampling, Bengio et
    al. 2015), all taken from one pass under teacher forcing so that no step waits for another (Mihaylova and
    Martins 2019).
    """
    inputs = words.inputs
    if own_words > 0:
        inputs = _mix_in_own_words(decoder, features, inputs, own_words)
    real = words.targets != PADDING
    logits = decoder.score(teacher_forcing(decoder, features, inputs)[real])
    targets = words.targets[real]
    return Loss(F.cross_entropy(logits.float(), targets, label_smoothing=label_smoothing), len(targets))


@torch.no_grad()
def _mix_in_own_words(decoder: Decoder, features: Tensor, inputs: Tensor, share: float) -> Tensor:
    logits = decoder.score(teacher_forcing(decoder, features, inputs))
    logits[..., list(NEVER_SAID)] = -torch.inf
    # A network that has diverged gives no numbers; the loss will tell.
    guesses = logits.float().softmax(dim=-1).nan_to_num(1.0).flatten(0, -2).multinomial(1).view(inputs.shape)
    own = inputs.clone()
    own[:, :, 1:] = guesses[:, :, :-1]
    replaced = (torch.rand(inputs.shape, device=inputs.device) < share) & (inputs != START) & (inputs != PADDING)
    return torch.where(replaced, own, inputs)
