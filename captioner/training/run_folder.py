"""The folder of a run.

    recipe.json        every setting
    environment.json   versions and machine
    metrics.jsonl      one object per evaluation
    state.pt           all that `resume` needs
    best/              the checkpoint with the best development CIDEr-D so far

Each is there whole or not at all, but for `metrics.jsonl`, which grows by whole lines and is brought in line with the
state when a run goes on.
"""

from __future__ import annotations

import contextlib
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
import transformers

from captioner.config import to_dict
from captioner.durable import Growing, write_whole
from captioner.model.captioning import CaptioningModel
from captioner.model.checkpoint import load_checkpoint, save_checkpoint
from captioner.model.hub import find_model
from captioner.training.run_state import RunState, take_average


class RunFolder:
    """A run's folder, open for one run at a time; close it, or use it in a `with` block."""

    def __init__(self, folder: Path, state: RunState, *, device: torch.device) -> None:
        """Write down what the run is and where it stands.

        Raises DataError when the folder cannot be written, or another process is training into it.
        """
        self.folder = folder
        with contextlib.suppress(OSError):  # the first file will tell
            folder.mkdir(parents=True, exist_ok=True)
        self._metrics = Growing(folder / "metrics.jsonl", fresh=True)
        try:
            if lines := [_line(record) for record in state.progress.evaluations]:
                self._metrics.append(b"".join(lines))
            write_whole(folder / "recipe.json", json.dumps(to_dict(state.config), indent=2))
            write_whole(folder / "environment.json", json.dumps(_environment(device), indent=2))
            self.save(state)
        except BaseException:
            self._metrics.close()
            raise

    def save(self, state: RunState) -> None:
        """Write the state. Raises DataError when it cannot be written."""
        state.save(state_file(self.folder))

    def record_evaluation(self, state: RunState) -> None:
        """Write the state and the evaluation that was its last."""
        self.save(state)
        self._metrics.append(_line(state.progress.evaluations[-1]))

    def keep_best(self, model: CaptioningModel) -> None:
        """Make `best/` this model. Raises CheckpointError when it cannot be written."""
        save_checkpoint(model, self.folder / "best")

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self._metrics.close()


def state_file(folder: Path) -> Path:
    """Where the state of the run in `folder` is kept."""
    return folder / "state.pt"


def last_model(folder: Path) -> CaptioningModel:
    """The model of the run in `folder` as it is where the run stands, whether or not that is its best.

    Raises CheckpointError or TrainingError when the folder is damaged.
    """
    model = load_checkpoint(folder / "best")
    take_average(model, state_file(folder))
    return model


def model_or_end(name: str) -> CaptioningModel:
    """A model by its name, as `find_model` takes it; the folder of a run stands for that run's `last_model`."""
    folder = Path(name)
    return last_model(folder) if state_file(folder).exists() else load_checkpoint(find_model(name).folder)


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"


def _environment(device: torch.device) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "transformers": transformers.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
    }
