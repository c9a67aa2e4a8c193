"""A CNN's batch norms folded into the convolutions before them: the same features from fewer layers.

In evaluation mode a batch norm multiplies each channel by a number and adds another, which a convolution can do by
itself (Jacob et al. 2018, section 3.2). What comes after the norm inside the same layer stays.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fused(network: nn.Module) -> nn.Module:
    """A copy of a network in evaluation mode, its batch norms folded away wherever that changes nothing.

    A network that cannot be followed symbolically, as what it does depends on its numbers, is copied as it is.
    """
    pairs = _norms_after_convolutions(network)
    network = copy.deepcopy(network)
    for convolution, norm in pairs:
        before, after = network.get_submodule(convolution), network.get_submodule(norm)
        assert isinstance(before, nn.Conv2d)
        assert isinstance(after, nn.BatchNorm2d)
        network.set_submodule(convolution, fuse_conv_bn_eval(before, after))
        rest = [after.get_submodule(name) for name in ("drop", "act")] if _has_activation(after) else []
        network.set_submodule(norm, nn.Sequential(*rest))
    return network.requires_grad_(False).eval()


class _Layers(fx.Tracer):
    """Follows a network as far as its convolutions and norms, and not into them."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return isinstance(module, nn.Conv2d | nn.BatchNorm2d) or super().is_leaf_module(module, qualified_name)


def _norms_after_convolutions(network: nn.Module) -> list[tuple[str, str]]:
    """The names of each convolution whose result goes into a batch norm and nowhere else, and of that norm."""
    try:
        calls = [node for node in _Layers().trace(network).nodes if node.op == "call_module"]
    except (TypeError, ValueError, RuntimeError, AttributeError, fx.proxy.TraceError):
        return []
    layers: dict[Any, nn.Module] = dict(network.named_modules())
    called = [node.target for node in calls]
    pairs = []
    for node in calls:
        before = node.args[0] if node.args else None
        if (
            _is_norm(layers[str(node.target)])
            and isinstance(before, fx.Node)
            and before.op == "call_module"
            and isinstance(layers[before.target], nn.Conv2d)
            and len(before.users) == 1
            and called.count(node.target) == called.count(before.target) == 1
        ):
            pairs.append((str(before.target), str(node.target)))
    return pairs


def _is_norm(layer: nn.Module) -> bool:
    return type(layer) is nn.BatchNorm2d or _has_activation(layer)


def _has_activation(layer: nn.Module) -> bool:
    """Whether this is timm's batch norm with what follows it; known by its name, as to import timm takes long."""
    return isinstance(layer, nn.BatchNorm2d) and type(layer).__name__ == "BatchNormAct2d"
