"""Weights laid out as oneDNN reads them: on a CPU a product with few rows takes half of the time.

In bfloat16, where the processor knows it, it takes half of that again: numbers are rounded to 8 bits and their size,
multiplied, summed up in 32 bits, and the sum is rounded likewise.

PyTorch computes products in 32 bits with MKL, which reads a matrix as it lies; oneDNN, which comes with PyTorch too,
reads one in blocks, and those are best laid out once. What is packed stays what it was for everything but products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def pack(module: nn.Module, precision: torch.dtype = torch.float32) -> None:
    """Pack the matrices of a module on the CPU that will not be trained any more; elsewhere do nothing.

    `precision` is that of the products, float32 or bfloat16.
    """
    for layer in module.modules():
        for name, weight in layer.named_parameters(recurse=False):
            blocks = packed(weight, precision) if weight.ndim == 2 else weight
            if blocks is not weight:
                setattr(layer, name, blocks)


def packed(weight: Tensor, precision: torch.dtype = torch.float32) -> Tensor:
    """A matrix that will not change any more, packed if it can be."""
    return PackedWeight(weight, precision=precision) if fits(weight, torch.float32) and _can_pack() else weight


class PackedWeight(nn.Parameter):
    """A matrix and, for `torch.nn.functional.linear` without gradients, the same once more in blocks."""

    blocks: Tensor | None
    """None where the matrix is not on the CPU, or not in 32 bits."""
    precision: torch.dtype
    """Of the products."""

    def __new__(cls, data: Tensor, requires_grad: bool = False, precision: torch.dtype = torch.float32) -> Self:
        """`data` (outputs, inputs)."""
        packed = super().__new__(cls, data.detach(), requires_grad)
        packed.precision = precision
        packable = fits(data, torch.float32)
        packed.blocks = torch.ops.mkldnn._reorder_linear_weight(data.detach().to(precision)) if packable else None
        return packed

    def __deepcopy__(self, copied: dict[int, Any]) -> PackedWeight:
        """As `Parameter` does it, which knows no precision."""
        copied[id(self)] = PackedWeight(self.detach().as_subclass(Tensor).clone(), self.requires_grad, self.precision)
        return cast(PackedWeight, copied[id(self)])

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Pickled without the blocks, which are laid out anew."""
        return PackedWeight, (self.detach().as_subclass(Tensor), self.requires_grad, self.precision)

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
            if function is F.linear and len(arguments) >= 2 and not named and _suits(*arguments[:2]):
                inputs, weight, bias = (*arguments, None)[:3]
                if weight.precision == torch.float32:
                    return torch.ops.mkldnn._linear_pointwise(inputs, weight.blocks, bias, "none", [], "")
                rounded = inputs.to(weight.precision)
                product = torch.ops.mkldnn._linear_pointwise(rounded, weight.blocks, None, "none", [], "").float()
                return product if bias is None else product.add_(bias)
            return function(*arguments, **(named or {}))


@cache
def _can_pack() -> bool:
    """Whether this PyTorch has the two operations, which are its own, and they do what they did when we learnt them."""
    weight = torch.eye(2)
    try:
        blocks = torch.ops.mkldnn._reorder_linear_weight(weight)
        return torch.equal(torch.ops.mkldnn._linear_pointwise(weight, blocks, None, "none", [], ""), weight)
    except (AttributeError, RuntimeError, TypeError):
        return False


def fits(tensor: Tensor, *precisions: torch.dtype) -> bool:
    """Whether oneDNN can compute with it: on the CPU, in one of these precisions."""
    return tensor.device.type == "cpu" and tensor.dtype in precisions


def _suits(inputs: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN can do this product: packed weights, and inputs in 32 bits, where no gradients are wanted."""
    return (
        isinstance(weight, PackedWeight)
        and weight.blocks is not None
        and fits(inputs, torch.float32)
        and inputs.numel() > 0
        and not torch.is_grad_enabled()
    )
