"""Sampling: how often, from which words, and the same again from the same seed."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from captioner.errors import ConfigError
from captioner.search.constraints import Constraints
from captioner.search.hypothesis import Hypothesis
from captioner.search.sampling import reshaped, sample
from tests.table_model import END, START, A, B, C, Table, brute_force, model, random_model, step

LIMITS = Constraints(end=END, max_length=3)


def draw(state: Table, *, keys: list[int], limits: Constraints = LIMITS, **options: object) -> list[list[Hypothesis]]:
    return sample(step, state, start=START, constraints=limits, keys=keys, **options)


def test_captions_are_drawn_as_often_as_they_are_probable() -> None:
    state = random_model(1, pictures=1, vocabulary=4)
    limits = Constraints(end=END, max_length=9)
    every = brute_force(state, 0, length_exponent=0.0, limits=limits)
    count = 4000
    [drawn] = draw(state, keys=[0], limits=limits, draws=count)
    seen = Counter(caption.words for caption in drawn)
    expected = [(caption.words, count * math.exp(caption.log_probability)) for caption in every]
    common = [(words, often) for words, often in expected if often >= 10]
    assert len(common) > 10
    chi_square = sum((seen[words] - often) ** 2 / often for words, often in common)
    # Its mean is the number of cells, its variance twice that.
    assert abs(chi_square - len(common)) < 3 * math.sqrt(2 * len(common))


def test_samples_are_sorted_and_told_with_the_models_own_log_probability() -> None:
    state = random_model(1, pictures=1, vocabulary=4)
    table = {c.words: c.log_probability for c in brute_force(state, 0, length_exponent=0.0, limits=LIMITS)}
    [drawn] = draw(state, keys=[3], draws=20, temperature=2.0, top_k=2)
    values = [caption.log_probability for caption in drawn]
    assert values == sorted(values, reverse=True)
    assert values == pytest.approx([table[caption.words] for caption in drawn], abs=1e-5)


def test_temperature_by_hand() -> None:
    # Half the temperature squares the odds: 0.6 and 0.3 and 0.1 become 36 : 9 : 1.
    chances = reshaped(torch.tensor([0.6, 0.3, 0.1]).log(), temperature=0.5, top_k=None, top_p=1.0)
    torch.testing.assert_close(chances, torch.tensor([36 / 46, 9 / 46, 1 / 46], dtype=torch.float64))


def test_top_k_by_hand() -> None:
    chances = reshaped(torch.tensor([0.1, 0.3, 0.2, 0.4]).log(), temperature=1.0, top_k=2, top_p=1.0)
    torch.testing.assert_close(chances, torch.tensor([0.0, 3 / 7, 0.0, 4 / 7], dtype=torch.float64))


def test_top_k_keeps_no_more_than_k_of_equals() -> None:
    chances = reshaped(torch.zeros(5), temperature=1.0, top_k=2, top_p=1.0)
    assert sorted(chances.tolist()) == [0, 0, 0, 0.5, 0.5]


def test_the_nucleus_by_hand() -> None:
    # 0.4 + 0.3 do not reach 0.75, with 0.2 they do.
    chances = reshaped(torch.tensor([0.1, 0.3, 0.2, 0.4]).log(), temperature=1.0, top_k=None, top_p=0.75)
    torch.testing.assert_close(chances, torch.tensor([0.0, 3 / 9, 2 / 9, 4 / 9], dtype=torch.float64))


def test_a_small_nucleus_still_holds_the_likeliest_word() -> None:
    chances = reshaped(torch.tensor([0.1, 0.9]).log(), temperature=1.0, top_k=None, top_p=0.01)
    assert chances.tolist() == [0, 1]


def test_top_k_comes_before_the_nucleus() -> None:
    # Of the three likeliest, 4/9 + 3/9 reach 0.75 though 0.4 + 0.3 do not.
    chances = reshaped(torch.tensor([0.1, 0.3, 0.2, 0.4]).log(), temperature=1.0, top_k=3, top_p=0.75)
    torch.testing.assert_close(chances, torch.tensor([0.0, 3 / 7, 0.0, 4 / 7], dtype=torch.float64))


@settings(deadline=None, max_examples=100)
@given(
    weights=st.lists(st.integers(0, 1000), min_size=2, max_size=6, unique=True),
    top_k=st.one_of(st.none(), st.integers(1, 7)),
    top_p=st.floats(0.05, 1.0),
    temperature=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_any_settings_together_equal_their_definitions(
    weights: list[int], top_k: int | None, top_p: float, temperature: float
) -> None:
    heated = [weight ** (1 / temperature) for weight in weights]
    order = sorted(range(len(weights)), key=lambda word: -heated[word])[:top_k]
    shares = [heated[word] / sum(heated[word] for word in order) for word in order]
    kept = [word for place, word in enumerate(order) if sum(shares[:place]) < top_p]
    assume(all(abs(sum(shares[:place]) - top_p) > 1e-6 for place in range(len(shares) + 1)) or top_p == 1)
    expected = [
        heated[word] / sum(heated[other] for other in kept) if word in kept else 0.0 for word in range(len(weights))
    ]
    logits = torch.tensor(weights, dtype=torch.float64).log()
    chances = reshaped(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    assert chances.tolist() == pytest.approx(expected, abs=1e-9)


def test_one_word_to_choose_from_is_greedy() -> None:
    state = random_model(9, pictures=2, vocabulary=5)
    for drawn, again in zip(
        draw(state, keys=[1, 2], top_k=1), draw(state, keys=[3, 4], top_p=1e-6, seed=8), strict=True
    ):
        assert drawn == again


def test_a_word_without_probability_is_never_drawn() -> None:
    table = torch.tensor([0.0, 0.5, 0.0, 0.5, 0.0]).expand(1, 5, 5, 5)
    [drawn] = draw(model(table), keys=[0], draws=200)
    assert {word for caption in drawn for word in caption.words} == {B}
    assert not {A, C} & {word for caption in drawn for word in caption.words}


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), top_k=st.sampled_from([None, 2]), top_p=st.sampled_from([0.6, 1.0]))
def test_what_is_drawn_for_a_picture_depends_on_the_seed_and_its_key_alone(
    seed: int, top_k: int | None, top_p: float
) -> None:
    state = random_model(seed, pictures=3, vocabulary=5)
    options = {"draws": 4, "seed": seed, "top_k": top_k, "top_p": top_p}
    together = draw(state, keys=[10, 20, 30], **options)
    backwards = draw(model(state.log_probabilities.flip(0).exp()), keys=[30, 20, 10], **options)
    for picture, key in enumerate([10, 20, 30]):
        [alone] = draw(state.only(picture), keys=[key], **options)
        assert [caption.words for caption in alone] == [caption.words for caption in together[picture]]
        assert [caption.words for caption in alone] == [caption.words for caption in backwards[2 - picture]]


def test_other_seeds_and_other_keys_draw_other_captions() -> None:
    state = random_model(4, pictures=1, vocabulary=6)
    limits = Constraints(end=END, min_length=6, max_length=6)
    drawn = {draw(state, keys=[key], limits=limits, seed=seed)[0][0].words for key in range(4) for seed in range(4)}
    assert len(drawn) > 12


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"top_p": 0.0}, "top_p above 0"),
        ({"top_p": 1.5}, "at most 1"),
        ({"top_k": -3}, "top_k must be a number of words"),
    ],
)
def test_settings_out_of_range_are_one_sentence(wrong: dict[str, float], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        draw(random_model(4, pictures=1), keys=[0], **wrong)


def test_no_pictures_no_captions() -> None:
    assert draw(random_model(4, pictures=0), keys=[]) == []
