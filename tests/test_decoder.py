"""The decoders behind their one seam: start, step, score."""

from __future__ import annotations

import itertools

import pytest
import torch

from captioner.config import DecoderConfig
from captioner.model.decoder import Attend, Decoder, build_decoder
from captioner.training.objectives import teacher_forcing

PICTURES, ROWS, REGIONS, FEATURES, VOCABULARY, TIME = 2, 3, 4, 6, 11, 5
EVERY_DECODER = [
    *itertools.product(["show_and_tell"], ["rnn", "gru", "lstm"], ["dot"], [False]),
    *itertools.product(["attend"], ["rnn", "gru", "lstm"], ["dot", "additive"], [False, True]),
    *itertools.product(["top_down"], ["rnn", "gru", "lstm"], ["dot", "additive"], [False]),
]


def decoder_of(kind: str, cell: str = "lstm", attention: str = "dot", sentinel: bool = False) -> Decoder:
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "embedding_size": 7, "attention_size": 5}
    config = DecoderConfig(kind=kind, cell=cell, attention=attention, sentinel=sentinel, **sizes)  # type: ignore[arg-type]
    return build_decoder(config, feature_size=FEATURES, vocabulary_size=VOCABULARY).eval()


def some_features() -> torch.Tensor:
    return torch.rand(PICTURES, REGIONS, FEATURES, generator=torch.Generator().manual_seed(1))


def some_words() -> torch.Tensor:
    return torch.randint(0, VOCABULARY, (PICTURES, ROWS, TIME), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(("kind", "cell", "attention", "sentinel"), EVERY_DECODER)
def test_teacher_forcing_equals_saying_word_after_word(kind: str, cell: str, attention: str, sentinel: bool) -> None:
    decoder, features, words = decoder_of(kind, cell, attention, sentinel), some_features(), some_words()
    at_once = decoder.score(teacher_forcing(decoder, features, words))
    state = decoder.start(features, rows=ROWS)
    for time in range(TIME):
        said = decoder.step(decoder.embed(words[:, :, time]), state)
        state = said.state
        torch.testing.assert_close(decoder.score(said.output), at_once[:, :, time])


@pytest.mark.parametrize(("kind", "cell", "attention", "sentinel"), EVERY_DECODER)
def test_a_row_does_not_depend_on_the_other_rows(kind: str, cell: str, attention: str, sentinel: bool) -> None:
    decoder, features, words = decoder_of(kind, cell, attention, sentinel), some_features(), some_words()
    together = teacher_forcing(decoder, features, words)
    for row in range(ROWS):
        alone = teacher_forcing(decoder, features, words[:, row : row + 1])
        torch.testing.assert_close(alone[:, 0], together[:, row])


@pytest.mark.parametrize(("kind", "cell", "attention", "sentinel"), EVERY_DECODER)
def test_a_folded_decoder_looks_the_words_up_and_says_the_same(
    kind: str, cell: str, attention: str, sentinel: bool
) -> None:
    decoder, features, words = decoder_of(kind, cell, attention, sentinel), some_features(), some_words()
    before = decoder.score(teacher_forcing(decoder, features, words))
    weights = set(decoder.state_dict())
    decoder.fold()
    torch.testing.assert_close(decoder.score(teacher_forcing(decoder, features, words)), before)
    decoder.embedding.weight.data.zero_()
    assert decoder.embed(words).norm() > 0  # it does not compute any more
    assert set(decoder.state_dict()) == weights


def test_a_folded_decoder_that_is_trained_after_all_computes_again() -> None:
    decoder, words = decoder_of("attend"), some_words()
    decoder.fold()
    before = decoder.embed(words)
    decoder.train()
    decoder.embedding.weight.data *= 2
    assert not torch.equal(decoder.embed(words), before)
    assert decoder.embed(words).requires_grad


@pytest.mark.parametrize(("kind", "sentinel"), [("attend", False), ("attend", True), ("top_down", False)])
def test_where_each_word_looked_sums_to_one(kind: str, sentinel: bool) -> None:
    decoder = decoder_of(kind, sentinel=sentinel)
    said = decoder.step(decoder.embed(some_words()[:, :, 0]), decoder.start(some_features(), rows=ROWS))
    assert said.weights is not None
    assert said.weights.shape == (PICTURES, ROWS, REGIONS + sentinel)
    torch.testing.assert_close(said.weights.sum(-1), torch.ones(PICTURES, ROWS))


def test_without_attention_no_word_looks() -> None:
    decoder = decoder_of("show_and_tell")
    assert decoder.step(decoder.embed(some_words()[:, :, 0]), decoder.start(some_features(), rows=ROWS)).weights is None


def test_a_sentinel_that_wins_hides_the_picture() -> None:
    """With an overwhelming score for the sentinel the context is what the cell remembers, not the regions."""
    decoder = decoder_of("attend", sentinel=True)
    assert isinstance(decoder, Attend)
    state = decoder.start(some_features(), rows=ROWS)
    state.picture["keys"].fill_(0)
    decoder.attention.scores = (
        lambda queries, keys: torch.full(  # type: ignore[method-assign]
            (*queries.shape[:2], keys.shape[1]), 100.0 if keys.shape[1] == 1 else 0.0
        )
    )
    said = decoder.step(decoder.embed(some_words()[:, :, 0]), state)
    assert said.weights is not None
    torch.testing.assert_close(said.weights[..., -1], torch.ones(PICTURES, ROWS))


def test_selecting_rows_reorders_each_pictures_own() -> None:
    state = decoder_of("attend").start(some_features(), rows=ROWS)
    state.rows["context"] = torch.arange(PICTURES * ROWS, dtype=torch.float).view(PICTURES, ROWS, 1)
    chosen = state.select_rows(torch.tensor([[2, 2, 0], [1, 0, 0]]))
    assert chosen.rows["context"].squeeze(-1).tolist() == [[2, 2, 0], [4, 3, 3]]
    assert chosen.picture is state.picture


@pytest.mark.parametrize("kind", ["show_and_tell", "attend", "top_down"])
def test_every_parameter_learns(kind: str) -> None:
    decoder = decoder_of(kind, sentinel=True).train()
    decoder.score(teacher_forcing(decoder, some_features(), some_words())).logsumexp(-1).sum().backward()
    without = [name for name, parameter in decoder.named_parameters() if parameter.grad is None]
    assert without == []
