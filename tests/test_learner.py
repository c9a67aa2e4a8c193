"""One step: however a batch is divided, the gradient is that of the whole, and memory that runs out costs nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from captioner.errors import TrainingError
from captioner.training import learner
from captioner.training.events import MemoryShort
from captioner.training.learner import uses_bf16
from tests.training import evaluations, losses, model_to_train, train

DROPOUT_AND_OWN_WORDS = {"scheduled_sampling": 0.5, "epochs": 2}


def test_a_batch_computed_in_parts_gives_the_same_run(tmp_path: Path) -> None:
    """With dropout and the model's own words: chance falls on each picture alike."""
    whole = train(model_to_train(**DROPOUT_AND_OWN_WORDS), tmp_path / "whole")
    parts = train(model_to_train(**DROPOUT_AND_OWN_WORDS, pictures_at_once=3), tmp_path / "parts")
    assert losses(parts) == pytest.approx(losses(whole), rel=1e-5)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        MemoryError(),
    ],
    ids=["gpu", "cpu", "numpy"],
)
def test_when_memory_runs_out_the_batch_is_halved_until_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Only one picture fits: the first batch is tried with 4, 2 and 1, and the run stays the same."""
    enough = losses(train(model_to_train(epochs=1), tmp_path / "enough"))
    compute = learner.cross_entropy

    def fits_one(decoder, features, words, **options):  # type: ignore[no-untyped-def]
        if len(features) > 1:
            raise error
        return compute(decoder, features, words, **options)

    monkeypatch.setattr(learner, "cross_entropy", fits_one)
    events = train(model_to_train(epochs=1), tmp_path / "short")
    assert [event for event in events if isinstance(event, MemoryShort)] == [MemoryShort(1)]
    assert losses(events) == pytest.approx(enough, rel=1e-5)
    assert evaluations(events)[0].skipped == 0


def test_when_not_even_one_picture_fits_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fits_none(*_arguments: object, **_options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(learner, "cross_entropy", fits_none)
    with pytest.raises(TrainingError, match="at least one picture"):
        train(model_to_train(), tmp_path)


def test_other_errors_are_not_taken_for_short_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(learner, "cross_entropy", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        train(model_to_train(), tmp_path)


def test_mixed_precision_learns_nearly_the_same(tmp_path: Path) -> None:
    exact = losses(train(model_to_train(), tmp_path / "exact"))
    mixed = losses(train(model_to_train(bf16="always"), tmp_path / "mixed"))
    assert mixed == pytest.approx(exact, rel=0.03)
    assert mixed != exact
    settings = model_to_train(bf16="never").config.training
    assert not uses_bf16(settings, torch.device("cpu"))
