"""EfficientNet-Lite, the CNN of the shipped model (Tan and Le 2019; Liu 2020), in the shape of its published weights.

It equals timm's `tf_efficientnet_lite*` weight by weight and name by name. It stands here because importing timm,
and with it torchvision, takes longer than PyTorch itself and some 200 MB, each time that a model is loaded.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SCALES = {
    "tf_efficientnet_lite0": (1.0, 1.0),
    "tf_efficientnet_lite1": (1.0, 1.1),
    "tf_efficientnet_lite2": (1.1, 1.2),
    "tf_efficientnet_lite3": (1.2, 1.4),
    "tf_efficientnet_lite4": (1.4, 1.8),
}
"""What the stages' channels and blocks are multiplied by."""

MEAN = STD = (0.5, 0.5, 0.5)
"""What the channels of pictures, 0 to 1, are normalised by."""

_STAGES = ((1, 3, 1, 16), (2, 3, 2, 24), (2, 5, 2, 40), (3, 3, 2, 80), (3, 5, 1, 112), (4, 5, 2, 192), (1, 3, 1, 320))
"""Blocks, kernel size, stride and channels of each stage before they are multiplied."""

_STEM, _HEAD = 32, 1280
"""Channels before and after the stages, never multiplied."""

_EXPANSION = 6
_DIVISOR = 8


class EfficientNetLite(nn.Module):
    """The network up to its last feature map."""

    num_features = _HEAD

    def __init__(self, *, width: float, depth: float) -> None:
        super().__init__()
        self.conv_stem = _convolution(3, _STEM, kernel=3, stride=2)
        self.bn1, self.act1 = _norm(_STEM), nn.ReLU6(inplace=True)
        stages, channels = [], _STEM
        for number, (count, kernel, stride, unscaled) in enumerate(_STAGES):
            ends = number in (0, len(_STAGES) - 1)  # which stay one block deep
            blocks: list[nn.Module] = []
            for _ in range(count if ends else math.ceil(count * depth)):
                block, after = Expanded if number else Separable, _scaled(unscaled, width)
                blocks.append(block(channels, after, kernel=kernel, stride=1 if blocks else stride))
                channels = after
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = _convolution(channels, _HEAD)
        self.bn2, self.act2 = _norm(_HEAD), nn.ReLU6(inplace=True)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels // layer.groups
                nn.init.normal_(layer.weight, std=math.sqrt(2 / fan_out))

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Pixels (pictures, 3, size, size) -> feature map (pictures, 1280, height, width)."""
        stem = self.act1(self.bn1(self.conv_stem(pixels)))
        features: Tensor = self.act2(self.bn2(self.conv_head(self.blocks(stem))))
        return features


class Separable(nn.Module):
    """A convolution of each channel by itself, then one across them."""

    def __init__(self, before: int, after: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = _convolution(before, before, kernel=kernel, stride=stride, groups=before)
        self.bn1, self.act1 = _norm(before), nn.ReLU6(inplace=True)
        self.conv_pw = _convolution(before, after)
        self.bn2 = _norm(after)

    def forward(self, features: Tensor) -> Tensor:
        """Features (pictures, before, height, width) -> (pictures, after, height / stride, width / stride)."""
        seen = self.act1(self.bn1(self.conv_dw(features)))
        result: Tensor = self.bn2(self.conv_pw(seen))
        return result


class Expanded(nn.Module):
    """The same between more channels, added to what came where the shapes agree (Sandler et al. 2018)."""

    def __init__(self, before: int, after: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        wide = before * _EXPANSION
        self.conv_pw = _convolution(before, wide)
        self.bn1, self.act1 = _norm(wide), nn.ReLU6(inplace=True)
        self.conv_dw = _convolution(wide, wide, kernel=kernel, stride=stride, groups=wide)
        self.bn2, self.act2 = _norm(wide), nn.ReLU6(inplace=True)
        self.conv_pwl = _convolution(wide, after)
        self.bn3 = _norm(after)
        self.adds = before == after and stride == 1

    def forward(self, features: Tensor) -> Tensor:
        """Features (pictures, before, height, width) -> (pictures, after, height / stride, width / stride)."""
        seen: Tensor = self.act1(self.bn1(self.conv_pw(features)))
        seen = self.bn3(self.conv_pwl(self.act2(self.bn2(self.conv_dw(seen)))))
        return seen + features if self.adds else seen


class StridingConvolution(nn.Conv2d):
    """Every second place, padded as TensorFlow pads: of an odd number the greater part below and to the right.

    Features are padded alike on all sides, and where that is too much above and on the left the kernel gets a row and
    a column of zeros there: it is far smaller than the features, which are not copied that way. For a stride of 2 and
    a kernel of an odd size.
    """

    def kernel_for(self, height: int, width: int) -> Tensor:
        """The kernel for features of this size."""
        return F.pad(self.weight, (1 - width % 2, 0, 1 - height % 2, 0))

    def forward(self, features: Tensor) -> Tensor:
        """Features (pictures, before, height, width) -> (pictures, after, height / 2, width / 2)."""
        height, width = features.shape[-2:]
        if torch.compiler.is_exporting():  # ONNX Runtime breaks a graph in which a kernel is padded
            most = self.kernel_size[0] // 2
            features = F.pad(features, (most - 1 + width % 2, most, most - 1 + height % 2, most))
            return F.conv2d(features, self.weight, self.bias, self.stride, groups=self.groups)
        kernel = self.kernel_for(height, width)
        return F.conv2d(features, kernel, self.bias, self.stride, self.padding, groups=self.groups)


def build_efficientnet_lite(name: str) -> EfficientNetLite:
    """One of `SCALES`, with random weights."""
    width, depth = SCALES[name]
    return EfficientNetLite(width=width, depth=depth)


def _convolution(before: int, after: int, *, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    layer = nn.Conv2d if stride == 1 else StridingConvolution
    return layer(before, after, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def _scaled(channels: int, width: float) -> int:
    """The multiple of `_DIVISOR` nearest to `channels * width`, but less than it by a tenth at most."""
    wanted = channels * width
    nearest = max(_DIVISOR, int(wanted + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
    return nearest + _DIVISOR if nearest < 0.9 * wanted else nearest
