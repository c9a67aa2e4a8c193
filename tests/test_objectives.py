"""What training makes smaller, worked out by hand."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from captioner.data.batches import pad
from captioner.text.vocabulary import PADDING, START
from captioner.training.noise import Noise
from captioner.training.objectives import _mix_in_own_words, cross_entropy, teacher_forcing
from tests.conftest import SENTENCES, tiny_model


def test_padding_changes_no_loss() -> None:
    model = tiny_model(dropout=0.0)
    features = torch.rand(2, model.encoder.regions, model.encoder.feature_size)
    short, long = model.vocabulary.encode(SENTENCES[0]), model.vocabulary.encode(SENTENCES[1] + " " + SENTENCES[2])
    options = {"label_smoothing": 0.1, "own_words": 0.0, "noise": Noise(0)}
    alone = [
        cross_entropy(model.decoder, features[i : i + 1], pad([[w]]), **options) for i, w in enumerate((short, long))
    ]
    together = cross_entropy(model.decoder, features, pad([[short], [long]]), **options)
    assert together.words == alone[0].words + alone[1].words
    torch.testing.assert_close(together.total, alone[0].total + alone[1].total)


def test_the_loss_is_the_negative_log_probability_of_the_target_words() -> None:
    model = tiny_model(dropout=0.0)
    features = torch.rand(1, model.encoder.regions, model.encoder.feature_size)
    words = pad([[model.vocabulary.encode(SENTENCES[0])]])
    logits = model.decoder.score(teacher_forcing(model.decoder, features, words.inputs))
    by_hand = -F.log_softmax(logits, -1).gather(-1, words.targets.unsqueeze(-1))[words.targets != PADDING].sum()
    loss = cross_entropy(model.decoder, features, words, label_smoothing=0.0, own_words=0.0, noise=Noise(0))
    torch.testing.assert_close(loss.total, by_hand)


def test_own_words_are_what_the_model_says_and_replace_words_only() -> None:
    """A model that always says word 7: with a share of 1 every given word becomes 7, but start and padding stay."""
    model = tiny_model(dropout=0.0)
    with torch.no_grad():
        model.decoder.output_bias[7] = 1000
    features = torch.rand(2, model.encoder.regions, model.encoder.feature_size)
    inputs = pad([[[8, 9, 10]], [[8]]]).inputs
    noise = Noise(0)
    noise.place(step=0, first=0, pictures=2)
    mixed = _mix_in_own_words(model.decoder, features, inputs, 1.0, noise)
    assert mixed.tolist() == [[[START, 7, 7, 7]], [[START, 7, PADDING, PADDING]]]
    assert torch.equal(_mix_in_own_words(model.decoder, features, inputs, 0.0, noise), inputs)
