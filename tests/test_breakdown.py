"""The figures of an evaluation by length and by noun, on captions small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from captioner.inference.breakdown import OfLength, OfNoun, by_length, by_noun
from captioner.text.nouns import commonest_nouns


def split(*captions: str) -> list[list[str]]:
    return [caption.split() for caption in captions]


def test_a_noun_stands_after_an_article_and_before_a_function_word_or_the_end() -> None:
    references = [split("a brown dog runs in the grass", "a dog is in tall grass"), split("the dog", "a man runs")]
    assert commonest_nouns(references, 5) == ["dog", "grass"]
    assert commonest_nouns(references, 1) == ["dog"]
    # Once in its place of 51 times: no noun.
    assert commonest_nouns([split("a red", *["a red dog runs"] * 50)], 5) == []
    assert commonest_nouns([split("a black and white dog")], 5) == []


def test_captions_are_grouped_by_their_length_and_each_group_has_its_own_figures() -> None:
    captions = split("a b", "a b", "c d e f", "c d e x", "a b c d e")
    references = [split("a b"), split("a b"), split("c d e f"), split("c d e f"), split("a b c d e")]
    found = by_length(captions, references, np.array([1.0, 3.0, 10.0, 20.0, 7.0]))
    assert found == [
        OfLength(2, 2, 2, 2.0, 0.0),
        OfLength(4, 4, 2, 15.0, pytest.approx(found[1].bleu_4)),
        OfLength(5, 5, 1, 7.0, pytest.approx(100)),
    ]
    # Of the 2 * 4 words, 7 are right, of the pairs 5 of 6, of the triples 3 of 4, of the quadruples 1 of 2.
    assert found[1].bleu_4 == pytest.approx(100 * (7 / 8 * 5 / 6 * 3 / 4 * 1 / 2) ** 0.25)


def test_a_noun_is_told_with_how_often_it_is_said_where_it_is_shown_and_shown_where_it_is_said() -> None:
    captions = split("a dog", "a man", "a dog", "a dog")
    references = [split("the dog"), split("the dog"), split("the dog"), split("the horse")]
    found = by_noun(captions, references, np.array([30.0, 0.0, 60.0, 9.0]))
    assert found == [
        OfNoun("dog", 3, pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(30.0)),
        OfNoun("horse", 1, 0.0, None, pytest.approx(9.0)),
    ]


def test_captions_of_one_length_are_one_group() -> None:
    found = by_length(split("a b", "c d"), [split("a b"), split("c d")], np.array([1.0, 2.0]))
    assert [(group.least, group.most, group.pictures) for group in found] == [(2, 2, 2)]
