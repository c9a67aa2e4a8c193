"""A run's folder: whatever fails or dies while it is written, what is there is whole, and the run goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from captioner.errors import DataError
from captioner.model.captioning import CaptioningModel
from captioner.training.run_folder import RunFolder, state_file
from captioner.training.run_state import RunState
from tests.faults import Kind, every_fault
from tests.training import model_to_train

CPU = torch.device("cpu")


def state_of(model: CaptioningModel) -> RunState:
    return RunState(model, model.config.training, steps=10, identity="the same")


def evaluate(files: RunFolder, state: RunState, step: int) -> None:
    """As after an evaluation that was the best so far: the weights and the record carry the step's number."""
    with torch.no_grad():
        state.averaged.decoder.output_bias.fill_(step)
    state.progress.step = step
    state.progress.evaluations.append({"step": step})
    files.keep_best(state.averaged)
    files.record_evaluation(state)


def best_of(folder: Path) -> float:
    """Which evaluation's weights are in `best/`, whose files agree with its manifest."""
    for name, digest in json.loads((folder / "best" / "manifest.json").read_text()).items():
        assert hashlib.sha256((folder / "best" / name).read_bytes()).hexdigest() == digest
    return float(load_file(folder / "best" / "model.safetensors")["decoder.output_bias"][0])


@pytest.mark.parametrize("kind", ["death", "full", "error"])
def test_a_fault_at_any_call_to_the_file_system_leaves_old_or_new_and_never_a_part(
    tmp_path: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second evaluation is written with a fault at each call in turn; then the run goes on without one."""
    model = model_to_train()
    monkeypatch.setattr(model.encoder, "fingerprint", lambda: "takes long")
    state = state_of(model)
    with RunFolder(tmp_path / "begun", state, device=CPU) as files:
        evaluate(files, state, 1)
    for number, fault in enumerate(every_fault(kind)):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "begun", folder)
        state.load(state_file(folder))
        with RunFolder(folder, state, device=CPU) as files, fault:
            evaluate(files, state, 2)
        state.load(state_file(folder))
        assert state.progress.step in (1, 2)
        steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().split("\n")[:-1]]
        assert steps in ([1], [1, 2])
        # Only a death between two renames leaves no model under its name, and then the run's state is the old one.
        assert best_of(folder) in (1, 2) if (folder / "best").exists() else (kind, state.progress.step) == ("death", 1)
        with RunFolder(folder, state, device=CPU) as files:
            if state.progress.step == 1:
                evaluate(files, state, 2)
        assert best_of(folder) == 2
        assert (folder / "metrics.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n'
        assert not list(folder.rglob("*.unfinished"))


def test_a_fault_while_a_run_begins_costs_nothing(tmp_path: Path) -> None:
    state = state_of(model_to_train())
    for number, fault in enumerate(every_fault("death")):
        folder = tmp_path / str(number)
        with fault, RunFolder(folder, state, device=CPU):
            pass
        with RunFolder(folder, state, device=CPU):
            assert state_file(folder).exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        RunFolder(tmp_path / "file" / "run", state_of(model_to_train()), device=CPU)
