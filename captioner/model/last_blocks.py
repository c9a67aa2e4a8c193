"""The last blocks of a CNN, which may learn while the blocks before them stay as they are.

What the first blocks make of a picture never changes then, and is computed once like any other features; only the
last ones are part of a training step. Together they are the encoder: `last(first(pixels))` is `encoder(pixels)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from captioner.errors import ConfigError
from captioner.model.encoder import Encoder, FeatureMap


class SplitEncoder(NamedTuple):
    """An encoder in two parts, which share its weights."""

    first: Encoder
    last: nn.Module
    """Features (pictures, regions, channels) of the first part -> features (pictures, regions, feature_size)."""


class LastBlocks(nn.Module):
    """The end of a CNN; never in training mode, so batch statistics stay as they were learnt."""

    def __init__(self, layers: list[nn.Module], *, height: int, width: int) -> None:
        """`height` and `width` are those of the feature map that the first of the layers takes."""
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self._grid = height, width
        self.eval()

    def forward(self, features: Tensor) -> Tensor:
        """Features (pictures, height * width, channels) -> features (pictures, regions, feature_size)."""
        pictures, _, channels = features.shape
        feature_map: Tensor = self.layers(features.transpose(1, 2).reshape(pictures, channels, *self._grid))
        return feature_map.flatten(2).transpose(1, 2)

    def train(self, mode: bool = True) -> LastBlocks:
        """Stay in evaluation mode whatever is asked."""
        return super().train(False)


def split_encoder(encoder: Encoder, blocks: int) -> SplitEncoder:
    """The encoder without its last `blocks`, and these; a block is a residual block, or a convolution with its norm.

    Raises ConfigError when it has not more blocks than that, or is not a chain of them.
    """
    if blocks == 0:
        return SplitEncoder(encoder, nn.Identity())
    found = _blocks(encoder)
    if blocks >= len(found):
        raise ConfigError(
            f"training.tuned_blocks must be from 0 to {len(found) - 1} for this CNN of {len(found)} blocks, as the "
            f"first stays as it is, but {blocks} came."
        )
    layers = [[layer for block in part for layer in block] for part in (found[:-blocks], found[-blocks:])]
    first = Encoder(nn.Sequential(*layers[0]), encoder.preprocessing)
    return SplitEncoder(first, LastBlocks(layers[1], height=first.grid_height, width=first.grid_width))


def _blocks(encoder: Encoder) -> list[list[nn.Module]]:
    """The layers of the CNN; each block begins with one that holds a convolution."""
    blocks: list[list[nn.Module]] = []
    for layer in _chain(encoder):
        if not blocks or any(isinstance(part, nn.Conv2d) for part in layer.modules()):
            blocks.append([])
        blocks[-1].append(layer)
    return blocks


@torch.inference_mode()
def _chain(encoder: Encoder) -> list[nn.Module]:
    """The CNN's layers in the order in which each takes what the one before it gave: seen by looking on."""
    calls: list[tuple[nn.Module, tuple[Tensor, ...], Tensor]] = []
    network = encoder.network.classifier if isinstance(encoder.network, FeatureMap) else encoder.network
    layers = [layer for child in network.children() for layer in _unpacked(child)]
    hooks = [layer.register_forward_hook(lambda *call: calls.append(call)) for layer in layers]
    size = encoder.preprocessing.size
    given = torch.zeros(1, 3, size, size, device=encoder.mean.device)
    try:
        result = encoder.network(given)
    finally:
        for hook in hooks:
            hook.remove()
    for _, inputs, output in calls:
        if len(inputs) != 1 or inputs[0] is not given:
            break
        given = output
    if given is not result:
        raise ConfigError(
            "training.tuned_blocks must be 0 for this CNN, whose layers do not simply follow one another; choose "
            "for example tf_efficientnet_lite2 to train its last blocks too."
        )
    return [layer for layer, *_ in calls]


def _unpacked(module: nn.Module) -> Iterator[nn.Module]:
    """The module, or what is in it when it does nothing but call one after the other."""
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        for child in module:
            yield from _unpacked(child)
    else:
        yield module
