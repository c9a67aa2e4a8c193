"""What is forbidden never occurs and what is required always does: by hand and against every possible caption."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captioner.errors import ConfigError
from captioner.search.beam import beam_search
from captioner.search.constraints import Constraints
from captioner.search.greedy import greedy_search
from captioner.search.hypothesis import Hypothesis
from captioner.search.sampling import sample
from tests.table_model import END, START, A, B, C, Table, brute_force, model, obeys, random_model, step

VOCABULARY = 5  # START, END, A, B, C

# Whatever was said, "a" is likeliest, "c" least likely.
ALWAYS = model(torch.tensor([[0.0, 0.3, 0.5, 0.19, 0.01]]).expand(1, VOCABULARY, VOCABULARY, VOCABULARY))


def search(state: Table, limits: Constraints, **options: object) -> list[list[Hypothesis]]:
    pictures = len(state.log_probabilities)
    chosen = {"beam_width": 2, **options}
    return beam_search(step, state, pictures=pictures, start=START, constraints=limits, **chosen)


def draw(state: Table, limits: Constraints, *, seed: int = 0, draws: int = 3) -> list[list[Hypothesis]]:
    keys = range(len(state.log_probabilities))
    return sample(step, state, start=START, constraints=limits, keys=keys, seed=seed, draws=draws)


def phrases(length: int, *, most: int) -> st.SearchStrategy[tuple[tuple[int, ...], ...]]:
    phrase = st.lists(st.sampled_from([A, B, C]), min_size=1, max_size=length).map(tuple)
    return st.lists(phrase, max_size=most, unique=True).map(tuple)


@st.composite
def rules(draw_one: Callable) -> Constraints:  # type: ignore[type-arg]
    """Any rules at all, about half of which some caption can obey."""
    longest = draw_one(st.integers(1, 4))
    return Constraints(
        end=END,
        min_length=draw_one(st.integers(0, longest)),
        max_length=longest,
        no_repeat_ngram=draw_one(st.integers(0, 3)),
        forbidden=draw_one(phrases(3, most=2)),
        required=draw_one(phrases(3, most=2)),
        beginning=draw_one(st.lists(st.sampled_from([A, B, C]), max_size=2).map(tuple)),
    )


def possible(limits: Constraints) -> bool:
    """Whether the search takes the rules: it refuses those that no caption can obey."""
    try:
        limits.automaton()
    except ConfigError:
        return False
    return True


def test_a_required_word_is_said_however_unlikely() -> None:
    [[best, second]] = search(ALWAYS, Constraints(end=END, max_length=3, required=((C,),)))
    assert best.words == (C,)
    assert best.log_probability == pytest.approx(math.log(0.01 * 0.3))
    assert set(second.words) == {A, C}


def test_a_required_phrase_is_said_in_one_piece() -> None:
    [captions] = search(ALWAYS, Constraints(end=END, max_length=4, required=((C, B),)), beam_width=4)
    assert captions[0].words == (C, B)
    assert all((C, B) in zip(caption.words, caption.words[1:], strict=False) for caption in captions)


def test_required_phrases_may_overlap() -> None:
    [[best]] = search(ALWAYS, Constraints(end=END, max_length=3, required=((A, B), (B, C))), beam_width=1)
    assert best.words == (A, B, C)


def test_a_forbidden_word_is_not_said_however_likely() -> None:
    limits = Constraints(end=END, min_length=3, max_length=3, forbidden=((A,),))
    [[best, *_]] = search(ALWAYS, limits)
    assert best.words == (B, B, B)


def test_hundreds_of_phrases_can_be_forbidden_and_thousands_are_a_sentence() -> None:
    phrases = tuple((2 * number + 4, 2 * number + 5) for number in range(3000))
    limits = Constraints(end=END, max_length=20, forbidden=phrases[:600])
    assert limits.automaton() is not None
    with pytest.raises(ConfigError, match="0 required ones and 3000 forbidden ones came"):
        replace(limits, forbidden=phrases).automaton()


def test_a_forbidden_phrase_leaves_its_words_free() -> None:
    limits = Constraints(end=END, min_length=3, max_length=3, forbidden=((A, A),))
    [[best, *_]] = search(ALWAYS, limits)
    assert best.words == (A, B, A)


def test_the_beginning_comes_first_and_counts() -> None:
    [[best, *_]] = search(ALWAYS, Constraints(end=END, max_length=3, beginning=(C, B)))
    assert best.words == (C, B)
    assert best.log_probability == pytest.approx(math.log(0.01 * 0.19 * 0.3))


def test_beams_that_said_a_required_word_do_not_compete_with_those_that_did_not() -> None:
    # After "a", "c" is likely; at the start it is not, and a single beam for all would take the wrong turn.
    table = torch.tensor([[0.0, 0.3, 0.5, 0.19, 0.01]]).repeat(VOCABULARY, 1)
    table[A] = torch.tensor([0.0, 0.05, 0.05, 0.1, 0.8])
    [[best]] = search(
        model(table.expand(1, VOCABULARY, VOCABULARY, VOCABULARY)),
        Constraints(end=END, max_length=4, required=((C,),)),
        beam_width=1,
    )
    assert best.words == (A, C)


def test_a_narrow_search_finds_a_long_phrase_that_just_fits() -> None:
    for width in (1, 2):
        limits = Constraints(end=END, max_length=4, no_repeat_ngram=2, required=((C, C, B, C),))
        [[best, *_]] = search(ALWAYS, limits, beam_width=width)
        assert best.words == (C, C, B, C)


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"required": ((A, B), (C, A, A)), "max_length": 3}, "takes at least 4 words, but max_length is 3"),
        ({"required": ((A, B),), "forbidden": ((B,),)}, "saying what is forbidden"),
        ({"beginning": (A, B), "forbidden": ((A, B),)}, "saying what is forbidden"),
        ({"required": ((A, A, A),), "no_repeat_ngram": 2}, "repeating 2 words in their order"),
        ({"beginning": (A, B, A), "required": ((A, B, C),), "no_repeat_ngram": 2}, "repeating 2 words in their order"),
        ({"required": ((A, B, C), (B, B, C)), "no_repeat_ngram": 2}, "repeating 2 words in their order"),
        ({"required": tuple((word,) for word in range(2, 11))}, "At most 8"),
        ({"required": ((),)}, "one word or more"),
        ({"min_length": 5, "max_length": 4}, "min_length <= max_length"),
        ({"max_length": 101}, "up to 100 words, but max_length 101 came"),
        ({"no_repeat_ngram": -1}, "no_repeat_ngram must be a number of words, or 0"),
        ({"beginning": (A, A), "no_repeat_ngram": 1}, "The beginning repeats one word, which no_repeat"),
        ({"beginning": (A, B, A, B), "no_repeat_ngram": 2}, "The beginning repeats 2 words in their order"),
        ({"required": ((A, A),), "no_repeat_ngram": 1}, "say all that is required .* or repeating one word;"),
        ({"beginning": (A,), "forbidden": ((A,),)}, "No caption can have this beginning without"),
    ],
)
def test_rules_no_caption_can_obey_are_one_sentence(limits: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        search(ALWAYS, Constraints(**{"end": END, "max_length": 6, **limits}))


@settings(deadline=None, max_examples=150)
@given(
    limits=rules(),
    seed=st.integers(0, 10**6),
    exponent=st.sampled_from([0.0, 0.7, 1.0]),
    groups=st.sampled_from([1, 2]),
)
def test_a_wide_beam_under_any_rules_equals_brute_force(
    limits: Constraints, seed: int, exponent: float, groups: int
) -> None:
    state = random_model(seed, pictures=2, vocabulary=VOCABULARY, never=0.1)
    expected = [brute_force(state, picture, length_exponent=exponent, limits=limits) for picture in range(2)]
    if not possible(limits):
        assert expected == [[], []]
        return
    answers = search(state, limits, beam_width=groups * 3**4, groups=groups, best=10, length_exponent=exponent)
    for answer, every in zip(answers, expected, strict=True):
        assert [caption.score for caption in answer] == pytest.approx([c.score for c in every[:10]], abs=1e-4)
        assert {caption.words for caption in answer} <= {caption.words for caption in every}


@settings(deadline=None, max_examples=150)
@given(
    limits=rules(),
    seed=st.integers(0, 10**6),
    width=st.integers(1, 3),
    groups=st.sampled_from([1, 2]),
    never=st.sampled_from([0.0, 0.4]),
)
def test_a_narrow_search_obeys_any_rules_and_finds_a_caption_where_there_is_one(
    limits: Constraints, seed: int, width: int, groups: int, never: float
) -> None:
    state = random_model(seed, pictures=3, vocabulary=VOCABULARY, never=never)
    exists = [bool(brute_force(state, picture, length_exponent=0.0, limits=limits)) for picture in range(3)]
    if not possible(limits):
        assert not any(exists)
        return
    beams = search(state, limits, beam_width=width * groups, groups=groups, diversity=1.0)
    greedy = greedy_search(step, state, pictures=3, start=START, constraints=limits)
    for answers in (beams, draw(state, limits, seed=seed), [[c] if c.score > -math.inf else [] for c in greedy]):
        assert [bool(captions) for captions in answers] == exists
        assert all(obeys(caption.words, limits) for captions in answers for caption in captions)
        for picture, captions in enumerate(answers):
            for caption in captions:
                path = (START, START, *caption.words, END)
                table = state.log_probabilities[picture]
                parts = [float(table[path[i : i + 3]]) for i in range(len(path) - 2)]
                assert caption.log_probability == pytest.approx(sum(parts), abs=1e-4)


@settings(deadline=None, max_examples=60)
@given(limits=rules().filter(possible), seed=st.integers(0, 10**6), groups=st.sampled_from([1, 2]))
def test_steered_captions_do_not_depend_on_the_batch(limits: Constraints, seed: int, groups: int) -> None:
    state = random_model(seed, pictures=3, vocabulary=VOCABULARY)
    together = search(state, limits, beam_width=2 * groups, groups=groups, length_exponent=0.7)
    for picture in range(3):
        [alone] = search(state.only(picture), limits, beam_width=2 * groups, groups=groups, length_exponent=0.7)
        assert [caption.words for caption in alone] == [caption.words for caption in together[picture]]
    drawn = draw(state, limits, seed=seed)
    [first] = draw(state.only(0), limits, seed=seed)
    assert [caption.words for caption in first] == [caption.words for caption in drawn[0]]


@settings(deadline=None, max_examples=60)
@given(limits=rules().filter(possible))
def test_the_reason_given_agrees_with_what_is_masked(limits: Constraints) -> None:
    history = torch.tensor(limits.beginning, dtype=torch.long).expand(1, 1, -1)
    if limits.max_length < len(limits.beginning):
        return
    zeros = torch.zeros(1, 1, VOCABULARY)
    allowed = limits.apply(zeros, history, limits.progress(history))[0, 0]
    for word in range(END, VOCABULARY):
        assert (limits.why_not(limits.beginning, word) is None) == bool(allowed[word] == 0)


def test_rules_about_words_leave_a_plain_search_as_it_was() -> None:
    state = random_model(3, pictures=2, vocabulary=VOCABULARY)
    plain = Constraints(end=END, max_length=4)
    idle = replace(plain, forbidden=((C, C, C, C, C),))
    assert search(state, idle) == search(state, plain)


def test_the_rules_are_worked_out_once_however_the_device_is_named() -> None:
    limits = Constraints(end=END, required=((A, B),))
    assert limits.automaton() is limits.automaton(torch.device("cpu"))
