"""A CNN's batch norms folded into the convolutions before them: the same features from fewer layers.

In evaluation mode a batch norm multiplies each channel by a number and adds another, which a convolution can do by
itself (Jacob et al. 2018, section 3.2). What comes after the norm inside the same layer stays.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves


def fused(network: nn.Module, pixels: Tensor) -> nn.Module:
    """A copy of a network in evaluation mode, its batch norms folded away wherever that changes nothing.

    `pixels` is anything that the network takes.
    """
    network = copy.deepcopy(network).requires_grad_(False).eval()
    for convolution, norm in successions(network, pixels, _is_convolution, _is_norm):
        before, after = network.get_submodule(convolution), network.get_submodule(norm)
        assert isinstance(before, nn.Conv2d)
        assert isinstance(after, nn.BatchNorm2d)
        network.set_submodule(convolution, fuse_conv_bn_eval(before, after))
        rest = [after.get_submodule(name) for name in ("drop", "act")] if _has_activation(after) else []
        network.set_submodule(norm, nn.Sequential(*rest))
    return network.requires_grad_(False)


class _Uses(TorchFunctionMode):
    """Counts for each tensor how many others are computed from it, by its `id`."""

    def __init__(self) -> None:
        super().__init__()
        self.of: Counter[int] = Counter()
        self._kept: list[Tensor] = []  # a tensor that is gone may leave its `id` to another

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        arguments: tuple[Any, ...] = (),
        named: dict[str, Any] | None = None,
    ) -> Any:
        """What PyTorch calls in this thread instead of each of its functions."""
        result = function(*arguments, **(named or {}))
        if any(isinstance(leaf, Tensor) for leaf in tree_leaves(result)):
            used = [leaf for leaf in tree_leaves((arguments, named)) if isinstance(leaf, Tensor)]
            self.of.update(map(id, used))
            self._kept += used
        return result


@torch.inference_mode()
def successions(
    network: nn.Module, pixels: Tensor, first: Callable[[nn.Module], bool], second: Callable[[nn.Module], bool]
) -> list[tuple[str, str]]:
    """The names of each layer that is a `first` whose result goes into a `second` and nowhere else, and of that.

    Each of the two is called once only. `pixels` is anything that the network takes: what goes where is seen by
    looking on, in this thread alone, while no layer writes over what it is given.
    """
    made, taken, calls = dict[int, str](), dict[str, int](), Counter[str]()
    hooks, kept = [], list[Tensor]()

    def watch(name: str, layer: nn.Module) -> None:
        def hook(_layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls[name] += 1
            kept.extend((inputs[0], output))
            if first(layer):
                made[id(output)] = name
            else:
                taken[name] = id(inputs[0])

        hooks.append(layer.register_forward_hook(hook))

    for name, layer in network.named_modules():
        if first(layer) or second(layer):
            watch(name, layer)
    with _nothing_overwritten(network), _Uses() as uses:
        network(pixels)
    for each in hooks:
        each.remove()
    return [
        (made[tensor], name)
        for name, tensor in taken.items()
        if tensor in made and uses.of[tensor] == calls[name] == calls[made[tensor]] == 1
    ]


@contextmanager
def _nothing_overwritten(network: nn.Module) -> Iterator[None]:
    in_place = [layer for layer in network.modules() if getattr(layer, "inplace", False)]
    for layer in in_place:
        layer.inplace = False  # type: ignore[assignment]
    yield
    for layer in in_place:
        layer.inplace = True  # type: ignore[assignment]


def _is_convolution(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d)


def _is_norm(layer: nn.Module) -> bool:
    return type(layer) is nn.BatchNorm2d or _has_activation(layer)


def _has_activation(layer: nn.Module) -> bool:
    """Whether this is timm's batch norm with what follows it; known by its name, as to import timm takes long."""
    return isinstance(layer, nn.BatchNorm2d) and type(layer).__name__ == "BatchNormAct2d"
