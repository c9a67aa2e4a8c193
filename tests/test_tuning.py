"""Training the last blocks of the CNN too: only they change, what is kept is the average, and a run goes on alike."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from captioner.model.captioning import CaptioningModel
from captioner.model.checkpoint import load_checkpoint
from captioner.model.last_blocks import split_encoder
from captioner.training import learner
from captioner.training.development import Development
from captioner.training.events import MemoryShort, StepSkipped
from captioner.training.loop import fit
from captioner.training.processes import ALONE
from captioner.training.run_folder import last_model, model_or_end, state_file
from captioner.training.run_state import Learning
from pipelines.average import average
from tests.training import begin, evaluations, losses, model_to_train, some_pictures, train

LAST_TWO = ("classifier.blocks.6.", "classifier.conv_head.", "classifier.bn2.")
"""The tensors of the last two blocks of EfficientNet-Lite: a residual block, and a convolution with its norm."""


def model_to_tune(**settings: object) -> CaptioningModel:
    return model_to_train(**{"tuned_blocks": 2, "encoder_learning_rate": 0.003, "average_decay": 0.9, **settings})


def changed(model: CaptioningModel, before: dict[str, Tensor]) -> set[str]:
    """The names of the encoder's weights and statistics that are not what they were."""
    after = model.encoder.network.state_dict()
    return {name for name in after if not torch.equal(after[name], before[name])}


def test_only_the_last_blocks_learn_and_the_loss_falls(tmp_path: Path) -> None:
    """The decoder is held still, so that what the loss loses is the CNN's doing."""
    model = model_to_tune(learning_rate=0.0, encoder_learning_rate=0.001, epochs=4)
    before = copy.deepcopy(model.encoder.network.state_dict())
    learning = {name for name, _ in model.encoder.network.named_parameters() if name.startswith(LAST_TWO)}
    scores = evaluations(train(model, tmp_path, evaluate_first=True))
    assert scores[-1].loss < scores[1].loss - 0.02
    assert changed(model, before) == learning
    assert scores[0].loss is None
    best = load_checkpoint(tmp_path / "best")
    assert changed(best, before) in (learning, set())  # the CNN it began with may have been the best


def test_what_a_tuned_run_begins_with_is_measured_and_kept_if_nothing_better_comes(tmp_path: Path) -> None:
    model = model_to_tune(learning_rate=0.0, encoder_learning_rate=0.0, epochs=1)
    fingerprint = model.encoder.fingerprint()
    first, last = evaluations(train(model, tmp_path, evaluate_first=True))
    assert (first.step, first.best, last.best) == (0, True, False)
    assert load_checkpoint(tmp_path / "best").encoder.fingerprint() == fingerprint


def test_the_learning_rate_of_the_blocks_is_their_own(tmp_path: Path) -> None:
    model = model_to_tune(encoder_learning_rate=0.0, epochs=1)
    fingerprint, bias = model.encoder.fingerprint(), model.decoder.output_bias.detach().clone()
    train(model, tmp_path)
    assert model.encoder.fingerprint() == fingerprint
    assert not torch.equal(model.decoder.output_bias, bias)


def test_without_tuned_blocks_the_encoder_stays_and_is_not_stored(tmp_path: Path) -> None:
    model = model_to_train(epochs=1, encoder_learning_rate=1.0)
    fingerprint = model.encoder.fingerprint()
    train(model, tmp_path)
    best = load_checkpoint(tmp_path / "best")
    assert fingerprint == model.encoder.fingerprint() == best.encoder.fingerprint()
    assert best.config.encoder.weights == "packaged"
    assert (tmp_path / "best" / "model.safetensors").stat().st_size < 3e6


def test_the_average_is_kept_with_its_encoder_and_captions_as_it_was_measured(tmp_path: Path) -> None:
    """The loaded model, looking through its own CNN, says what was said when it was found the best."""
    model = model_to_tune(epochs=4)
    [*_, measured] = [event for event in evaluations(train(model, tmp_path)) if event.best]
    best = load_checkpoint(tmp_path / "best")
    assert best.config.encoder.weights == "tuned"
    assert best.encoder.fingerprint() != model.encoder.fingerprint()  # it is the average that is kept
    development = Development(some_pictures(model, 6, 1), best.vocabulary)
    assert development.score(best, split_encoder(best.encoder, 2).last, ALONE).examples == measured.examples


def test_the_end_of_a_run_can_be_averaged_with_its_best(tmp_path: Path) -> None:
    train(model_to_tune(epochs=2), tmp_path / "run")
    last, best = last_model(tmp_path / "run"), load_checkpoint(tmp_path / "run" / "best")
    at_end = torch.load(state_file(tmp_path / "run"), weights_only=True)["average"]
    assert all(torch.equal(tensor, at_end[name]) for name, tensor in Learning(last).state_dict().items())
    assert torch.equal(model_or_end(str(tmp_path / "run")).decoder.output_bias, last.decoder.output_bias)
    assert not torch.equal(last.decoder.output_bias, best.decoder.output_bias)
    average([str(tmp_path / "run" / "best"), str(tmp_path / "run")], tmp_path / "mean")
    mean = (last.decoder.output_bias + best.decoder.output_bias) / 2
    torch.testing.assert_close(load_checkpoint(tmp_path / "mean").decoder.output_bias, mean)


def test_a_tuned_model_can_be_trained_further_and_keeps_its_encoder(tmp_path: Path) -> None:
    train(model_to_tune(epochs=1), tmp_path / "tuned")
    tuned = load_checkpoint(tmp_path / "tuned" / "best")
    fingerprint = tuned.encoder.fingerprint()
    tuned.config = model_to_train(epochs=1).config
    tuned.config = replace(tuned.config, encoder=replace(tuned.config.encoder, weights="tuned"))
    train(tuned, tmp_path / "further")
    assert load_checkpoint(tmp_path / "further" / "best").encoder.fingerprint() == fingerprint


def test_a_tuned_run_that_dies_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = losses(train(model_to_tune(epochs=2), tmp_path / "whole"))
    begin(model_to_tune(epochs=2, save_seconds=1e-6), tmp_path / "died", after=9)
    assert losses(train(model_to_tune(epochs=2), tmp_path / "died", resume=True)) == whole[8:]
    for part in ("weights", "average"):
        one, other = (torch.load(tmp_path / run / "state.pt", weights_only=True)[part] for run in ("whole", "died"))
        assert any(name.startswith("last_blocks.") for name in one)
        assert all(torch.equal(one[name], other[name]) for name in one)
    models = [(tmp_path / run / "best" / "model.safetensors").read_bytes() for run in ("whole", "died")]
    assert models[0] == models[1]


def test_a_batch_that_cannot_be_learnt_leaves_the_encoder_alone(tmp_path: Path) -> None:
    model = model_to_tune(epochs=1, max_skipped=100)
    fingerprint = model.encoder.fingerprint()
    with torch.no_grad():
        model.decoder.output_bias[5] = torch.nan
    events = list(fit(model, some_pictures(model, 22, 2), some_pictures(model, 6, 1), folder=tmp_path))
    assert sum(isinstance(event, StepSkipped) for event in events) == 6
    assert model.encoder.fingerprint() == fingerprint


def test_when_memory_is_short_the_tuned_run_stays_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last blocks' own work counts: a part is tried again with half the pictures."""
    enough = losses(train(model_to_tune(epochs=1), tmp_path / "enough"))
    compute = learner.cross_entropy

    def fits_one(decoder, features, words, **options):  # type: ignore[no-untyped-def]
        if len(features) > 1:
            raise MemoryError
        return compute(decoder, features, words, **options)

    monkeypatch.setattr(learner, "cross_entropy", fits_one)
    events = train(model_to_tune(epochs=1), tmp_path / "short")
    assert [event for event in events if isinstance(event, MemoryShort)] == [MemoryShort(1)]
    assert losses(events) == pytest.approx(enough, rel=1e-4)
