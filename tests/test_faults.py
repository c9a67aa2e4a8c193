"""Faults that can be seen without the picture."""

from __future__ import annotations

import pytest

from captioner.text.faults import Faults, find_faults
from captioner.text.vocabulary import normalise


@pytest.mark.parametrize(
    ("caption", "fault"),
    [
        ("a dog runs in the", "dangling_end"),
        ("a man and a", "dangling_end"),
        ("a dog <unk> grass", "unknown_word"),
        ("a dog dog runs", "repeated_word"),
        ("a man beside a man", "repeated_phrase"),
        ("two women with two women", "repeated_phrase"),
        ("a man and a woman is sitting", "singular_for_two"),
        ("a brown dog and a small white dog is running", "singular_for_two"),
    ],
)
def test_each_fault_is_found_alone(caption: str, fault: str) -> None:
    faults = find_faults([caption.split(), "a dog runs".split()])
    assert {name for name, share in vars(faults).items() if share} == {fault}
    assert getattr(faults, fault) == 0.5


def test_what_people_say_is_no_fault() -> None:
    """Function words come again in every sentence, and some of them end one."""
    captions = ["a boy in a hat in a boat", "a man with his coat on", "a dog jumps up", "a man and a dog are here", ""]
    captions += ["a man with glasses and a hat is here", "a man sits and a dog is here", "a man and two dogs is wrong"]
    assert find_faults([caption.split() for caption in captions]) == Faults(0.0, 0.0, 0.0, 0.0, 0.0)


def test_the_unknown_word_is_found_in_a_sentence_that_was_normalised() -> None:
    assert find_faults([normalise("A <unk> runs.")]).unknown_word == 1.0
