"""One model from several that began alike: the mean of their weights.

Models that learnt on from the same one, with other seeds or settings, lie in one valley of the loss, and their mean
often captions better than any of them at no cost (Wortsman et al. 2022, arXiv:2203.05482: a uniform soup). Of models
that began apart the mean is worth nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from captioner.errors import ConfigError
from captioner.model.captioning import CaptioningModel


def average_models(models: Sequence[CaptioningModel]) -> CaptioningModel:
    """The model whose weights are the mean of those of at least two; all else is as in the first of them.

    Raises ConfigError when they have other words, encoders or decoders, so that their weights mean other things, or
    were made ready for captioning.
    """
    first = models[0]
    if len(models) < 2:
        raise ConfigError(f"At least two models are needed for their mean, but {len(models)} came.")
    for number, model in enumerate(models[1:], start=2):
        for what, wanted, has in zip(("words", "encoder", "decoder"), _shape(first), _shape(model), strict=True):
            if wanted != has:
                raise ConfigError(
                    f"Models must have the same {what} for their weights to have a mean, but those of number 1 and "
                    f"number {number} differ; average models that began from the same one."
                )
    if any(model.decoder.folded for model in models):
        raise ConfigError(
            "Models must be as they were stored for their weights to have a mean, but one was made ready for "
            "captioning; begin from `load_checkpoint(folder)`."
        )
    encoder, decoder = copy.deepcopy(first.encoder), copy.deepcopy(first.decoder)
    _take_mean(decoder, [model.decoder for model in models])
    config = first.config
    if len({model.encoder.fingerprint() for model in models}) > 1:  # the mean of equals would differ in its last digits
        _take_mean(encoder.network, [model.encoder.network for model in models])
        config = replace(config, encoder=replace(config.encoder, weights="tuned"))
    return CaptioningModel(encoder, decoder, first.vocabulary, config, precision=first.precision).eval()


def _shape(model: CaptioningModel) -> tuple[object, ...]:
    """What must be equal: the words, and what shapes the weights of encoder and decoder."""
    config = model.config
    return (
        model.vocabulary.fingerprint(),
        (config.encoder.name, model.encoder.preprocessing),
        replace(config.decoder, dropout=0.0),
    )


def _take_mean(into: nn.Module, modules: Sequence[nn.Module]) -> None:
    """Set the weights of a module to the mean of others' of its kind; what is no number with a fraction stays."""
    states = [module.state_dict() for module in modules]
    with torch.no_grad():
        for name, tensor in into.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.stack([state[name] for state in states]).mean(dim=0))
