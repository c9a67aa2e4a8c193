"""Training: it learns, it goes on as if nothing had happened, it stops with a sentence."""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from captioner.config import SearchConfig
from captioner.errors import DataError, TrainingError
from captioner.model.checkpoint import load_checkpoint
from captioner.training.events import StepDone, StepSkipped
from captioner.training.loop import Interrupted, fit
from captioner.training.run_state import RunState
from tests.conftest import SENTENCES
from tests.training import begin, evaluations, losses, model_to_train, some_pictures, train


def test_it_learns_to_tell_three_pictures_apart(tmp_path: Path) -> None:
    model = model_to_train(epochs=40, average_decay=0.9, label_smoothing=0.0, patience=40)
    scores = evaluations(train(model, tmp_path))
    assert scores[-1].loss < 0.25 * scores[0].loss
    assert scores[-1].bleu_4 > 90
    best = load_checkpoint(tmp_path / "best")
    features = torch.from_numpy(some_pictures(model, 6, 1).features.read(np.array([1])))
    [[caption]] = best.search(features, SearchConfig(beam_width=1))
    assert " ".join(best.vocabulary.decode(caption.words)) == SENTENCES[1]


def test_a_run_leaves_its_recipe_environment_and_metrics(tmp_path: Path) -> None:
    train(model_to_train(), tmp_path)
    metrics = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in metrics] == [(1, 6), (2, 12), (3, 18)]
    assert json.loads((tmp_path / "recipe.json").read_text())["training"]["epochs"] == 3
    assert json.loads((tmp_path / "environment.json").read_text())["torch"] == torch.__version__


@pytest.mark.parametrize("stop_after", [1, 6, 9])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_resumes_bit_for_bit(tmp_path: Path, stop_after: int, number: int) -> None:
    """Ctrl-C or SIGTERM after any step, then --resume: the losses are those of the run that was never stopped."""
    settings = {"scheduled_sampling": 0.5}
    whole = losses(train(model_to_train(**settings), tmp_path / "whole"))
    with pytest.raises(Interrupted, match="--resume"):
        begin(model_to_train(**settings), tmp_path / "stopped", then=number, after=stop_after)
    after = losses(train(model_to_train(**settings), tmp_path / "stopped", resume=True))
    assert after == whole[stop_after:]
    assert_same_result(tmp_path / "stopped", tmp_path / "whole")


@pytest.mark.parametrize("save_seconds", [0.0, 300.0])
def test_a_run_that_dies_goes_on_from_its_last_state_bit_for_bit(tmp_path: Path, save_seconds: float) -> None:
    """States are saved at every step, or only after evaluations: what follows them is learnt again, alike."""
    whole = losses(train(model_to_train(), tmp_path / "whole"))
    begin(model_to_train(save_seconds=save_seconds), tmp_path / "died", after=9)
    # The state is saved after a step was told: the ninth, or else the sixth, which ended an epoch.
    again = losses(train(model_to_train(save_seconds=save_seconds), tmp_path / "died", resume=True))
    assert again == whole[8 if save_seconds == 0 else 6 :]
    assert_same_result(tmp_path / "died", tmp_path / "whole")


def test_a_run_that_dies_before_its_first_step_begins_again(tmp_path: Path) -> None:
    whole = losses(train(model_to_train(), tmp_path / "whole"))
    assert losses(train(model_to_train(), tmp_path / "new", resume=True)) == whole
    begin(model_to_train(), tmp_path / "died", after=1)
    assert losses(train(model_to_train(), tmp_path / "died", resume=True)) == whole


def test_metrics_are_those_of_the_state_however_the_run_ended(tmp_path: Path) -> None:
    """Torn by a crash, doubled by hand: a run that goes on brings them in line."""
    begin(model_to_train(), tmp_path, after=13)
    metrics = tmp_path / "metrics.jsonl"
    whole = metrics.read_text()
    metrics.write_text(f'{whole}{whole}{{"epoch": 3.0, "ste')
    begin(model_to_train(), tmp_path, after=1, resume=True)
    assert metrics.read_text() == whole
    assert len(whole.splitlines()) == 2


def assert_same_result(one: Path, other: Path) -> None:
    """The same weights to the last bit and the same figures, but for the time they took."""
    states = [torch.load(folder / "state.pt", weights_only=True) for folder in (one, other)]
    for name, tensor in states[0]["average"].items():
        assert torch.equal(tensor, states[1]["average"][name]), name
    assert (one / "best" / "model.safetensors").read_bytes() == (other / "best" / "model.safetensors").read_bytes()
    figures = [
        [
            {name: value for name, value in json.loads(line).items() if "second" not in name}
            for line in (folder / "metrics.jsonl").read_text().splitlines()
        ]
        for folder in (one, other)
    ]
    assert figures[0] == figures[1]


def test_ctrl_c_works_as_before_once_training_is_over(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    train(model_to_train(epochs=1), tmp_path)
    assert signal.getsignal(signal.SIGINT) is handler


def test_another_recipe_or_other_weights_to_begin_with_cannot_go_on(tmp_path: Path) -> None:
    train(model_to_train(), tmp_path)
    with pytest.raises(TrainingError, match="its own recipe, collection and --from"):
        train(model_to_train(learning_rate=0.5), tmp_path, resume=True)
    other = model_to_train()
    with torch.no_grad():
        other.decoder.output_bias += 1
    with pytest.raises(TrainingError, match="its own recipe, collection and --from"):
        train(other, tmp_path, resume=True)


@pytest.mark.parametrize("which", [0, 1], ids=["training", "development"])
@pytest.mark.parametrize("changed", ["captions", "pictures"])
def test_another_collection_cannot_go_on(tmp_path: Path, which: int, changed: str) -> None:
    model = model_to_train(epochs=1)
    collection = [some_pictures(model, 22, 2), some_pictures(model, 6, 1)]
    list(fit(model, *collection, folder=tmp_path))
    if changed == "captions":
        collection[which].captions[3] = ["a zebra runs"]
    else:
        collection[which].features.pictures = "another"
    with pytest.raises(TrainingError, match="its own recipe, collection and --from"):
        list(fit(model_to_train(epochs=1), *collection, folder=tmp_path, resume=True))


def test_how_a_batch_is_computed_may_change_when_a_run_goes_on(tmp_path: Path) -> None:
    begin(model_to_train(), tmp_path, after=7)
    assert len(losses(train(model_to_train(pictures_at_once=2, save_seconds=1.0), tmp_path, resume=True))) == 12


def test_a_damaged_state_is_one_sentence(tmp_path: Path) -> None:
    train(model_to_train(epochs=1), tmp_path)
    state = (tmp_path / "state.pt").read_bytes()
    (tmp_path / "state.pt").write_bytes(state[: len(state) // 2])
    with pytest.raises(TrainingError, match="is damaged"):
        train(model_to_train(epochs=1), tmp_path, resume=True)


def test_a_model_made_ready_for_captioning_is_not_trained(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="made ready for captioning; begin from `load_checkpoint"):
        train(model_to_train().for_inference(), tmp_path)


def test_two_runs_never_train_into_one_folder(tmp_path: Path) -> None:
    model = model_to_train()
    first = fit(model, some_pictures(model, 22, 2), some_pictures(model, 6, 1), folder=tmp_path)
    next(first)
    with pytest.raises(DataError, match="Only one process at a time"):
        train(model_to_train(), tmp_path, resume=True)
    first.close()
    train(model_to_train(), tmp_path, resume=True)


def test_it_stops_early_when_the_development_score_no_longer_rises(tmp_path: Path) -> None:
    events = train(model_to_train(epochs=50, learning_rate=0.0, patience=2), tmp_path)
    assert [event.best for event in evaluations(events)] == [True, False, False]


def test_what_a_run_begins_with_is_measured_and_kept_if_nothing_better_comes(tmp_path: Path) -> None:
    model = model_to_train(learning_rate=0.0, epochs=1)
    before = model.decoder.output_bias.detach().clone()
    first, last = evaluations(train(model, tmp_path, evaluate_first=True))
    assert (first.step, first.loss, first.best, last.best) == (0, None, True, False)
    assert torch.equal(load_checkpoint(tmp_path / "best").decoder.output_bias, before)


def test_of_one_development_picture_whose_cider_is_always_0_bleu_chooses_the_best(tmp_path: Path) -> None:
    model = model_to_train(epochs=20, patience=20)
    pictures, one = some_pictures(model, 22, 2), some_pictures(model, 1, 1)
    first, *later = evaluations(list(fit(model, pictures, one, folder=tmp_path, evaluate_first=True)))
    best = max((first, *later), key=lambda event: event.bleu_4)
    assert {event.cider_d for event in (first, *later)} == {0.0}
    assert best.bleu_4 > first.bleu_4
    assert best.best


def test_a_batch_that_cannot_be_learnt_is_skipped_counted_and_named(tmp_path: Path) -> None:
    """One picture has features that are no numbers: its batch changes nothing, once an epoch."""
    model = model_to_train()
    pictures = some_pictures(model, 22, 2)
    pictures.features._parts[0][7] = np.nan
    events = list(fit(model, pictures, some_pictures(model, 6, 1), folder=tmp_path))
    skipped = [event for event in events if isinstance(event, StepSkipped)]
    assert len(skipped) == 3
    assert all("7.jpg" in event.pictures and len(event.pictures) <= 4 for event in skipped)
    assert [event.skipped for event in evaluations(events)] == [1, 1, 1]
    assert all(bool(weights.isfinite().all()) for weights in model.decoder.parameters())


@pytest.mark.parametrize("level", [math.nan, 1000.0])
def test_when_batch_after_batch_cannot_be_learnt_the_run_stops_with_the_weights_before_them(
    tmp_path: Path, level: float
) -> None:
    """The loss becomes not a number, or explodes: what is kept is the state before."""
    model = model_to_train()
    events = fit(model, some_pictures(model, 22, 2), some_pictures(model, 6, 1), folder=tmp_path)
    while not (isinstance(event := next(events), StepDone) and event.step == 8):
        pass
    learnt = model.decoder.output.weight.detach().clone()
    with torch.no_grad():
        model.decoder.output_bias[5] = level
    with pytest.raises(TrainingError, match=r"5 batches in a row could not be learnt .*\d+\.jpg"):
        list(events)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["progress"]["step"] == 13
    assert torch.equal(state["weights"]["decoder.output.weight"], learnt)


def test_a_full_disk_stops_the_run_with_a_sentence_and_costs_no_earlier_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(model_to_train(), tmp_path, after=7)
    before = (tmp_path / "state.pt").read_bytes()

    def no_room(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(DataError, match="make room"):
        train(model_to_train(), tmp_path, resume=True)
    monkeypatch.undo()
    assert (tmp_path / "state.pt").read_bytes() == before
    assert len(losses(train(model_to_train(), tmp_path, resume=True))) == 12


def test_a_state_that_cannot_be_written_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full from the second evaluation on: `best/` is whole, and the run goes on from the first."""
    saves = 0
    save = RunState.save

    def save_twice(state: RunState, path: Path) -> None:
        nonlocal saves
        saves += 1
        if saves > 2:  # at the beginning, and after the first epoch
            raise DataError("the disk is full")
        save(state, path)

    monkeypatch.setattr(RunState, "save", save_twice)
    with pytest.raises(DataError, match="full"):
        train(model_to_train(), tmp_path)
    monkeypatch.undo()
    load_checkpoint(tmp_path / "best")
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1
    assert len(losses(train(model_to_train(), tmp_path, resume=True))) == 12
