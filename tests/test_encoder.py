"""The CNN: any by name, its own preprocessing, the packaged weights the right ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

from captioner.data.samples import sample_pictures
from captioner.errors import ConfigError
from captioner.model.encoder import PACKAGED_WEIGHTS, _weights_file, build_encoder


@pytest.mark.parametrize("name", PACKAGED_WEIGHTS)
def test_packaged_weights_recognise_the_sample_photographs(name: str) -> None:
    """ImageNet class 291 is the lion, 293 the cheetah: the weights sit where they belong."""
    classifier = timm.create_model(name).eval()
    saved = torch.load(_weights_file(name, "packaged"), weights_only=True)
    classifier.load_state_dict(dict(zip(classifier.state_dict(), saved.values(), strict=True)))
    encoder = build_encoder(name, weights="packaged", size=224)
    photographs = {path.name: path for path in sample_pictures()}
    for photograph, label in (("lion.jpg", 291), ("cheetah1.jpg", 293)):
        pixels = encoder.preprocessing.pixels(Image.open(photographs[photograph]).convert("RGB"))
        with torch.inference_mode():
            features = encoder(torch.from_numpy(pixels).unsqueeze(0))
            logits = classifier.get_classifier()(features.mean(dim=1))
        assert logits.argmax().item() == label


@pytest.mark.parametrize(
    ("name", "grid", "feature_size"),
    [
        ("tf_efficientnet_lite0", (3, 2), 1280),
        ("timm/mobilenetv3_small_050", (2, 2), 288),
        ("torchvision/resnet18", (2, 2), 512),
        ("torchvision/vgg11", (2, 2), 512),
        ("torchvision/densenet121", (2, 2), 1024),
        ("torchvision/mobilenet_v3_small", (2, 2), 576),
    ],
)
def test_any_cnn_gives_region_vectors(name: str, grid: tuple[int, int], feature_size: int) -> None:
    size = 65 if grid[0] == 3 else 64
    encoder = build_encoder(name, weights="random", size=size)
    features = encoder(torch.zeros(2, 3, size, size, dtype=torch.uint8))
    assert features.shape == (2, encoder.regions, feature_size)
    assert encoder.regions == encoder.grid_height * encoder.grid_width
    assert encoder.grid_height == grid[0]


def test_regions_run_row_by_row() -> None:
    """A picture that is white only in its upper right corner differs from black most in that region."""
    encoder = build_encoder("tf_efficientnet_lite0", weights="packaged", size=224)
    pixels = torch.zeros(2, 3, 224, 224, dtype=torch.uint8)
    pixels[1, :, :32, 192:] = 255
    with torch.inference_mode():
        black, corner = encoder(pixels)
    changed = (black - corner).norm(dim=-1).view(encoder.grid_height, encoder.grid_width)
    assert changed.argmax().item() in (5, 6, 12, 13)  # rows 0 and 1, the two columns on the right


def test_the_encoder_stays_in_evaluation_mode() -> None:
    encoder = build_encoder("tf_efficientnet_lite0", weights="random", size=64)
    encoder.train()
    assert not any(module.training for module in encoder.modules())


def test_weights_come_from_a_local_file_too(tmp_path: Path) -> None:
    source = build_encoder("torchvision/resnet18", weights="random", size=64)
    save_file({n: t.contiguous() for n, t in source.network.state_dict().items()}, tmp_path / "weights.safetensors")
    torch.save(source.network.state_dict(), tmp_path / "weights.pt")
    for name in ("weights.safetensors", "weights.pt"):
        again = build_encoder("torchvision/resnet18", weights=str(tmp_path / name), size=64)
        assert again.fingerprint() == source.fingerprint()


@pytest.mark.parametrize(
    ("name", "weights", "sentence"),
    [
        ("efficientnet_lite99", "random", "There is no timm CNN 'efficientnet_lite99'"),
        ("torchvision/nonet", "random", "There is no torchvision CNN 'nonet'"),
        ("elsewhere/resnet18", "random", "encoder.name must be NAME, timm/NAME or torchvision/NAME"),
        ("resnet18", "packaged", "Packaged weights exist for"),
        ("resnet18", "no/such/file.pt", "there is no file 'no/such/file.pt'"),
        ("vit_tiny_patch16_224", "random", "must be a CNN that gives a feature map"),
    ],
)
def test_what_is_no_encoder_is_one_sentence(name: str, weights: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_encoder(name, weights=weights, size=224)
    assert sentence in str(caught.value)


def test_weights_as_training_scripts_save_them_are_found_and_other_things_refused(tmp_path: Path) -> None:
    encoder = build_encoder("tf_efficientnet_lite0", weights="random", size=64)
    file = tmp_path / "epoch-90.pth"
    torch.save({"epoch": 90, "state_dict": encoder.network.state_dict()}, file)
    again = build_encoder("tf_efficientnet_lite0", weights=str(file), size=64)
    assert again.fingerprint() == encoder.fingerprint()
    for other in ({"epoch": 90}, [1, 2]):
        torch.save(other, file)
        with pytest.raises(ConfigError, match="must hold the tensors of a CNN"):
            build_encoder("tf_efficientnet_lite0", weights=str(file), size=64)


def test_a_cnn_that_normalises_pictures_itself_gets_them_as_it_would_make_them(monkeypatch: pytest.MonkeyPatch) -> None:
    build = torchvision.models.googlenet
    monkeypatch.setattr(
        torchvision.models,
        "get_model",
        lambda name, weights: build(weights=None, transform_input=True, init_weights=False),
    )
    preprocessing = build_encoder("torchvision/googlenet", weights="random", size=64).preprocessing
    assert preprocessing.mean == preprocessing.std == (0.5, 0.5, 0.5)


def test_weights_of_another_cnn_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3)}, tmp_path / "other.safetensors")
    (tmp_path / "text.pt").write_text("no weights at all")
    for name in ("other.safetensors", "text.pt"):
        with pytest.raises(ConfigError):
            build_encoder("torchvision/resnet18", weights=str(tmp_path / name), size=64)
