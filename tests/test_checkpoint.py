"""A checkpoint gives back the same captioner, or is refused with a sentence; it never executes."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from captioner.config import Config, DecoderConfig, EncoderConfig, SearchConfig
from captioner.errors import CheckpointError
from captioner.model.captioning import CaptioningModel, build_model
from captioner.model.checkpoint import load_checkpoint, read_beside, save_checkpoint, store_search, write_beside
from captioner.text.vocabulary import Vocabulary
from tests.conftest import tiny_model


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def sign_again(folder: Path) -> None:
    """Make the manifest agree with the files, as someone who changes a checkpoint on purpose would."""
    hashes = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("config.json", "vocabulary.json", "model.safetensors")
    }
    (folder / "manifest.json").write_text(json.dumps(hashes))


def test_a_loaded_model_has_the_same_weights_words_and_settings(model: CaptioningModel, folder: Path) -> None:
    again = load_checkpoint(folder)
    assert again.config == model.config
    assert again.vocabulary.words == model.vocabulary.words
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_a_packaged_encoder_is_named_and_not_copied(folder: Path) -> None:
    assert all(name.startswith("decoder.") for name in load_file(folder / "model.safetensors"))


def test_an_encoder_that_no_package_carries_travels_with_the_model(tmp_path: Path) -> None:
    config = Config(
        encoder=EncoderConfig(name="torchvision/squeezenet1_1", weights="random", size=64),
        decoder=DecoderConfig(hidden_size=8, embedding_size=8, attention_size=8),
    )
    model = build_model(config, Vocabulary.fit(["a dog"], min_count=1))
    save_checkpoint(model, tmp_path / "model")
    assert load_checkpoint(tmp_path / "model").encoder.fingerprint() == model.encoder.fingerprint()


def test_half_precision_halves_the_file_and_hardly_moves_the_weights(model: CaptioningModel, tmp_path: Path) -> None:
    save_checkpoint(model, tmp_path / "whole")
    save_checkpoint(model, tmp_path / "half", half=True)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    loaded = load_checkpoint(tmp_path / "half").decoder.state_dict()
    for name, tensor in model.decoder.state_dict().items():
        torch.testing.assert_close(loaded[name], tensor, rtol=1e-3, atol=1e-4)


def test_half_precision_keeps_a_tuned_encoder_s_batch_statistics_whole(tmp_path: Path) -> None:
    model = tiny_model()
    model.config = replace(model.config, encoder=replace(model.config.encoder, weights="tuned"))
    model.encoder.network.get_buffer("classifier.bn1.running_var").fill_(1e6)
    save_checkpoint(model, tmp_path / "half", half=True)
    assert (tmp_path / "half" / "model.safetensors").stat().st_size < 0.6 * 4 * sum(
        weights.numel() for weights in model.parameters()
    )
    loaded = load_checkpoint(tmp_path / "half").encoder.network.state_dict()
    for name, tensor in model.encoder.network.state_dict().items():
        torch.testing.assert_close(loaded[name], tensor, rtol=1e-3 if tensor.ndim > 1 else 0, atol=1e-6)


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "model.safetensors", "manifest.json"])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(folder: Path, name: str, keep: float) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(keep * len(data))])
    with pytest.raises(CheckpointError):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "model.safetensors"])
def test_one_flipped_bit_is_refused(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "model.safetensors", "manifest.json"])
def test_a_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError):
        load_checkpoint(folder)


def test_another_vocabulary_of_the_same_length_is_refused(folder: Path) -> None:
    words = json.loads((folder / "vocabulary.json").read_text())["words"]
    words[0], words[1] = words[1], words[0]
    (folder / "vocabulary.json").write_text(json.dumps({"words": words}))
    sign_again(folder)
    with pytest.raises(CheckpointError, match="another vocabulary"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("part", "setting", "value"),
    [("decoder", "hidden_size", 10**9), ("decoder", "hidden_size", 2**64), ("preprocessing", "size", "a")],
)
def test_settings_that_no_network_can_have_are_refused(folder: Path, part: str, setting: str, value: object) -> None:
    description = json.loads((folder / "config.json").read_text())
    (description if part == "preprocessing" else description["config"])[part][setting] = value
    (folder / "config.json").write_text(json.dumps(description))
    sign_again(folder)
    with pytest.raises(CheckpointError):
        load_checkpoint(folder)


@pytest.mark.parametrize("words", ['[["dog", Infinity]]', '[["\\ud800", 1]]', "[" * 100_000])
def test_words_that_are_none_are_refused(folder: Path, words: str) -> None:
    (folder / "vocabulary.json").write_text(f'{{"words": {words}}}')
    sign_again(folder)
    with pytest.raises(CheckpointError):
        load_checkpoint(folder)


def test_weights_of_another_architecture_are_refused(folder: Path) -> None:
    description = json.loads((folder / "config.json").read_text())
    description["config"]["decoder"]["sentinel"] = False
    (folder / "config.json").write_text(json.dumps(description))
    sign_again(folder)
    with pytest.raises(CheckpointError, match="do not fit"):
        load_checkpoint(folder)


def test_weights_that_are_not_finite_are_refused(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["decoder.output_bias"][0] = float("nan")
    save_file(tensors, folder / "model.safetensors")
    sign_again(folder)
    with pytest.raises(CheckpointError, match="not finite"):
        load_checkpoint(folder)


def test_an_encoder_other_than_the_one_trained_on_is_refused(folder: Path) -> None:
    description = json.loads((folder / "config.json").read_text())
    description["encoder_fingerprint"] = "0" * 64
    (folder / "config.json").write_text(json.dumps(description))
    sign_again(folder)
    with pytest.raises(CheckpointError, match="packaged weights"):
        load_checkpoint(folder)


def test_a_newer_format_is_refused(folder: Path) -> None:
    description = json.loads((folder / "config.json").read_text())
    description["format"] = 99
    (folder / "config.json").write_text(json.dumps(description))
    sign_again(folder)
    with pytest.raises(CheckpointError, match="format 99"):
        load_checkpoint(folder)


class Bomb:
    """Unpickling this would write a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (str(self.target),)


def test_a_pickle_in_place_of_the_weights_is_refused_and_not_run(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb(tmp_path / "executed")))
    sign_again(folder)
    with pytest.raises(CheckpointError):
        load_checkpoint(folder)
    assert not (tmp_path / "executed").exists()


def test_a_folder_of_other_things_is_never_overwritten(model: CaptioningModel, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match="holds something else"):
        save_checkpoint(model, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_folder_with_a_model_and_other_things_is_never_overwritten(model: CaptioningModel, folder: Path) -> None:
    """Such as a clone of a repository, or a web site, which has a manifest.json by convention."""
    (folder / ".git").mkdir()
    for write in (save_checkpoint, lambda _, folder: store_search(folder, SearchConfig())):
        with pytest.raises(CheckpointError, match=r"holds something else \(\.git\)"):
            write(model, folder)
    load_checkpoint(folder)


def test_what_lies_beside_a_model_is_replaced_even_if_it_is_damaged(folder: Path) -> None:
    write_beside(folder, "calibration.json", b"{}")
    (folder / "calibration.json").write_bytes(b"[")
    write_beside(folder, "calibration.json", b"{ }")
    assert read_beside(folder, "calibration.json") == b"{ }"
    load_checkpoint(folder)


def test_saving_again_replaces_the_model_and_keeps_its_card(model: CaptioningModel, folder: Path) -> None:
    (folder / "README.md").write_text("the card")
    save_checkpoint(model, folder, half=True)
    assert (folder / "README.md").read_text() == "the card"
    load_checkpoint(folder)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_loading_draws_no_random_numbers(model_folder: Path) -> None:
    before = torch.get_rng_state()
    load_checkpoint(model_folder).for_inference()
    assert torch.equal(torch.get_rng_state(), before)
