"""The mean of several models: of weights that mean the same, and of nothing else."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from captioner.errors import ConfigError
from captioner.model.averaging import average_models
from captioner.model.captioning import CaptioningModel
from captioner.model.checkpoint import load_checkpoint, save_checkpoint
from captioner.text.vocabulary import Vocabulary
from pipelines.average import average
from tests.conftest import tiny_model


def moved(model: CaptioningModel, by: float, *, encoder: bool) -> CaptioningModel:
    """The same model, each of its weights so much larger."""
    other = CaptioningModel(copy.deepcopy(model.encoder), copy.deepcopy(model.decoder), model.vocabulary, model.config)
    with torch.no_grad():
        for part in (other.decoder, other.encoder.network) if encoder else (other.decoder,):
            for weights in part.parameters():
                weights.add_(by)
    return other


def test_every_weight_is_the_mean_and_what_came_stays_as_it_was() -> None:
    model = tiny_model()
    before = copy.deepcopy(model.decoder.state_dict())
    averaged = average_models([model, moved(model, 1.0, encoder=True), moved(model, 2.0, encoder=True)])
    for name, weights in averaged.decoder.named_parameters():
        torch.testing.assert_close(weights, before[name] + 1.0)
        torch.testing.assert_close(model.decoder.state_dict()[name], before[name])
    for name, weights in averaged.encoder.network.named_parameters():
        torch.testing.assert_close(weights, model.encoder.network.get_parameter(name) + 1.0)
    assert averaged.config.encoder.weights == "tuned"


def test_an_encoder_that_all_share_stays_the_packages_own(tmp_path: Path) -> None:
    model = tiny_model()
    folders = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    for folder, by in zip(folders, (0.0, 0.5, 1.0), strict=True):
        save_checkpoint(moved(model, by, encoder=False), folder)
    average([*map(str, folders)], tmp_path / "mean")
    averaged = load_checkpoint(tmp_path / "mean")
    assert averaged.config == model.config
    assert averaged.encoder.fingerprint() == model.encoder.fingerprint()
    torch.testing.assert_close(averaged.decoder.output_bias, model.decoder.output_bias + 0.5)


def test_models_that_were_made_ready_for_captioning_have_no_mean() -> None:
    ready = tiny_model()
    ready.decoder.fold()
    with pytest.raises(ConfigError, match="must be as they were stored"):
        average_models([tiny_model(), ready])


def test_models_whose_weights_mean_other_things_are_refused() -> None:
    model = tiny_model()
    words = Vocabulary([(word, count + 1) for word, count in reversed(model.vocabulary.counts.items())])
    other_words = CaptioningModel(model.encoder, model.decoder, words, model.config)
    with pytest.raises(ConfigError, match=r"same words .* number 1 and number 3 differ"):
        average_models([model, model, other_words])
    wider = replace(model.config, decoder=replace(model.config.decoder, hidden_size=32))
    with pytest.raises(ConfigError, match="same decoder"):
        average_models([model, CaptioningModel(model.encoder, model.decoder, model.vocabulary, wider)])
    with pytest.raises(ConfigError, match="At least two models"):
        average_models([model])
