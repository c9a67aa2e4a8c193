"""The search against answers worked out by hand and against every possible caption."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from captioner.search.beam import Hypothesis, beam_search
from captioner.search.constraints import Constraints
from captioner.search.greedy import greedy_search

START, END, A, B = 0, 1, 2, 3

# From the row's word to the column's: "a" is the likelier beginning, but "b" leads to the likelier caption.
TABLE = torch.tensor(
    [
        [0.0, 0.0, 0.6, 0.4],
        [0.0, 1.0, 0.0, 0.0],
        [0.0, 0.3, 0.3, 0.4],
        [0.0, 0.8, 0.1, 0.1],
    ]
)


@dataclass
class Table:
    """A model whose next word depends on the last two words and the picture."""

    log_probabilities: Tensor  # (pictures, last but one, last, next)
    before: Tensor  # (pictures, rows)

    def select_rows(self, rows: Tensor) -> Table:
        return Table(self.log_probabilities, self.before.gather(1, rows))


def step(words: Tensor, state: Table) -> tuple[Tensor, Table]:
    pictures = torch.arange(len(words)).unsqueeze(1)
    return state.log_probabilities[pictures, state.before, words], Table(state.log_probabilities, words)


def model(table: Tensor) -> Table:
    """`table` (pictures, last but one, last, next) of probabilities."""
    return Table(table.log(), torch.zeros(len(table), 1, dtype=torch.long))


def by_hand() -> Table:
    return model(TABLE.expand(1, 4, 4, 4))


def search(state: Table, **options: object) -> list[list[Hypothesis]]:
    defaults = {"beam_width": 2, "length_exponent": 0.0}
    limits = {"end": END, "max_length": 3}
    for name in list(options):
        if name in ("min_length", "max_length", "no_repeat_ngram"):
            limits[name] = options.pop(name)
    pictures = len(state.log_probabilities)
    return beam_search(
        step, state, pictures=pictures, start=START, constraints=Constraints(**limits), **{**defaults, **options}
    )


def brute_force(state: Table, picture: int, *, length_exponent: float, limits: Constraints) -> list[Hypothesis]:
    """Every caption that obeys the rules, scored from the definition, best first."""
    vocabulary = state.log_probabilities.shape[-1]
    captions = []
    for length in range(limits.min_length, limits.max_length + 1):
        for words in itertools.product(range(END + 1, vocabulary), repeat=length):
            n = limits.no_repeat_ngram
            grams = [words[i : i + n] for i in range(length - n + 1)] if n else []
            if len(set(grams)) < len(grams):
                continue
            path = (START, START, *words, END)
            total = sum(
                float(state.log_probabilities[picture, path[i], path[i + 1], path[i + 2]]) for i in range(length + 1)
            )
            if total > -math.inf:
                captions.append(Hypothesis(words, total, total / (length + 1) ** length_exponent))
    return sorted(captions, key=lambda caption: -caption.score)


def random_model(seed: int, *, pictures: int, vocabulary: int = 4) -> Table:
    logits = torch.randn(pictures, vocabulary, vocabulary, vocabulary, generator=torch.Generator().manual_seed(seed))
    logits[..., START] = -torch.inf
    return model((1.5 * logits).softmax(dim=-1))


def test_greedy_takes_the_likelier_beginning_and_misses_the_likelier_caption() -> None:
    [answer] = greedy_search(step, by_hand(), pictures=1, start=START, constraints=Constraints(end=END, max_length=3))
    assert answer.words == (A, B)
    assert answer.log_probability == pytest.approx(math.log(0.6 * 0.4 * 0.8))


def test_beam_search_finds_the_likelier_caption() -> None:
    [[first, second]] = search(by_hand())
    assert first.words == (B,)
    assert first.log_probability == pytest.approx(math.log(0.4 * 0.8))
    assert second.words == (A, B)


def test_length_exponent_one_ranks_by_the_mean_log_probability() -> None:
    [[first, *_]] = search(by_hand(), length_exponent=1.0)
    assert first.words == (A, B)
    assert first.score == pytest.approx(math.log(0.6 * 0.4 * 0.8) / 3)


def test_minimum_length_forbids_the_shorter_caption() -> None:
    [[first, *_]] = search(by_hand(), min_length=2)
    assert first.words == (A, B)


def test_maximum_length_ends_every_caption() -> None:
    [captions] = search(by_hand(), max_length=1)
    assert [caption.words for caption in captions] == [(B,), (A,)]


def test_no_word_sequence_repeats_when_forbidden() -> None:
    always_a = torch.tensor([[0.0, 0.05, 0.9, 0.05]]).expand(1, 4, 4, 4)
    [[free, *_]] = search(model(always_a), min_length=4, max_length=4)
    [[first, *_]] = search(model(always_a), min_length=4, max_length=4, no_repeat_ngram=2)
    assert free.words == (A, A, A, A)
    pairs = list(itertools.pairwise(first.words))
    assert len(set(pairs)) == len(pairs)


@pytest.mark.parametrize("no_repeat_ngram", [0, 1, 2, 3])
@pytest.mark.parametrize("length_exponent", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("min_length", [0, 2])
def test_a_wide_beam_equals_brute_force(no_repeat_ngram: int, length_exponent: float, min_length: int) -> None:
    limits = Constraints(end=END, min_length=min_length, max_length=4, no_repeat_ngram=no_repeat_ngram)
    state = random_model(7, pictures=3)
    answers = beam_search(
        step,
        state,
        pictures=3,
        start=START,
        constraints=limits,
        beam_width=2**4,
        best=6,
        length_exponent=length_exponent,
    )
    for picture, answer in enumerate(answers):
        expected = brute_force(state, picture, length_exponent=length_exponent, limits=limits)[:6]
        assert [caption.words for caption in answer] == [caption.words for caption in expected]
        assert [caption.score for caption in answer] == pytest.approx([caption.score for caption in expected], abs=1e-5)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), width=st.integers(1, 4), exponent=st.sampled_from([0.0, 0.5, 1.0]))
def test_captions_depend_neither_on_the_batch_nor_on_its_order(seed: int, width: int, exponent: float) -> None:
    state = random_model(seed, pictures=4, vocabulary=5)
    together = search(state, beam_width=width, length_exponent=exponent, max_length=5)
    backwards = search(
        model(state.log_probabilities.flip(0).exp()), beam_width=width, length_exponent=exponent, max_length=5
    )
    for picture in range(4):
        alone = search(
            model(state.log_probabilities[picture : picture + 1].exp()),
            beam_width=width,
            length_exponent=exponent,
            max_length=5,
        )
        assert [c.words for c in together[picture]] == [c.words for c in alone[0]]
        assert [c.words for c in together[picture]] == [c.words for c in backwards[3 - picture]]


def test_an_impossible_caption_is_no_answer() -> None:
    never_ends = torch.tensor([[0.0, 0.0, 0.5, 0.5]]).expand(1, 4, 4, 4)
    assert search(model(never_ends)) == [[]]
