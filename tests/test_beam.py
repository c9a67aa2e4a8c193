"""The search against answers worked out by hand and against every possible caption."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captioner.errors import ConfigError
from captioner.search.beam import beam_search
from captioner.search.constraints import Constraints
from captioner.search.fate import Fate
from captioner.search.greedy import greedy_search
from captioner.search.hypothesis import Hypothesis
from captioner.search.tree import Recorder, Tree
from tests.table_model import END, START, A, B, C, Table, brute_force, model, obeys, random_model, step

# From the row's word to the column's: "a" is the likelier beginning, but "b" leads to the likelier caption.
TABLE = torch.tensor(
    [
        [0.0, 0.0, 0.6, 0.4],
        [0.0, 1.0, 0.0, 0.0],
        [0.0, 0.3, 0.3, 0.4],
        [0.0, 0.8, 0.1, 0.1],
    ]
)


def by_hand() -> Table:
    return model(TABLE.expand(1, 4, 4, 4))


def search(state: Table, **options: object) -> list[list[Hypothesis]]:
    defaults = {"beam_width": 2, "length_exponent": 0.0}
    limits = {"end": END, "max_length": 3}
    for name in list(options):
        if name in ("min_length", "max_length", "no_repeat_ngram", "forbidden", "required", "beginning"):
            limits[name] = options.pop(name)
    pictures = len(state.log_probabilities)
    return beam_search(
        step, state, pictures=pictures, start=START, constraints=Constraints(**limits), **{**defaults, **options}
    )


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


def test_groups_say_different_first_words_when_diversity_is_high() -> None:
    # Both beams of a plain search begin with "a", which is far likelier; a second group must not.
    table = torch.tensor([[0.0, 0.05, 0.9, 0.05], [0.0, 1.0, 0.0, 0.0], [0.0, 0.05, 0.8, 0.15], [0.0, 0.05, 0.05, 0.9]])
    state = model(table.expand(1, 4, 4, 4))
    options = {"beam_width": 2, "best": 2, "min_length": 2, "max_length": 2}
    [plain] = search(state, **options)
    [diverse] = search(state, groups=2, diversity=5.0, **options)
    assert [caption.words for caption in plain] == [(A, A), (A, B)]
    assert [caption.words for caption in diverse] == [(A, A), (B, B)]
    # Told without the penalty.
    assert diverse[1].log_probability == pytest.approx(math.log(0.05 * 0.9 * 0.05))


def test_the_first_group_is_a_plain_search_of_its_width() -> None:
    state = random_model(5, pictures=3, vocabulary=6)
    plain = search(state, beam_width=2, best=1)
    diverse = search(state, beam_width=6, groups=3, diversity=2.0, best=6)
    for alone, several in zip(plain, diverse, strict=True):
        assert alone[0] in several


def test_without_penalty_every_group_finds_the_same_and_none_is_told_twice() -> None:
    state = random_model(5, pictures=1, vocabulary=5)
    [answers] = search(state, beam_width=4, groups=2, diversity=0.0)
    assert len({caption.words for caption in answers}) == len(answers)
    assert answers == search(state, beam_width=2, best=4)[0]


@pytest.mark.parametrize("width", [0, -1, 1001])
def test_a_beam_of_no_or_of_too_many_captions_is_one_sentence(width: int) -> None:
    with pytest.raises(ConfigError, match=f"1 to 1000 captions wide, but beam_width {width} came"):
        search(by_hand(), beam_width=width)


def test_groups_that_do_not_divide_the_beam_are_one_sentence() -> None:
    with pytest.raises(ConfigError, match="divide the beam evenly"):
        search(by_hand(), beam_width=3, groups=2)


def test_a_search_led_into_a_dead_end_goes_back() -> None:
    # "a" is likelier, but no caption that begins with it can end.
    trap = torch.tensor([[0.0, 0.0, 0.6, 0.4], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.9, 0.1, 0.0]])
    state = model(trap.expand(1, 4, 4, 4))
    [[answer]] = search(state, beam_width=1)
    assert answer.words == (B,)
    assert answer.log_probability == pytest.approx(math.log(0.4 * 0.9))
    [greedy] = greedy_search(step, state, pictures=1, start=START, constraints=Constraints(end=END, max_length=3))
    assert greedy == answer


def recorded(state: Table, **options: object) -> tuple[list[list[Hypothesis]], list[Tree]]:
    recorder = Recorder()
    answers = search(state, recorder=recorder, **options)
    return answers, recorder.trees


def test_the_tree_by_hand() -> None:
    [[_, second]], [tree] = recorded(by_hand())
    fates = {(tree.words(node.index), node.word == END): node.fate for node in tree.nodes}
    assert fates[(), False] is Fate.KEPT
    assert fates[(A,), False] is Fate.KEPT
    assert fates[(B,), False] is Fate.KEPT
    assert fates[(A,), True] is Fate.BEATEN  # 0.6 * 0.3, less than 0.4 * 0.8 and 0.6 * 0.4 * 0.8
    assert fates[(B,), True] is Fate.BEST
    assert fates[(A, B), True] is Fate.BEST
    assert fates[(B, A), False] is Fate.OUTSCORED  # 0.4 * 0.1
    assert fates[(A, A, B), False] is Fate.STOPPED  # 0.6 * 0.3 * 0.4, less than both answers
    node = next(node for node in tree.nodes if tree.words(node.index) == (A, B) and node.word == END)
    assert node.log_probability == pytest.approx(second.log_probability)
    assert node.step == 3
    assert tree.nodes[node.parent or 0] in tree.children(tree.nodes[node.parent or 0].parent or 0)


def test_the_tree_tells_which_rule_was_broken() -> None:
    state = random_model(2, pictures=1, vocabulary=6)
    rules = {"beginning": (A,), "forbidden": ((B,),), "required": ((C, C),), "no_repeat_ngram": 2, "min_length": 4}
    _, [tree] = recorded(state, max_length=4, **rules)
    fates = {(tree.words(node.index), node.word == END): node.fate for node in tree.nodes}
    assert fates[(), True] is Fate.OFF_BEGINNING
    assert fates[(B,), False] is Fate.OFF_BEGINNING
    assert fates[(A,), True] is Fate.TOO_SHORT
    assert fates[(A, B), False] is Fate.FORBIDDEN
    assert Fate.NO_ROOM in fates.values()
    assert Fate.TOO_LONG in fates.values()
    assert {fate for fate in Fate if fate.breaks_a_rule} > {Fate.OFF_BEGINNING, Fate.TOO_SHORT, Fate.NO_ROOM}


def test_any_node_can_be_forced_and_the_rest_decoded_again() -> None:
    state = random_model(11, pictures=1, vocabulary=6)
    _, [tree] = recorded(state, beam_width=2, max_length=4)
    dropped = next(node for node in tree.nodes if node.fate is Fate.OUTSCORED and node.step == 2)
    [forced] = search(state, beam_width=2, max_length=4, beginning=tree.words(dropped.index))
    assert forced
    assert all(caption.words[:2] == tree.words(dropped.index) for caption in forced)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), width=st.sampled_from([1, 2, 4]), groups=st.sampled_from([1, 2]))
def test_a_tree_is_consistent_and_does_not_depend_on_the_batch(seed: int, width: int, groups: int) -> None:
    state = random_model(seed, pictures=3, vocabulary=5)
    options = {
        "beam_width": width * groups, "groups": groups, "length_exponent": 0.7, "max_length": 4,
        "no_repeat_ngram": 1, "required": ((A,),),
    }  # fmt: skip
    answers, trees = recorded(state, **options)
    for picture, tree in enumerate(trees):
        [alone], [same] = recorded(state.only(picture), **options)
        assert [node.fate for node in tree.nodes] == [node.fate for node in same.nodes]
        assert [tree.words(node.index) for node in tree.nodes] == [same.words(node.index) for node in same.nodes]
        assert [caption.words for caption in alone] == [caption.words for caption in answers[picture]]
        best = [node for node in tree.nodes if node.fate is Fate.BEST]
        assert {tree.words(node.index) for node in best} == {caption.words for caption in answers[picture]}
        for node in tree.nodes[1:]:
            parent = tree.nodes[node.parent or 0]
            assert parent.index < node.index
            assert parent.fate is Fate.KEPT
            assert parent.step + 1 == node.step
            assert node.log_probability <= parent.log_probability
            assert node.score == pytest.approx(node.log_probability / node.step**0.7)
            if node.fate is Fate.BEATEN:
                limits = Constraints(end=END, max_length=4, no_repeat_ngram=1, required=((A,),))
                assert obeys(tree.words(node.index), limits)
