"""The nouns of captions, known by their place: right after an article and right before a function word or the end.

No tagger is needed: "a dog runs" tells nothing, but "a dog is running" and "the dog" do. English only; words that
hardly ever follow an article, such as "people", are missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from captioner.text.function_words import FUNCTION_WORDS

_ARTICLES = frozenset({"a", "an", "the"})
_FOLLOWING = FUNCTION_WORDS - {"and", "or"} | {""}
"""Before "and" an adjective may stand, too: "a black and white dog". After the last word comes nothing."""
_SHARE = 0.02
"""A noun stands in its place at least so often of all times; "red" does in 0.3 % of them, "dog" in 11 %."""


def commonest_nouns(references: Sequence[Sequence[Sequence[str]]], count: int) -> list[str]:
    """Those that most pictures have in a reference, commonest first, ties in alphabetical order.

    `references` holds for each picture its references, each a list of words.
    """
    sentences = [words for rows in references for words in rows]
    said = Counter(word for words in sentences for word in words)
    in_place = Counter(noun for words in sentences for noun in _in_place(words))
    nouns = {noun for noun, times in in_place.items() if times >= _SHARE * said[noun]}
    pictures = Counter(noun for rows in references for noun in nouns & set().union(*rows))
    return sorted(pictures, key=lambda noun: (-pictures[noun], noun))[:count]


def _in_place(words: Sequence[str]) -> list[str]:
    return [
        word
        for before, word, after in zip(words, words[1:], [*words[2:], ""], strict=False)
        if before in _ARTICLES and word not in FUNCTION_WORDS and after in _FOLLOWING
    ]
