"""Batch norms folded into convolutions: the same features, and the weights stay what they were."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from captioner.model.checkpoint import load_checkpoint
from captioner.model.encoder import Encoder, build_encoder
from captioner.model.fusion import fused

SIZE = 64


def norms(network: nn.Module) -> int:
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())


def with_statistics(network: nn.Module) -> nn.Module:
    """The network with norms that do something, as after training."""
    generator = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean = torch.rand(layer.num_features, generator=generator) - 0.5
            layer.running_var = torch.rand(layer.num_features, generator=generator) + 0.5
            layer.weight.data = torch.rand(layer.num_features, generator=generator) + 0.5
            layer.bias.data = torch.rand(layer.num_features, generator=generator) - 0.5
    return network.eval()


def some_pixels() -> Tensor:
    return torch.randint(0, 256, (2, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def relative_difference(encoder: Encoder) -> float:
    """Between features before and after fusing."""
    before = encoder(some_pixels())
    encoder.fuse()
    return float((encoder(some_pixels()) - before).norm() / before.norm())


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("tf_efficientnet_lite0", 0),
        ("timm/mobilenetv3_small_050", 0),
        ("torchvision/resnet18", 0),
        ("torchvision/mobilenet_v3_small", 0),
        ("torchvision/densenet121", 62),  # these come before their convolutions, or after a concatenation
    ],
)
def test_a_fused_cnn_gives_the_same_features_without_its_norms(name: str, left: int) -> None:
    encoder = build_encoder(name, weights="random", size=SIZE)
    with_statistics(encoder.network)
    assert norms(fused(encoder.network, torch.zeros(1, 3, SIZE, SIZE))) == left < norms(encoder.network)
    assert relative_difference(encoder) < 1e-4


def test_the_weights_and_their_fingerprint_stay_those_of_the_cnn() -> None:
    encoder = build_encoder("tf_efficientnet_lite0", weights="packaged", size=SIZE)
    fingerprint, before = encoder.fingerprint(), {n: t.clone() for n, t in encoder.network.state_dict().items()}
    assert relative_difference(encoder) < 1e-4
    assert encoder.fingerprint() == fingerprint
    after = encoder.network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


class Shared(nn.Module):
    """A convolution whose result is needed without the norm too, one that is used twice, and a norm used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.both, self.twice, self.once = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(3))

    def forward(self, pixels: Tensor) -> Tensor:
        both = self.both(pixels)
        seen = both + self.norms[0](both)
        seen = self.twice(self.norms[1](self.twice(seen)))
        return self.norms[2](self.norms[2](self.once(seen)))


class Hesitant(nn.Module):
    """What it does depends on the numbers it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, pixels: Tensor) -> Tensor:
        seen = self.convolution(pixels)
        return self.norm(seen) if seen.sum() > 0 else -self.norm(seen)


@pytest.mark.parametrize("network", [Shared(), Hesitant()])
def test_norms_that_cannot_be_folded_away_stay(network: nn.Module) -> None:
    with_statistics(network)
    pixels = torch.rand(2, 3, 4, 4)
    assert norms(fused(network, pixels)) == norms(network)
    with torch.inference_mode():
        assert torch.equal(fused(network, pixels)(pixels), network(pixels))


def test_one_thread_computes_while_others_fold() -> None:
    """The page answers with one model while it loads another."""
    networks = [with_statistics(build_encoder("tf_efficientnet_lite0", weights="random", size=SIZE).network)] * 4
    pixels = torch.rand(1, 3, SIZE, SIZE)

    def features(network: nn.Module) -> Tensor:
        with torch.inference_mode():
            return network(pixels)

    expected = features(networks[0])
    with ThreadPoolExecutor() as pool:
        folding = [pool.submit(fused, network, pixels) for network in networks]
        computed = 0
        while computed < 3 or not all(each.done() for each in folding):
            assert torch.equal(features(networks[0]), expected)
            computed += 1
    assert [norms(each.result()) for each in folding] == [0] * 4


def test_a_loaded_model_for_inference_has_the_weights_it_was_saved_with(model_folder: Path) -> None:
    plain, quick = load_checkpoint(model_folder), load_checkpoint(model_folder).for_inference()
    assert quick.encoder.fingerprint() == plain.encoder.fingerprint()
    weights = plain.decoder.state_dict()
    assert weights.keys() == quick.decoder.state_dict().keys()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in quick.decoder.state_dict().items())
