"""Two captions word by word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioner.text.difference import word_difference

CAPTIONS = st.lists(st.sampled_from(["a", "dog", "cat", "runs"]), max_size=8)


def marked(old: str, new: str) -> str:
    """As git marks words."""
    marks = {"kept": ("", ""), "removed": ("[-", "-]"), "added": ("{+", "+}")}
    pieces = word_difference(old.split(), new.split())
    return " ".join(marks[fate][0] + " ".join(words) + marks[fate][1] for fate, words in pieces)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("a dog runs", "a dog runs", "a dog runs"),
        ("a dog runs", "a black dog runs", "a {+black+} dog runs"),
        ("a black dog runs", "a dog runs", "a [-black-] dog runs"),
        ("a dog runs", "a cat runs", "a [-dog-] {+cat+} runs"),
        ("a dog", "", "[-a dog-]"),
        ("", "a dog", "{+a dog+}"),
        ("", "", ""),
    ],
)
def test_words_are_kept_removed_or_added(old: str, new: str, expected: str) -> None:
    assert marked(old, new) == expected


@given(CAPTIONS, CAPTIONS)
def test_both_captions_can_be_read_back(old: list[str], new: list[str]) -> None:
    pieces = word_difference(old, new)
    assert [word for fate, words in pieces if fate != "added" for word in words] == old
    assert [word for fate, words in pieces if fate != "removed" for word in words] == new
    assert all(words for _, words in pieces)
