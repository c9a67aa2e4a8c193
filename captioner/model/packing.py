"""Weights laid out as oneDNN reads them: on a CPU a product with few rows takes half of the time, at full precision.

PyTorch computes products in 32 bits with MKL, which reads a matrix as it lies; oneDNN, which comes with PyTorch too,
reads one in blocks, and those are best laid out once. What is packed stays what it was for everything but products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def pack(module: nn.Module) -> None:
    """Pack the matrices of a module on the CPU that will not be trained any more; elsewhere do nothing."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")):  # type: ignore[no-untyped-call]
        return
    for layer in module.modules():
        for name, weight in layer.named_parameters(recurse=False):
            if weight.ndim == 2 and weight.device.type == "cpu" and weight.dtype == torch.float32:
                setattr(layer, name, PackedWeight(weight))


class PackedWeight(nn.Parameter):
    """A matrix and, for `torch.nn.functional.linear`, the same once more in blocks."""

    blocks: Tensor

    def __new__(cls, data: Tensor, requires_grad: bool = False) -> Self:
        """`data` (outputs, inputs) on the CPU in 32 bits; the arguments are those of `Parameter`, as copying needs."""
        packed = super().__new__(cls, data.detach(), requires_grad)
        packed.blocks = torch.ops.mkldnn._reorder_linear_weight(data.detach())
        return packed

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Sequence[type],
        arguments: tuple[Any, ...] = (),
        named: dict[str, Any] | None = None,
    ) -> Any:
        """What PyTorch calls instead of any of its functions that is given such a weight."""
        with torch._C.DisableTorchFunctionSubclass():
            if function is F.linear and len(arguments) >= 2 and _suits(*arguments[:2]):
                inputs, weight, bias = (*arguments, None)[:3]
                return torch.ops.mkldnn._linear_pointwise(inputs, weight.blocks, bias, "none", [], "")
            return function(*arguments, **(named or {}))


def _suits(inputs: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN can do this product: on the CPU, in 32 bits, with nothing that asks for gradients."""
    return (
        isinstance(weight, PackedWeight)
        and inputs.device == weight.device
        and weight.device.type == "cpu"
        and inputs.dtype == torch.float32
        and inputs.numel() > 0
        and not inputs.requires_grad
    )
