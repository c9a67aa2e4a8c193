"""Self-critical training: what is drawn, which way its gradient points, and that a run learns, divides and resumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from captioner.config import SearchConfig
from captioner.data.batches import Captions
from captioner.model.captioning import CaptioningModel
from captioner.model.checkpoint import load_checkpoint
from captioner.text.vocabulary import END, NEVER_SAID, PADDING, START
from captioner.training import learner
from captioner.training.events import MemoryShort, StepSkipped
from captioner.training.loop import fit
from captioner.training.noise import Noise
from captioner.training.objectives import draw_captions, self_critical, teacher_forcing
from captioner.training.reward import Reward
from tests.conftest import tiny_model
from tests.training import begin, evaluations, losses, model_to_train, some_pictures, train


def model_to_criticise(**settings: object) -> CaptioningModel:
    return model_to_train(**{"objective": "self_critical", "samples": 3, "average_decay": 0.9, **settings})


def features_of(model: CaptioningModel, pictures: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(pictures, model.encoder.regions, model.encoder.feature_size, generator=generator)


def log_probabilities(model: CaptioningModel, features: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """Of each of these words (pictures, rows, time) after those before it; 0 for padding."""
    inputs = torch.cat([torch.full_like(words[..., :1], START), words[..., :-1]], dim=-1)
    logits = model.decoder.score(teacher_forcing(model.decoder, features, inputs))
    logits[..., list(NEVER_SAID)] = -torch.inf
    said = logits.log_softmax(-1).gather(-1, words.unsqueeze(-1)).squeeze(-1)
    return said.masked_fill(words == PADDING, 0.0)


def placed(pictures: int) -> Noise:
    noise = Noise(0)
    noise.place(step=0, first=0, pictures=pictures)
    return noise


def test_drawn_captions_are_words_one_end_and_padding_of_at_most_the_length_allowed() -> None:
    model = tiny_model()
    words = draw_captions(model.decoder, features_of(model, 4), samples=6, max_length=5, noise=placed(4)).words
    assert words.shape[:2] == (4, 6)
    assert words.shape[2] <= 6
    lengths = set()
    for ids in words.reshape(24, -1).tolist():
        said = ids[: ids.index(END)] if END in ids else ids
        lengths.add(len(said))
        assert not set(said) & set(NEVER_SAID)
        assert set(ids[len(said) + 1 :]) <= {PADDING}
    assert len(lengths) > 1


def test_log_probabilities_are_those_of_teacher_forcing_over_what_was_drawn() -> None:
    model = tiny_model(dropout=0.0)
    features = features_of(model, 2)
    drawn = draw_captions(model.decoder, features, samples=3, max_length=5, noise=placed(2))
    torch.testing.assert_close(drawn.log_probabilities, log_probabilities(model, features, drawn.words))


def test_words_are_drawn_as_often_as_they_are_likely() -> None:
    """A model that says word 5 with three times the probability of word 6, whatever it sees, and nothing else."""
    model = tiny_model(dropout=0.0)
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.zero_()
        model.decoder.output_bias[:] = -100.0
        model.decoder.output_bias[5], model.decoder.output_bias[6] = np.log(3), 0.0
        drawn = draw_captions(model.decoder, features_of(model, 2), samples=2000, max_length=1, noise=placed(2))
    share = (drawn.words == 5).float().mean()
    assert float(share) == pytest.approx(0.75, abs=0.02)


def test_the_loss_is_minus_the_advantage_over_the_other_captions_times_the_log_probability() -> None:
    model = tiny_model(dropout=0.0)
    features = features_of(model, 1)
    drawn = draw_captions(model.decoder, features, samples=3, max_length=5, noise=placed(1))
    given = np.array([[1.0, 2.0, 6.0]])
    loss = self_critical(model.decoder, features, lambda _captions: given, samples=3, max_length=5, noise=placed(1))
    advantages = [1.0 - 4.0, 2.0 - 3.5, 6.0 - 1.5]
    sums = drawn.log_probabilities.sum(dim=-1)[0].tolist()
    by_hand = -sum(advantage * total for advantage, total in zip(advantages, sums, strict=True))
    assert loss.total.item() == pytest.approx(by_hand, rel=1e-5)
    assert loss.words == int((drawn.words != PADDING).sum())
    assert loss.reward == pytest.approx(3.0)


def test_a_caption_better_than_the_others_becomes_likelier_and_a_worse_one_less_likely() -> None:
    model = tiny_model(dropout=0.0)
    features = features_of(model, 1)
    drawn = draw_captions(model.decoder, features, samples=2, max_length=5, noise=placed(1))
    loss = self_critical(
        model.decoder, features, lambda _: np.array([[0.0, 1.0]]), samples=2, max_length=5, noise=placed(1)
    )
    loss.total.backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            if parameter.grad is not None:
                parameter -= 1e-3 * parameter.grad
        after = log_probabilities(model, features, drawn.words)
    worse, better = (after - drawn.log_probabilities).sum(dim=-1)[0].tolist()
    assert worse < 0 < better


def test_captions_that_are_all_as_good_teach_nothing() -> None:
    model = tiny_model()

    def all_alike(captions: Captions) -> np.ndarray:
        return np.full((len(captions), 4), 0.7)

    loss = self_critical(model.decoder, features_of(model, 2), all_alike, samples=4, max_length=5, noise=placed(2))
    loss.total.backward()  # type: ignore[no-untyped-call]
    assert all(float(p.grad.abs().max()) < 1e-5 for p in model.decoder.parameters() if p.grad is not None)


def test_a_run_raises_the_reward_and_the_development_score(tmp_path: Path) -> None:
    """From a little cross-entropy on, as with `--from`: three kinds of pictures, each with a sentence of its own."""
    train(model_to_train(epochs=4), tmp_path / "first")
    old = load_checkpoint(tmp_path / "first" / "best")
    old.config = replace(model_to_criticise(epochs=10, samples=8, learning_rate=0.02).config, search=SearchConfig())
    events = train(old, tmp_path / "second", evaluate_first=True)
    told = losses(events)
    assert np.mean(told[-6:]) > np.mean(told[:6]) + 10
    scores = evaluations(events)
    assert scores[-1].cider_d > scores[0].cider_d + 10
    assert scores[0].reward is None
    assert all(each.loss is None and each.reward is not None for each in scores[1:])


def test_a_batch_computed_in_parts_or_with_short_memory_gives_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout; and each part draws the captions that it would draw in the whole."""
    whole = losses(train(model_to_criticise(epochs=1), tmp_path / "whole"))
    assert losses(train(model_to_criticise(epochs=1, pictures_at_once=3), tmp_path / "parts")) == pytest.approx(whole)
    compute = learner.self_critical

    def fits_one(decoder, features, judge, **options):  # type: ignore[no-untyped-def]
        if len(features) > 1:
            raise MemoryError
        return compute(decoder, features, judge, **options)

    monkeypatch.setattr(learner, "self_critical", fits_one)
    events = train(model_to_criticise(epochs=1), tmp_path / "short")
    assert [event for event in events if isinstance(event, MemoryShort)] == [MemoryShort(1)]
    assert losses(events) == pytest.approx(whole)


def test_a_run_that_dies_goes_on_bit_for_bit_with_the_last_blocks_of_the_cnn_too(tmp_path: Path) -> None:
    tuned = {"epochs": 1, "tuned_blocks": 1, "encoder_learning_rate": 0.001}
    whole = losses(train(model_to_criticise(**tuned), tmp_path / "whole"))
    begin(model_to_criticise(**tuned, save_seconds=1e-6), tmp_path / "died", after=4)
    events = train(model_to_criticise(**tuned), tmp_path / "died", resume=True)
    assert losses(events) == whole[-len(losses(events)) :]
    assert len(losses(events)) < len(whole)
    models = [(tmp_path / run / "best" / "model.safetensors").read_bytes() for run in ("whole", "died")]
    assert models[0] == models[1]


def test_a_batch_that_cannot_be_learnt_is_skipped(tmp_path: Path) -> None:
    model = model_to_criticise(epochs=1, max_skipped=100)
    with torch.no_grad():
        model.decoder.output_bias[5] = torch.nan
    events = list(fit(model, some_pictures(model, 22, 2), some_pictures(model, 6, 1), folder=tmp_path))
    assert sum(isinstance(event, StepSkipped) for event in events) == 6


def test_the_reward_is_told_which_pictures_are_mirror_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []

    judge = Reward.of

    def spy(*given: Any, mirrored: NDArray[np.bool_]) -> NDArray[np.float64]:
        told.extend(mirrored.tolist())
        return judge(*given, mirrored=mirrored)

    monkeypatch.setattr(Reward, "of", spy)
    train(model_to_criticise(epochs=1), tmp_path)
    assert len(told) == 22
    assert set(told) == {True, False}
