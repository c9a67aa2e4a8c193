"""Training: it learns, it resumes as if nothing had happened, it stops with a sentence."""

from __future__ import annotations

import json
import math
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from captioner.config import SearchConfig
from captioner.data.batches import pad
from captioner.errors import TrainingError
from captioner.model.captioning import CaptioningModel
from captioner.model.checkpoint import load_checkpoint
from captioner.text.vocabulary import PADDING
from captioner.training.loop import CaptionedFeatures, EpochDone, Interrupted, StepDone, fit
from captioner.training.objectives import cross_entropy, teacher_forcing
from tests.conftest import SENTENCES, tiny_model


def model_to_train(**settings: object) -> CaptioningModel:
    model = tiny_model()
    chosen = {"epochs": 3, "pictures_per_batch": 4, "learning_rate": 0.01, "warmup_steps": 2, "bf16": "never"}
    training = replace(model.config.training, **{**chosen, **settings})  # type: ignore[arg-type]
    model.config = replace(model.config, training=training)
    return model


def some_pictures(model: CaptioningModel, count: int, views: int) -> CaptionedFeatures:
    """Pictures whose features are random but tell which of the sentences is theirs."""
    random = np.random.default_rng(count)
    features = random.random((count, views, model.encoder.regions, model.encoder.feature_size)).astype(np.float16)
    captions = []
    for picture in range(count):
        features[picture, :, :, 100 * (picture % 3) : 100 * (picture % 3) + 100] += 3
        captions.append([SENTENCES[picture % 3], SENTENCES[picture % 3]])
    return CaptionedFeatures(features, captions)


def run(model: CaptioningModel, folder: Path, **options: bool) -> list[StepDone | EpochDone]:
    return list(fit(model, some_pictures(model, 22, 2), some_pictures(model, 6, 1), folder=folder, **options))


def losses(events: list[StepDone | EpochDone]) -> list[float]:
    return [event.loss for event in events if isinstance(event, StepDone)]


def test_it_learns_to_tell_three_pictures_apart(tmp_path: Path) -> None:
    model = model_to_train(epochs=40, average_decay=0.9, label_smoothing=0.0, patience=40)
    events = run(model, tmp_path)
    epochs = [event for event in events if isinstance(event, EpochDone)]
    assert epochs[-1].loss < 0.25 * epochs[0].loss
    assert epochs[-1].bleu_4 > 90
    best = load_checkpoint(tmp_path / "best")
    [[caption]] = best.search(
        torch.from_numpy(some_pictures(model, 6, 1).features[1:2, 0].astype(np.float32)), SearchConfig(beam_width=1)
    )
    assert " ".join(best.vocabulary.decode(caption.words)) == SENTENCES[1]


def test_a_run_leaves_its_recipe_environment_and_metrics(tmp_path: Path) -> None:
    run(model_to_train(), tmp_path)
    metrics = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in metrics] == [0, 1, 2]
    assert json.loads((tmp_path / "recipe.json").read_text())["training"]["epochs"] == 3
    assert json.loads((tmp_path / "environment.json").read_text())["torch"] == torch.__version__


@pytest.mark.parametrize("stop_after", [1, 4, 6, 9])
def test_a_stopped_run_resumes_bit_for_bit(tmp_path: Path, stop_after: int) -> None:
    """Ctrl-C after any step, then --resume: the losses are those of the run that was never stopped."""
    settings = {"scheduled_sampling": 0.5}
    whole = run(model_to_train(**settings), tmp_path / "whole")
    model = model_to_train(**settings)
    before: list[float] = []
    events = fit(model, some_pictures(model, 22, 2), some_pictures(model, 6, 1), folder=tmp_path / "stopped")

    def watch_and_stop() -> None:
        for event in events:
            before.extend(losses([event]))
            if len(before) == stop_after:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="--resume"):
        watch_and_stop()
    after = losses(run(model_to_train(**settings), tmp_path / "stopped", resume=True))
    assert before + after == losses(whole)
    assert _scores(tmp_path / "stopped") == _scores(tmp_path / "whole")


def _scores(folder: Path) -> list[tuple[float, float, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["loss"], line["cider_d"], line["bleu_4"]) for line in lines]


def test_ctrl_c_works_as_before_once_training_is_over(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    run(model_to_train(epochs=1), tmp_path)
    assert signal.getsignal(signal.SIGINT) is handler


def test_resuming_what_never_began_or_has_another_recipe_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="only be resumed once it has begun"):
        run(model_to_train(), tmp_path, resume=True)
    run(model_to_train(), tmp_path)
    with pytest.raises(TrainingError, match="its own recipe"):
        run(model_to_train(learning_rate=0.5), tmp_path, resume=True)


def test_it_stops_early_when_the_development_score_no_longer_rises(tmp_path: Path) -> None:
    events = run(model_to_train(epochs=50, learning_rate=0.0, patience=2), tmp_path)
    assert [event.best for event in events if isinstance(event, EpochDone)] == [True, False, False]


def test_a_loss_that_is_not_finite_stops_the_run_with_a_sentence(tmp_path: Path) -> None:
    model = model_to_train()
    with torch.no_grad():
        model.decoder.output_bias[5] = math.nan
    with pytest.raises(TrainingError, match="must stay finite"):
        run(model, tmp_path)


def test_padding_changes_no_loss() -> None:
    model = tiny_model(dropout=0.0)
    features = torch.rand(2, model.encoder.regions, model.encoder.feature_size)
    short, long = model.vocabulary.encode(SENTENCES[0]), model.vocabulary.encode(SENTENCES[1] + " " + SENTENCES[2])
    options = {"label_smoothing": 0.1, "own_words": 0.0}
    alone = [
        cross_entropy(model.decoder, features[i : i + 1], pad([[w]]), **options) for i, w in enumerate((short, long))
    ]
    together = cross_entropy(model.decoder, features, pad([[short], [long]]), **options)
    words = [loss.words for loss in alone]
    mean = (alone[0].mean * words[0] + alone[1].mean * words[1]) / sum(words)
    assert together.words == sum(words)
    torch.testing.assert_close(together.mean, mean)


def test_the_loss_is_the_mean_negative_log_probability_of_the_target_words() -> None:
    model = tiny_model(dropout=0.0)
    features = torch.rand(1, model.encoder.regions, model.encoder.feature_size)
    words = pad([[model.vocabulary.encode(SENTENCES[0])]])
    logits = model.decoder.score(teacher_forcing(model.decoder, features, words.inputs))
    by_hand = -F.log_softmax(logits, -1).gather(-1, words.targets.unsqueeze(-1))[words.targets != PADDING].mean()
    loss = cross_entropy(model.decoder, features, words, label_smoothing=0.0, own_words=0.0)
    torch.testing.assert_close(loss.mean, by_hand)
