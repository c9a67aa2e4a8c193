"""An encoder in two parts: together they are the same, of networks of any kind; else a sentence."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from captioner.data.preprocessing import Preprocessing
from captioner.errors import ConfigError
from captioner.model.encoder import Encoder, build_encoder
from captioner.model.last_blocks import split_encoder
from tests.conftest import tiny_model


def pixels(size: int = 64) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, size, size), dtype=np.uint8))


@pytest.fixture(scope="module")
def lite() -> Encoder:
    return tiny_model().encoder


@pytest.mark.parametrize("blocks", [0, 1, 2, 6, 17])
def test_the_two_parts_together_are_the_encoder(lite: Encoder, blocks: int) -> None:
    first, last = split_encoder(lite, blocks)
    with torch.inference_mode():
        assert torch.equal(last(first(pixels())), lite(pixels()))


@pytest.mark.parametrize(
    ("name", "blocks", "changed"),
    [
        ("torchvision/resnet18", 2, ["layer4.0", "layer4.1"]),
        ("torchvision/mobilenet_v2", 2, ["features.17", "features.18"]),
        ("resnet18", 1, ["classifier.layer4.1"]),
        ("convnext_atto", 1, ["classifier.stages.3"]),
    ],
)
def test_networks_of_both_libraries_can_be_split(name: str, blocks: int, changed: list[str]) -> None:
    encoder = build_encoder(name, weights="random", size=64)
    first, last = split_encoder(encoder, blocks)
    with torch.inference_mode():
        assert torch.equal(last(first(pixels())), encoder(pixels()))
    learning = {id(parameter) for parameter in last.parameters()}
    names = [name for name, parameter in encoder.network.named_parameters() if id(parameter) in learning]
    assert {name for name in names if not name.startswith(tuple(changed))} == set()
    assert all(any(name.startswith(block) for name in names) for block in changed)


def test_what_cannot_be_split_is_told(lite: Encoder) -> None:
    with pytest.raises(ConfigError, match=r"from 0 to 17 for this CNN of 18 blocks.*but 18 came"):
        split_encoder(lite, 18)

    class Shortcut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, given: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.two(self.one(given)) + given
            return result

    encoder = Encoder(Shortcut(), Preprocessing(8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
    with pytest.raises(ConfigError, match="must be 0 for this CNN"):
        split_encoder(encoder, 1)


def test_features_of_one_encoder_never_serve_a_part_of_it_or_a_tuned_one(lite: Encoder) -> None:
    tuned = copy.deepcopy(lite)
    before = lite.fingerprint(), *(split_encoder(lite, blocks).first.fingerprint() for blocks in (1, 2))
    assert len(set(before)) == 3
    with torch.no_grad():
        next(split_encoder(tuned, 2).last.parameters()).add_(1)
    after = tuned.fingerprint(), *(split_encoder(tuned, blocks).first.fingerprint() for blocks in (1, 2))
    assert set(after) - set(before) == set(after[:2])
    assert after[2] == before[2]  # what comes before the blocks that changed is as it was
