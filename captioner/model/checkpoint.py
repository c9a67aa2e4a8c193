"""A model as a folder that cannot execute: JSON and safetensors, every file under a SHA-256.

    config.json          the recipe, format version, preprocessing, fingerprints
    vocabulary.json      every word with its count
    model.safetensors    the decoder's weights, and the encoder's unless a pip package carries them
    calibration.json     how sure the model may be, where it was measured (see `captioner.inference.confidence`)
    faithfulness.json    how far its attention is to be trusted, likewise (see `captioner.inference.faithfulness`)
    manifest.json        the SHA-256 of each of these

A frozen encoder from a pip package is named and its fingerprint kept, not copied.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch.overrides import TorchFunctionMode

from captioner.config import Config, SearchConfig, from_dict, to_dict
from captioner.data.preprocessing import Preprocessing
from captioner.errors import CheckpointError, ConfigError
from captioner.model.captioning import CaptioningModel
from captioner.model.decoder import build_decoder
from captioner.model.encoder import Encoder, build_encoder
from captioner.text.vocabulary import Vocabulary

FORMAT = 1
"""Raised when an older program could no longer read what is written."""

_FILES = ("config.json", "vocabulary.json", "model.safetensors")

_KEPT = ("README.md", "__init__.py")
"""A model's card, and what makes the package's own model a package; saving leaves them alone."""

_DESCRIPTIONS = {"config.json", "onnx.json"}
"""Every folder of a model, as it was trained or exported, holds one of them."""

_WRITTEN = {
    *(*_FILES, "calibration.json", "faithfulness.json", "manifest.json"),
    *("onnx.json", "encoder.onnx", "start.onnx", "step.onnx"),
}
"""What goes with an older model when another takes its place, even if its manifest is damaged."""

_IGNORED = {"__pycache__", ".DS_Store"}
"""What others leave in every folder."""


def save_checkpoint(model: CaptioningModel, folder: Path, *, half: bool = False) -> None:
    """Write the model to `folder`, whole or not at all; `half` stores 16-bit weights, half the size.

    A checkpoint that is there is replaced, its card kept. Raises CheckpointError when the folder holds other things.
    """
    stores_encoder = model.config.encoder.weights != "packaged"
    weights = {f"decoder.{name}": tensor for name, tensor in model.decoder.state_dict().items()}
    if stores_encoder:
        weights |= {f"encoder.{name}": tensor for name, tensor in model.encoder.network.state_dict().items()}
    contents = {
        "config.json": json.dumps(_description(model), indent=2).encode(),
        "vocabulary.json": model.vocabulary.to_json().encode(),
        "model.safetensors": save_tensors(
            {name: _stored(tensor, half=half and _fits_half(name, tensor)) for name, tensor in weights.items()}
        ),
    }
    write_model(folder, contents)


def load_checkpoint(folder: Path) -> CaptioningModel:
    """The model in `folder`, on the CPU, ready to caption.

    Raises CheckpointError when a file is missing, damaged, of another vocabulary or encoder, or too new.
    """
    contents = _read(folder)
    description = _parse(contents["config.json"], folder / "config.json")
    if description.get("format") != FORMAT:
        raise CheckpointError(
            f"This program reads models of format {FORMAT}, but {folder} has format "
            f"{description.get('format')!r}; install a matching version of captioner."
        )
    if (precision := description.get("precision", "full")) not in tuple(PRECISIONS):
        raise CheckpointError(
            f"This program computes in {' or '.join(PRECISIONS)}, but the model in {folder} computes in {precision}; "
            "install a matching version of captioner."
        )
    try:
        config = from_dict(Config, description["config"])
        preprocessing = Preprocessing.from_json(description["preprocessing"])
        fingerprints = description["vocabulary_fingerprint"], description["encoder_fingerprint"]
        vocabulary = Vocabulary.from_json(contents["vocabulary.json"].decode())
        words = vocabulary.fingerprint()
        tensors = load_tensors(contents["model.safetensors"])
    except KeyError as error:
        raise CheckpointError(f"The model in {folder} is damaged: config.json lacks {error}; copy it again.") from error
    except (TypeError, ValueError, OverflowError, RecursionError, SafetensorError, ConfigError) as error:
        raise CheckpointError(f"The model in {folder} is damaged: {error}.") from error
    if words != fingerprints[0]:
        raise CheckpointError(f"The weights in {folder} were trained with another vocabulary than vocabulary.json.")
    try:
        with _NothingDrawn():
            encoder = _encoder(config, tensors, preprocessing, fingerprints[1], folder)
            decoder = build_decoder(config.decoder, feature_size=encoder.feature_size, vocabulary_size=len(vocabulary))
    except (RuntimeError, TypeError, OverflowError, MemoryError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(
            f"The settings in {folder / 'config.json'} must describe a network that fits into the memory, but none can "
            f"be built from them ({reason}); make room, or copy the model again."
        ) from error
    _load(decoder, tensors, "decoder.", folder)
    return CaptioningModel(encoder, decoder, vocabulary, config, precision=PRECISIONS[precision]).eval()


def store_search(folder: Path, search: SearchConfig) -> None:
    """Make `search` the default of the model in `folder`; its weights and words stay, what lay beside them goes.

    Raises CheckpointError as `load_checkpoint` does, and when the folder cannot be written.
    """
    contents = _read(folder)
    description = _parse(contents["config.json"], folder / "config.json")
    try:
        description["config"]["search"] = to_dict(search)
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"The model in {folder} is damaged: {error}.") from error
    contents["config.json"] = json.dumps(description, indent=2).encode()
    write_model(folder, contents)


def read_beside(folder: Path, name: str) -> bytes | None:
    """What `write_beside` wrote to the file `name` of the checkpoint in `folder`; None when it wrote none.

    Raises CheckpointError when the file is missing, was changed, or was not written there for this model.
    """
    manifest = _manifest(folder)
    path = folder / name
    if name not in manifest and not path.exists():
        return None
    data = _read_file(path) if path.is_file() else b""
    if hashlib.sha256(data).hexdigest() != manifest.get(name):
        raise CheckpointError(
            f"The model in {folder} is damaged or was changed: {name} does not match the SHA-256 in manifest.json; "
            "copy both again, or remove the file and its line there."
        )
    return data


def write_beside(folder: Path, name: str, data: bytes) -> None:
    """Add the file `name` to the checkpoint in `folder`; it belongs to these weights, and goes when they are replaced.

    Raises CheckpointError when `folder` holds no checkpoint or cannot be written.
    """
    # What was there under this name is replaced, and may be damaged.
    others = {file: read_beside(folder, file) for file in _manifest(folder) if file != name}
    contents = {file: content for file, content in others.items() if content is not None}
    write_model(folder, contents | {name: data})


def checkpoint_fingerprint(folder: Path) -> str:
    """SHA-256 of the manifest: equal fingerprints mean equal weights, words and settings."""
    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


class _NothingDrawn(TorchFunctionMode):
    """Most layers built in this context begin with zeros.

    To draw numbers that are replaced at once would take longer than to read those that replace them. PyTorch tells of
    only some ways of drawing; for the others nothing changes.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        arguments: tuple[Any, ...] = (),
        named: dict[str, Any] | None = None,
    ) -> Any:
        """What PyTorch calls in this thread instead of each of its functions."""
        named = named or {}
        if getattr(function, "__module__", "") == "torch.nn.init":
            tensor: torch.Tensor = named["tensor"] if "tensor" in named else arguments[0]
            return tensor.detach().zero_()
        return function(*arguments, **named)


PRECISIONS = {"full": torch.float32, "bfloat16": torch.bfloat16}
"""What a model can be asked to compute in, as its config.json calls it."""


def _description(model: CaptioningModel) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "config": to_dict(model.config),
        "preprocessing": asdict(model.encoder.preprocessing),
        "precision": next(name for name, precision in PRECISIONS.items() if precision is model.precision),
        "vocabulary_fingerprint": model.vocabulary.fingerprint(),
        "encoder_fingerprint": model.encoder.fingerprint(),
    }


def _fits_half(name: str, tensor: torch.Tensor) -> bool:
    """Whether 16 bits hold the numbers: batch statistics of an encoder, which are vectors, may lie outside."""
    return name.startswith("decoder.") or tensor.ndim > 1


def _stored(tensor: torch.Tensor, *, half: bool) -> torch.Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if half and tensor.is_floating_point() else tensor


def _encoder(
    config: Config, tensors: dict[str, torch.Tensor], preprocessing: Preprocessing, fingerprint: str, folder: Path
) -> Encoder:
    """The encoder the model was trained with: from its own weights, or from the package that carries them."""
    stored = any(name.startswith("encoder.") for name in tensors)
    if not stored and config.encoder.weights != "packaged":
        raise CheckpointError(f"The weights in {folder} do not fit its config.json: those of the encoder are missing.")
    weights = "random" if stored else "packaged"
    encoder = build_encoder(config.encoder.name, weights=weights, size=config.encoder.size)
    if stored:
        _load(encoder.network, tensors, "encoder.", folder)
    if encoder.preprocessing != preprocessing:
        encoder = Encoder(encoder.network, preprocessing)
    if not stored and encoder.fingerprint() != fingerprint:
        raise CheckpointError(
            f"The model in {folder} was trained on the packaged weights of {config.encoder.name}, but the installed "
            "package differs; install the version of captioner that wrote the model."
        )
    return encoder


def _load(module: torch.nn.Module, tensors: dict[str, torch.Tensor], prefix: str, folder: Path) -> None:
    own = module.state_dict()
    chosen = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    wrong = own.keys() ^ chosen.keys() or {name for name in own if own[name].shape != chosen[name].shape}
    if wrong:
        raise CheckpointError(
            f"The weights in {folder} do not fit its config.json: {prefix}{min(wrong)} is missing, extra or of "
            "another shape."
        )
    if not all(bool(tensor.isfinite().all()) for tensor in chosen.values()):
        raise CheckpointError(f"The weights in {folder} hold numbers that are not finite; train the model again.")
    module.load_state_dict(chosen)


def _read(folder: Path) -> dict[str, bytes]:
    """The contents of a checkpoint's files, read once and checked against the manifest."""
    manifest = _manifest(folder)
    if "encoder.onnx" in manifest:
        raise CheckpointError(
            f"The weights of a model are needed, but {folder} holds an exported one; name the model it was made from."
        )
    contents = {}
    for name in _FILES:
        try:
            contents[name] = (folder / name).read_bytes()
        except OSError as error:
            raise CheckpointError(f"The model in {folder} is incomplete: {name} cannot be read.") from error
        if hashlib.sha256(contents[name]).hexdigest() != manifest.get(name):
            raise CheckpointError(
                f"The model in {folder} is damaged or was changed: {name} does not match the SHA-256 in "
                "manifest.json; copy it again."
            )
    return contents


def _manifest(folder: Path) -> dict[str, str]:
    file = folder / "manifest.json"
    if not file.is_file():
        raise CheckpointError(
            f"A model is a folder with {', '.join(_FILES)} and manifest.json, but {folder} is none; "
            "give the folder that `captioner train` wrote."
        )
    return _parse(_read_file(file), file)


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"A model's files must be readable, but {path} is not ({error.strerror}).") from error


def _parse(data: bytes, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: it is not valid JSON.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is damaged: it must hold a JSON object.")
    return value


def write_model(folder: Path, contents: dict[str, bytes]) -> None:
    """Write a model to `folder`, its files and their manifest, whole or not at all.

    An older model that is there is replaced, its card kept. Raises CheckpointError when the folder holds anything else,
    or cannot be written.
    """
    if foreign := _foreign(folder):
        raise CheckpointError(
            f"A model is written to a new folder, or in the place of another model, but {folder} holds something else "
            f"({min(foreign)}); choose another."
        )
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    manifest = {"manifest.json": json.dumps(hashes, indent=2).encode()}
    kept = {name: (folder / name).read_bytes() for name in _KEPT if (folder / name).exists()}
    _replace_folder(folder, contents | manifest | kept)


def _foreign(folder: Path) -> set[str]:
    """What a folder holds that is no part of a model."""
    others = {path.name for path in folder.iterdir()} - {*_KEPT, *_IGNORED} if folder.is_dir() else set()
    if not others & _DESCRIPTIONS:
        return others
    try:
        listed = {*_manifest(folder)}
    except CheckpointError:  # there is none, or it is damaged
        listed = set()
    return others - _WRITTEN - (listed if listed & _DESCRIPTIONS else set())


def _replace_folder(folder: Path, contents: dict[str, bytes]) -> None:
    """Write a folder beside the old one and put it in its place; whatever fails, one of the two is there.

    Only a death between two renames leaves the old one under a hidden name alone; the next call begins by mending that.
    """
    folder = Path(os.path.abspath(folder))
    fresh, old = (folder.with_name(f".{folder.name}.{state}") for state in ("unfinished", "replaced"))
    try:
        if old.exists() and not folder.exists():
            old.rename(folder)
        for left in (fresh, old):
            shutil.rmtree(left, ignore_errors=True)
        fresh.mkdir(parents=True)
        for name, data in contents.items():
            with (fresh / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            if old.exists() and not folder.exists():
                old.rename(folder)
        shutil.rmtree(fresh, ignore_errors=True)
        raise CheckpointError(f"The model could not be written to {folder} ({error.strerror}).") from error
    shutil.rmtree(old, ignore_errors=True)
