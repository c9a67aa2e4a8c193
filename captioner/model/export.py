"""A model as ONNX graphs: the encoder, the decoder's start and one step of it, for any number of pictures and rows.

The search stays in Python; it calls the step graph as it would call the decoder's `step`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from captioner.config import to_dict
from captioner.data.preprocessing import Pixels
from captioner.errors import CheckpointError, ConfigError
from captioner.model.captioning import CaptioningModel
from captioner.model.checkpoint import write_model
from captioner.model.decoder import Decoder, State
from captioner.model.encoder import Encoder
from captioner.model.onnx_model import DESCRIPTION, ENCODER, START, STEP, is_exported
from captioner.model.quantisation import quantise_encoder

_OPSET = 20
_PICTURES, _ROWS = 2, 3
"""Of the examples that the exporter follows; it would take a 1 for a constant."""


def export(
    model: CaptioningModel, folder: Path, *, beside: dict[str, bytes], measured_on: Sequence[Pixels] | None = None
) -> dict[str, int]:
    """Write the model to `folder`, whole or not at all, and tell the size of each file in bytes.

    Args:
        model: on the CPU.
        folder: new, empty, or an exported model, which is replaced.
        beside: more files of the model, such as its calibration.
        measured_on: pictures for the ranges of an encoder in 8 bits; None: the encoder stays as it is.

    Raises:
        ConfigError: a package that this takes is not installed.
        CheckpointError: the folder holds other things, or cannot be written.
    """
    if folder.is_dir() and any(folder.iterdir()) and not is_exported(folder):
        raise CheckpointError(
            f"A model is exported to a new folder, but {folder} holds something else; choose another."
        )
    encoder = encoder_graph(model.encoder)
    contents = {
        ENCODER: encoder if measured_on is None else quantise_encoder(encoder, measured_on),
        **decoder_graphs(model),
        DESCRIPTION: json.dumps(_description(model), indent=2).encode(),
        "vocabulary.json": model.vocabulary.to_json().encode(),
        **beside,
    }
    write_model(folder, contents)
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}


def encoder_graph(encoder: Encoder) -> bytes:
    """What `captioner.model.onnx_model.ENCODER` is."""
    size = encoder.preprocessing.size
    pixels = torch.zeros(_PICTURES, 3, size, size, dtype=torch.uint8)
    return _graph(encoder, (pixels,), ["pixels"], ["features"], ({0: "pictures"},))


def decoder_graphs(model: CaptioningModel) -> dict[str, bytes]:
    """What `START` and `STEP` of `captioner.model.onnx_model` are, by these names."""
    decoder = model.decoder
    features = torch.zeros(_PICTURES, model.encoder.regions, model.encoder.feature_size)
    words = torch.zeros(_PICTURES, _ROWS, dtype=torch.long)
    with torch.no_grad():
        state = decoder.start(features, rows=_ROWS)
        said = decoder.step(decoder.embed(words), state)
    rows, picture = list(state.rows), list(state.picture)
    carried = [f"rows.{name}" for name in rows] + [f"picture.{name}" for name in picture]
    gates = [f"gate.{name}" for name, gate in said.gates._asdict().items() if gate is not None]
    looked = [] if said.weights is None else ["attention"]
    each, both = {0: "pictures"}, {0: "pictures", 1: "rows"}
    return {
        START: _graph(_Start(decoder), (features,), ["features"], carried, (each,)),
        STEP: _graph(
            _Step(decoder, rows, picture),
            (words, [*state.rows.values()], [*state.picture.values()]),
            ["words", *carried],
            ["logits", *(f"next.{name}" for name in rows), *gates, *looked],
            (both, [both] * len(rows), [each] * len(picture)),
        ),
    }


class _Start(nn.Module):
    """The start as a function of tensors alone."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        state = self.decoder.start(features, rows=1)
        return *state.rows.values(), *state.picture.values()


class _Step(nn.Module):
    """A step as a function of tensors alone."""

    def __init__(self, decoder: Decoder, rows: Sequence[str], picture: Sequence[str]) -> None:
        super().__init__()
        self.decoder = decoder
        self._rows, self._picture = rows, picture

    def forward(self, words: Tensor, rows: list[Tensor], picture: list[Tensor]) -> tuple[Tensor, ...]:
        state = State(dict(zip(self._rows, rows, strict=True)), dict(zip(self._picture, picture, strict=True)))
        said = self.decoder.step(self.decoder.embed(words), state)
        after = [said.state.rows[name] for name in self._rows]
        gates = [gate for gate in said.gates if gate is not None]
        looked = [] if said.weights is None else [said.weights]
        return self.decoder.score(said.output), *after, *gates, *looked


def _graph(
    network: nn.Module, example: tuple[Any, ...], inputs: list[str], outputs: list[str], dynamic: tuple[Any, ...]
) -> bytes:
    with TemporaryDirectory() as folder, _quietly(), torch.no_grad():
        path = Path(folder) / "graph.onnx"
        try:
            torch.onnx.export(
                network.eval(),
                example,
                path,
                input_names=inputs,
                output_names=outputs,
                dynamic_shapes=dynamic,
                opset_version=_OPSET,
                external_data=False,
                dynamo=True,
                verbose=False,
            )
        except ImportError as error:
            raise ConfigError(
                f"To export a model takes {error.name}, which is not installed; pip install 'captioner[onnx]'."
            ) from error
        return path.read_bytes()


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's remarks on how it names axes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _description(model: CaptioningModel) -> dict[str, Any]:
    return {
        "config": to_dict(model.config),
        "preprocessing": asdict(model.encoder.preprocessing),
        "grid": [model.encoder.grid_height, model.encoder.grid_width],
        "speaking_cell": model.decoder.speaking_cell,
    }
