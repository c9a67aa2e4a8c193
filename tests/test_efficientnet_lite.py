"""The CNN of the shipped model: the one that timm has, without importing timm."""

from __future__ import annotations

import subprocess
import sys

import pytest
import timm
import torch

from captioner.model.efficientnet_lite import MEAN, SCALES, STD, build_efficientnet_lite


@pytest.mark.parametrize("size", [(66, 66), (67, 67), (67, 98)])
@pytest.mark.parametrize("name", SCALES)
def test_it_is_timms_weight_by_weight_and_computes_the_same(name: str, size: tuple[int, int]) -> None:
    """Where sides are odd and where they are even, which are padded differently."""
    theirs = timm.create_model(name, num_classes=0, global_pool="").eval()
    ours = build_efficientnet_lite(name).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    pixels = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = theirs.forward_features(pixels)  # type: ignore[operator]
        assert float((ours.forward_features(pixels) - expected).norm() / expected.norm()) < 1e-4
    settings = theirs.pretrained_cfg
    assert (settings["mean"], settings["std"]) == (MEAN, STD)  # type: ignore[index, call-overload]


def test_its_random_weights_keep_the_size_of_what_passes_through() -> None:
    torch.manual_seed(0)
    theirs, ours = timm.create_model("tf_efficientnet_lite0"), build_efficientnet_lite("tf_efficientnet_lite0")
    for name, tensor in ours.state_dict().items():
        if name.startswith("conv") or ".conv" in name:
            assert float(tensor.std()) == pytest.approx(float(theirs.state_dict()[name].std()), rel=0.35)


def test_loading_the_shipped_model_imports_nothing_large_but_pytorch() -> None:
    """Each would make the time until the first caption much longer."""
    program = (
        "import sys; from captioner import Captioner; Captioner.from_pretrained(device='cpu').describer(); "
        "large = {'timm', 'torchvision', 'torch._dynamo', 'sympy', 'datasets', 'transformers'}; "
        "print(sorted(large & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
