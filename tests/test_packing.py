"""Packed weights: the same products, and for everything else the weights they were."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captioner.model.packing import PackedWeight, pack
from tests.processor import PRECISIONS, needs_bf16, needs_onednn


def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(64, 48)


def packed_layer(precision: torch.dtype = torch.float32) -> nn.Linear:
    packed = layer()
    pack(packed, precision)
    return packed


@needs_onednn
@pytest.mark.parametrize("shape", [(1, 64), (2, 5, 64), (3, 4, 5, 64), (64,), (0, 64)])
@pytest.mark.parametrize("biased", [True, False])
def test_a_product_is_the_same(shape: tuple[int, ...], biased: bool) -> None:
    plain, packed = layer(), packed_layer()
    inputs = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    bias = plain.bias if biased else None
    with torch.inference_mode():
        found = F.linear(inputs, packed.weight, bias)
        assert type(found) is Tensor
        torch.testing.assert_close(found, F.linear(inputs, plain.weight, bias))


@needs_onednn
def test_arguments_by_name_are_heard() -> None:
    plain, packed, inputs = layer(), packed_layer(), torch.rand(2, 64)
    with torch.inference_mode():
        found = F.linear(inputs, packed.weight, bias=packed.bias)
        torch.testing.assert_close(found, F.linear(inputs, plain.weight, bias=plain.bias))


@needs_bf16
@pytest.mark.parametrize("biased", [True, False])
def test_in_bfloat16_the_product_is_that_of_rounded_numbers_summed_up_in_full(biased: bool) -> None:
    plain, packed = layer(), packed_layer(torch.bfloat16)
    inputs = torch.rand((2, 5, 64), generator=torch.Generator().manual_seed(1))
    bias = plain.bias if biased else None
    rounded = [each.bfloat16().double() for each in (inputs, plain.weight)]
    expected = F.linear(*rounded).bfloat16().float() + (plain.bias if biased else 0.0)
    with torch.inference_mode():
        found = F.linear(inputs, packed.weight, bias)
        torch.testing.assert_close(found, expected, rtol=2**-8, atol=1e-6)  # where the sum lies between two numbers
        assert not torch.equal(found, F.linear(inputs, plain.weight, bias))


@needs_onednn
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("again", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_packed_layer_can_be_copied_and_sent_to_another_process(
    again: Callable[[nn.Linear], nn.Linear], precision: torch.dtype
) -> None:
    packed, inputs = packed_layer(precision), torch.rand(2, 64)
    sent = again(packed)
    assert isinstance(sent.weight, PackedWeight)
    assert not sent.weight.requires_grad
    with torch.inference_mode():
        assert torch.equal(sent(inputs), packed(inputs))


@needs_onednn
def test_with_gradients_the_product_is_that_of_the_weights_themselves() -> None:
    packed, inputs = packed_layer(), torch.rand(2, 64)
    packed.weight.requires_grad_()
    packed(inputs).sum().backward()
    assert packed.weight.grad is not None
    torch.testing.assert_close(packed.weight.grad[0].as_subclass(Tensor), inputs.sum(dim=0))


@needs_onednn
def test_a_product_reads_the_blocks() -> None:
    packed = packed_layer()
    assert isinstance(packed.weight, PackedWeight)
    packed.weight.blocks = torch.ops.mkldnn._reorder_linear_weight(torch.zeros(48, 64))
    with torch.inference_mode():
        assert torch.equal(F.linear(torch.rand(2, 64), packed.weight), torch.zeros(2, 48))


@needs_onednn
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("size", [(64, 48), (512, 512), (512, 2048), (1024, 512), (512, 3490)])
def test_the_product_of_a_row_does_not_depend_on_the_other_rows(size: tuple[int, int], precision: torch.dtype) -> None:
    """Else a caption could depend, in its last digits, on which pictures it was searched with."""
    packed, inputs = nn.Linear(*size), torch.rand(80, size[0], generator=torch.Generator().manual_seed(1))
    pack(packed, precision)
    with torch.inference_mode():
        together = packed(inputs)
        for rows in (1, 5, 40):
            assert torch.equal(packed(inputs[:rows]), together[:rows])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_compute_as_before(dtype: torch.dtype) -> None:
    plain, packed, inputs = layer().to(dtype), packed_layer().to(dtype), torch.rand(2, 64, dtype=dtype)
    assert torch.equal(F.linear(inputs, packed.weight, packed.bias), F.linear(inputs, plain.weight, plain.bias))


def test_what_is_packed_still_passes_gradients_on() -> None:
    packed, inputs = packed_layer(), torch.rand(2, 64, requires_grad=True)
    packed(inputs).sum().backward()
    torch.testing.assert_close(inputs.grad, layer().weight.sum(dim=0).expand(2, -1))


@pytest.mark.parametrize("again", [lambda each: each, copy.deepcopy])
def test_the_state_of_a_packed_layer_is_plain_tensors(again: Callable[[nn.Linear], nn.Linear]) -> None:
    before, after = layer().state_dict(), again(packed_layer()).state_dict()
    assert all(type(tensor) is Tensor and torch.equal(tensor, before[name]) for name, tensor in after.items())
    assert before.keys() == after.keys()
