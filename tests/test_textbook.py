"""The textbook decoder is slow, and right: it says and learns what our decoder does."""

from __future__ import annotations

import pytest
import torch

from captioner.config import DecoderConfig, SearchConfig
from captioner.data.batches import pad
from captioner.errors import ConfigError
from captioner.model.captioning import CaptioningModel
from captioner.training.noise import Noise
from captioner.training.objectives import cross_entropy
from pipelines.benchmarks.textbook import Textbook

FEATURES = torch.rand(6, 9, 1280, generator=torch.Generator().manual_seed(1))


def textbook_of(model: CaptioningModel) -> Textbook:
    return Textbook(model.decoder.state_dict(), model.config.decoder).eval()


@pytest.mark.parametrize(
    "settings",
    [
        SearchConfig(beam_width=2, max_length=6, length_exponent=0.0, no_repeat_ngram=0),
        SearchConfig(beam_width=5, min_length=3, max_length=9, length_exponent=0.6, no_repeat_ngram=2),
    ],
)
def test_it_says_what_our_search_says(model: CaptioningModel, settings: SearchConfig) -> None:
    ours = [list(found[0].words) for found in model.search(FEATURES, settings)]
    assert [textbook_of(model).search(each, settings) for each in FEATURES] == ours


def test_its_loss_is_ours(model: CaptioningModel) -> None:
    words = pad([[[4, 5, 6], [7]], [[8, 9], [4, 5, 6, 7, 8]]])
    ours = cross_entropy(model.decoder, FEATURES[:2], words, label_smoothing=0.1, own_words=0.0, noise=Noise(0))
    torch.testing.assert_close(textbook_of(model).loss(FEATURES[:2], words, label_smoothing=0.1), ours.total)


def test_other_decoders_are_refused() -> None:
    with pytest.raises(
        ConfigError, match="written for attend, lstm, dot and a sentinel, but this model has attend, gru"
    ):
        Textbook({}, DecoderConfig(cell="gru"))
