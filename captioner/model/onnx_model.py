"""An exported model at work: ONNX Runtime computes, everything else is as it was.

`captioner.model.export` writes the graphs. Encoder and decoder here have what captioning, confidence and explanation
call of the networks they were made from; training has no use for them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from captioner.config import Config, from_dict
from captioner.data.preprocessing import Preprocessing
from captioner.errors import CheckpointError, ConfigError
from captioner.model.captioning import CaptioningModel
from captioner.model.cells import Gates
from captioner.model.checkpoint import read_beside
from captioner.model.decoder import Decoder, Said, State
from captioner.model.encoder import Encoder
from captioner.text.vocabulary import Vocabulary

ENCODER: Final = "encoder.onnx"
"""pixels (pictures, 3, size, size), uint8 -> features (pictures, regions, feature_size)"""
START: Final = "start.onnx"
"""features -> the state before the first word: rows.NAME (pictures, 1, size), picture.NAME (pictures, regions, size)"""
STEP: Final = "step.onnx"
"""words (pictures, rows), rows.NAME, picture.NAME -> logits (pictures, rows, vocabulary), next.NAME for each rows.NAME,
gate.NAME for each gate, and attention (pictures, rows, regions[, + 1]) if the decoder has it"""
DESCRIPTION: Final = "onnx.json"
"""What the graphs do not tell: the recipe, the preprocessing, the grid of regions and the cell that speaks."""


def is_exported(folder: Path) -> bool:
    """Whether `folder` holds an exported model, sound or not."""
    return (folder / DESCRIPTION).is_file()


def load_exported(folder: Path) -> CaptioningModel:
    """The exported model in `folder`, on as many threads as PyTorch has.

    Raises CheckpointError when a file is missing or damaged, ConfigError without ONNX Runtime.
    """
    runtime = _runtime()
    contents = {name: read_beside(folder, name) for name in (DESCRIPTION, "vocabulary.json", ENCODER, START, STEP)}
    if missing := [name for name, data in contents.items() if data is None]:
        raise CheckpointError(f"An exported model holds {missing[0]}, but {folder} does not; export the model again.")
    texts = {name: data for name, data in contents.items() if data is not None}
    try:
        told = json.loads(texts[DESCRIPTION])
        config = from_dict(Config, told["config"])
        preprocessing = Preprocessing.from_json(told["preprocessing"])
        vocabulary = Vocabulary.from_json(texts["vocabulary.json"].decode())
        encoder = OnnxEncoder(
            _session(runtime, texts[ENCODER]),
            preprocessing,
            grid=tuple(told["grid"]),
            fingerprint=hashlib.sha256(repr(preprocessing).encode() + texts[ENCODER]).hexdigest(),
        )
        decoder = OnnxDecoder(
            _session(runtime, texts[START]), _session(runtime, texts[STEP]), speaking_cell=told["speaking_cell"]
        )
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise CheckpointError(f"The exported model in {folder} is damaged: {error}; export it again.") from error
    # The same seams: what captioning calls of them, they have.
    return CaptioningModel(cast(Encoder, encoder), cast(Decoder, decoder), vocabulary, config).eval()


class OnnxEncoder(nn.Module):
    """Pixels to region vectors; see `captioner.model.encoder.Encoder`."""

    def __init__(self, session: Any, preprocessing: Preprocessing, *, grid: tuple[int, int], fingerprint: str) -> None:
        super().__init__()
        self._session = session
        self._fingerprint = fingerprint
        self.preprocessing = preprocessing
        self.grid_height, self.grid_width = grid
        self.feature_size: int = session.get_outputs()[0].shape[-1]

    @property
    def regions(self) -> int:
        """How many regions a picture has."""
        return self.grid_height * self.grid_width

    def fingerprint(self) -> str:
        """SHA-256 of the graph and the preprocessing: features made by equal fingerprints are equal."""
        return self._fingerprint

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 pixels (pictures, 3, size, size) -> features (pictures, regions, feature_size)."""
        return torch.from_numpy(self._session.run(["features"], {"pixels": pixels.numpy()})[0])


class OnnxDecoder(nn.Module):
    """State, step and score; see `captioner.model.decoder.Decoder`. Words go into the step as they are."""

    device = torch.device("cpu")

    def __init__(self, start: Any, step: Any, *, speaking_cell: str) -> None:
        super().__init__()
        self.speaking_cell = speaking_cell
        self.dropout = nn.Identity()
        self._start, self._step = start, step
        self._start_names = [output.name for output in start.get_outputs()]
        self._step_names = [output.name for output in step.get_outputs()]

    def start(self, features: Tensor, *, rows: int) -> State:
        """The state before the first word, from features (pictures, regions, feature_size)."""
        found = self._named(self._start, self._start_names, {"features": features.contiguous().numpy()})
        first = {name: tensor.expand(-1, rows, -1) for name, tensor in _under("rows.", found).items()}
        return State(first, _under("picture.", found))

    def embed(self, words: Tensor) -> Tensor:
        """Word ids (pictures, rows[, time]), as they are: the graph looks them up."""
        return words

    def step(self, inputs: Tensor, state: State) -> Said:
        """One word further: word ids (pictures, rows)."""
        feed = {"words": inputs.contiguous().numpy()}
        for kind, tensors in (("rows", state.rows), ("picture", state.picture)):
            feed |= {f"{kind}.{name}": tensor.contiguous().numpy() for name, tensor in tensors.items()}
        found = self._named(self._step, self._step_names, feed)
        gates = _under("gate.", found)
        return Said(
            output=found["logits"],
            state=State(_under("next.", found), state.picture),
            gates=Gates(gates.get("forget"), gates.get("input"), gates["candidate"], gates.get("output")),
            weights=found.get("attention"),
        )

    def score(self, output: Tensor) -> Tensor:
        """Logits (..., vocabulary), which the graph has computed already."""
        return output

    def _named(self, session: Any, names: Sequence[str], feed: dict[str, NDArray[Any]]) -> dict[str, Tensor]:
        return dict(zip(names, map(torch.from_numpy, session.run(names, feed)), strict=True))


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            "An exported model needs onnxruntime, which is not installed; pip install 'captioner[onnx]'."
        ) from error
    return onnxruntime


def _session(runtime: Any, graph: bytes) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that wait by spinning would take the processors from PyTorch's.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no base
        raise CheckpointError(f"A graph of the exported model cannot be read: {error}; export it again.") from error
