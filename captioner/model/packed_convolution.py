"""Convolutions that will not change any more as oneDNN does them best: weights laid out once, activations on the way.

PyTorch calls oneDNN for convolutions too, but lays the weights out at every call, and an activation is another pass
over all that a convolution made.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from captioner.model.efficientnet_lite import StridingConvolution
from captioner.model.fusion import successions
from captioner.model.packing import fits

_PRECISIONS = (torch.float32, torch.bfloat16)

_ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.Identity: ("none", []),
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}
"""What oneDNN does to the values: its name there, and its numbers."""


def pack_convolutions(network: nn.Module, pixels: Tensor) -> nn.Module:
    """The network with its convolutions packed, each with the activation after it; changed in place.

    `pixels` is anything that the network takes. Elsewhere than on a CPU, or in another precision than float32 and
    bfloat16, everything stays as it is.
    """
    if not fits(pixels, *_PRECISIONS) or not _can_pack():
        return network
    followed = dict(successions(network, pixels, _suits, lambda layer: type(layer) in _ACTIVATIONS))
    for name, layer in list(network.named_modules()):
        if _suits(layer):
            activation: nn.Module = nn.Identity()
            if name in followed:
                activation = network.get_submodule(followed[name])
                network.set_submodule(followed[name], nn.Identity())
            network.set_submodule(name, PackedConvolution(layer, activation))
    return network


class PackedConvolution(nn.Module):
    """A convolution and an activation of `_ACTIVATIONS` in one; asked for anything else, it is the convolution."""

    def __init__(self, convolution: nn.Conv2d, activation: nn.Module) -> None:
        super().__init__()
        self.convolution, self.activation = convolution, activation
        self._blocks: dict[tuple[int, int], Tensor] = {}

    def forward(self, features: Tensor) -> Tensor:
        """Features (pictures, channels, height, width) -> what the two would make of them, up to the last digits."""
        layer = self.convolution
        if torch.is_grad_enabled() or not fits(features, *_PRECISIONS):
            plain: Tensor = self.activation(layer(features))
            return plain
        size = (features.shape[-2], features.shape[-1])
        if size not in self._blocks:
            self._blocks[size] = _reorder(layer, _kernel(layer, size))
        name, numbers = _ACTIVATIONS[type(self.activation)]
        return _convolve(features, self._blocks[size], layer, name, numbers)

    def __getattr__(self, name: str) -> Any:
        """What this has not is asked of the convolution: some networks look at the weights of their layers."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in ("convolution", "activation"):  # not there yet
                raise
            return getattr(self.convolution, name)

    def __getstate__(self) -> dict[str, Any]:
        """Pickled without the blocks, which are laid out anew."""
        return {**self.__dict__, "_blocks": {}}


def _kernel(layer: nn.Conv2d, size: tuple[int, int]) -> Tensor:
    return layer.kernel_for(*size) if isinstance(layer, StridingConvolution) else layer.weight


def _suits(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether it convolves as these two do, and not in a way of its own."""
    known = isinstance(layer, nn.Conv2d) and type(layer) in (nn.Conv2d, StridingConvolution)
    return known and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _reorder(layer: nn.Conv2d, kernel: Tensor) -> Tensor:
    blocks: Tensor = torch.ops.mkldnn._reorder_convolution_weight(
        kernel.detach(), layer.padding, layer.stride, layer.dilation, layer.groups
    )
    return blocks


def _convolve(features: Tensor, blocks: Tensor, layer: nn.Conv2d, activation: str, numbers: list[float]) -> Tensor:
    convolved: Tensor = torch.ops.mkldnn._convolution_pointwise(
        features,
        blocks,
        layer.bias,
        layer.padding,
        layer.stride,
        layer.dilation,
        layer.groups,
        activation,
        numbers,
        "",
    )
    return convolved


@cache
def _can_pack() -> bool:
    """Whether this PyTorch has the two operations, which are its own, and they do what they did when we learnt them."""
    features, kernel = torch.tensor([7.0, -1.0]).view(1, 2, 1, 1), torch.eye(2).view(2, 2, 1, 1)
    settings = (0, 0), (1, 1), (1, 1), 1  # padding, stride, dilation, groups
    try:
        blocks = torch.ops.mkldnn._reorder_convolution_weight(kernel, *settings)
        found = torch.ops.mkldnn._convolution_pointwise(features, blocks, None, *settings, *_ACTIVATIONS[nn.ReLU6], "")
        return torch.equal(found, features.clamp(0.0, 6.0))
    except (AttributeError, RuntimeError, TypeError):
        return False
