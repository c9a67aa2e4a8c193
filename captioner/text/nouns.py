"""The nouns of captions, known by their place: right after an article and right before a function word or the end.

No tagger is needed and little is missed that is common: "a dog runs" tells nothing, but "a dog is running", "the dog"
do. Before "and" an adjective may stand, too ("a black and white dog"). English only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from captioner.text.function_words import FUNCTION_WORDS

_ARTICLES = frozenset({"a", "an", "the"})
_FOLLOWING = FUNCTION_WORDS - {"and", "or"}


def commonest_nouns(references: Sequence[Sequence[Sequence[str]]], count: int) -> list[str]:
    """Those that most pictures have in a reference, commonest first, ties in alphabetical order.

    `references` holds for each picture its references, each a list of words. A noun that stands somewhere in its place
    counts wherever it stands.
    """
    nouns = {noun for rows in references for words in rows for noun in _nouns(words)}
    pictures = Counter(noun for rows in references for noun in nouns & set().union(*rows))
    return sorted(pictures, key=lambda noun: (-pictures[noun], noun))[:count]


def _nouns(words: Sequence[str]) -> list[str]:
    return [
        word
        for before, word, after in zip(words, words[1:], [*words[2:], "the"], strict=False)
        if before in _ARTICLES and word not in FUNCTION_WORDS and after in _FOLLOWING
    ]
