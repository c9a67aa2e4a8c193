"""Packed convolutions: the same features, an activation in the same pass, and nothing where it cannot be done."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from captioner.model.efficientnet_lite import StridingConvolution
from captioner.model.encoder import build_encoder
from captioner.model.packed_convolution import PackedConvolution, pack_convolutions
from tests.processor import PRECISIONS, needs_bf16, needs_onednn


class Layers(nn.Module):
    """Convolutions with what may come after them; `shared` is an activation that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.clipped = nn.ReLU6(inplace=True)
        self.depthwise = StridingConvolution(8, 8, 5, stride=2, padding=2, groups=8)
        self.rectified = nn.ReLU()
        self.dilated = nn.Conv2d(8, 8, 3, dilation=2, padding=2, bias=False)
        self.bent = nn.GELU()
        self.reflected = nn.Conv2d(8, 4, 3, padding=1, padding_mode="reflect")
        self.also = nn.Conv2d(4, 4, 1)
        self.shared = nn.ReLU()

    def forward(self, pixels: Tensor) -> Tensor:
        seen = self.bent(self.dilated(self.rectified(self.depthwise(self.clipped(self.first(10 * pixels))))))
        return self.shared(self.also(self.shared(self.reflected(seen))))


def some_pixels(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)).contiguous(memory_format=torch.channels_last)


def packed_layers() -> Layers:
    packed = pack_convolutions(Layers().requires_grad_(False), some_pixels(1, 3, 10, 10))
    assert isinstance(packed, Layers)
    return packed


@needs_onednn
def test_which_layers_are_packed_and_with_what() -> None:
    after = {
        name: type(layer.activation) for name, layer in packed_layers().named_children() if hasattr(layer, "activation")
    }
    assert after == {"first": nn.ReLU6, "depthwise": nn.ReLU, "dilated": nn.Identity, "also": nn.Identity}
    gone = [name for name, layer in packed_layers().named_children() if type(layer) is nn.Identity]
    assert gone == ["clipped", "rectified"]


@pytest.mark.parametrize("size", [(10, 10), (11, 11), (9, 12)])
def test_features_are_the_same_at_any_size(size: tuple[int, int]) -> None:
    plain, packed, pixels = Layers(), packed_layers(), some_pixels(2, 3, *size)
    with torch.inference_mode():
        torch.testing.assert_close(packed(pixels), plain(pixels))


@needs_bf16
def test_in_bfloat16_features_are_nearly_the_same() -> None:
    plain = Layers()
    packed = pack_convolutions(Layers().requires_grad_(False).bfloat16(), some_pixels(1, 3, 10, 10).bfloat16())
    assert isinstance(packed.first, PackedConvolution)
    pixels = some_pixels(2, 3, 10, 10)
    with torch.inference_mode():
        found, expected = packed(pixels.bfloat16()), plain(pixels)
    assert found.dtype == torch.bfloat16
    assert 0 < (found.float() - expected).norm() / expected.norm() < 0.02


@needs_onednn
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_features_of_a_picture_do_not_depend_on_the_others(precision: torch.dtype) -> None:
    encoder = build_encoder("tf_efficientnet_lite0", weights="packaged", size=64)
    encoder.fuse(precision)
    pixels = torch.randint(0, 256, (200, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        together = encoder(pixels)
        for count in (1, 3, 50):
            assert torch.equal(encoder(pixels[:count]), together[:count])


@pytest.mark.parametrize("again", [lambda each: each, copy.deepcopy])
def test_a_network_may_look_at_the_layer_itself(again: Callable[[Layers], Layers]) -> None:
    first = again(packed_layers()).first
    assert (first.kernel_size, first.weight.shape) == ((3, 3), (8, 3, 3, 3))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = first.nonsense


@needs_onednn
@pytest.mark.parametrize("again", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_it_can_be_copied_and_sent_to_another_process(again: Callable[[Layers], Layers]) -> None:
    packed, pixels = packed_layers(), some_pixels(2, 3, 10, 10)
    with torch.inference_mode():
        expected = packed(pixels)
        assert torch.equal(again(packed)(pixels), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_compute_as_before(dtype: torch.dtype) -> None:
    plain, packed, pixels = Layers().to(dtype), packed_layers().to(dtype), some_pixels(2, 3, 10, 10).to(dtype)
    with torch.inference_mode():
        assert torch.equal(packed(pixels), plain(pixels))


def test_gradients_still_pass_through() -> None:
    pixels = [some_pixels(2, 3, 10, 10).requires_grad_() for _ in range(2)]
    for layers, given in zip((Layers(), packed_layers()), pixels, strict=True):
        layers(given).sum().backward()
    torch.testing.assert_close(pixels[1].grad, pixels[0].grad)


def test_elsewhere_nothing_is_packed() -> None:
    pixels = some_pixels(1, 3, 10, 10).double()
    network = pack_convolutions(Layers().double(), pixels)
    assert not any(isinstance(layer, PackedConvolution) for layer in network.modules())
