"""Words: what is split, what is kept, what comes back."""

from __future__ import annotations

import pytest

from captioner.errors import CheckpointError, DataError
from captioner.text.vocabulary import END, PADDING, START, UNKNOWN, Vocabulary, detokenise, normalise


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A man 's hand .", "a man 's hand"),
        ("The dog's T-shirt, isn't it?", "the dog 's t-shirt is n't it"),
        ("Two girls' bikes at 5 o’clock!", "two girls bikes at 5 o'clock"),
        ('A sign : " 3.5 km "', "a sign 3.5 km"),
        ("Кошка сидит на траве.", "кошка сидит на траве"),
        ("Una niña, en el jardín", "una niña en el jardín"),
        ("एक कुत्ता दौड़ रहा है", "एक कुत्ता दौड़ रहा है"),
        ("ﬁsh and ＣＨＩＰＳ", "fish and chips"),
        ("Straße", "straße"),
        ("... -- !", ""),
    ],
)
def test_normalise_splits_into_words_of_any_script(caption: str, words: str) -> None:
    assert normalise(caption) == words.split()


def test_detokenise_gives_back_a_proper_sentence() -> None:
    assert detokenise(["a", "man", "'s", "dog", "does", "n't", "run"]) == "A man's dog doesn't run."
    assert detokenise(["élan"]) == "Élan."
    assert detokenise([]) == ""


def test_what_normalise_splits_detokenise_joins_again() -> None:
    sentence = "The dog's t-shirt isn't in the o'clock box."
    assert detokenise(normalise(sentence)) == sentence


def test_only_words_that_occur_often_enough_are_kept_commonest_first() -> None:
    vocabulary = Vocabulary.fit(["a dog", "a cat", "A dog runs", "zebra dog cat"], min_count=2)
    assert list(vocabulary.counts.items()) == [("a", 3), ("dog", 3), ("cat", 2)]
    assert "runs" not in vocabulary
    assert len(vocabulary) == 4 + 3


def test_unknown_words_become_the_unknown_token_and_never_come_back() -> None:
    vocabulary = Vocabulary.fit(["a dog", "a dog"], min_count=2)
    ids = vocabulary.encode("A purple dog")
    assert ids[1] == UNKNOWN
    assert vocabulary.decode([START, *ids, END, ids[0], PADDING]) == ["a", "dog"]


def test_a_vocabulary_without_words_is_refused() -> None:
    with pytest.raises(DataError, match="none of 2 does"):
        Vocabulary.fit(["a dog"], min_count=2)


def test_json_gives_back_the_same_ids() -> None:
    vocabulary = Vocabulary.fit(["niña кошка dog", "dog"], min_count=1)
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again.words == vocabulary.words
    assert again.fingerprint() == vocabulary.fingerprint()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"words": [["a"]]}', '{"words": [["a", 1], ["a", 2]]}', '{"words": [["<end>", 1]]}']
)
def test_json_that_is_no_vocabulary_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError):
        Vocabulary.from_json(text)
