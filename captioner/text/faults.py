"""Faults of captions that can be seen without the picture: dangling ends, things said twice, "a man and a dog is"."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from captioner.text.function_words import FUNCTION_WORDS

DANGLING_WORDS = frozenset(
    {"a", "an", "the", "his", "its", "their", "this", "some", "and", "or", "but", "while", "as", "than", "who", "which"}
    | {"is", "are", "was", "were", "be", "being", "of", "in", "into", "onto", "at", "with", "without", "to", "from"}
    | {"for", "against", "during", "between", "toward", "towards", "near", "next"}
)
"""English words that a finished sentence hardly ends with; it does with "on" ("with his coat on") and "by"."""

_SINGULAR_VERBS = frozenset({"is", "was", "has"})

_UNKNOWN_WORDS = frozenset({"<unk>", "unk"})
"""The special token, as it is and as `normalise` leaves it."""


@dataclass(frozen=True)
class Faults:
    """Shares of captions, 0 to 1, that have each fault."""

    dangling_end: float
    """The last word is one of `DANGLING_WORDS`."""
    unknown_word: float
    """It says `<unk>`."""
    repeated_word: float
    """A word stands twice in a row."""
    repeated_phrase: float
    """Two words in a row, at least one of them no function word, come again later: "a man beside a man"."""
    singular_for_two: float
    """It says of two that one "is": "a man and a woman is"."""


def find_faults(captions: Sequence[Sequence[str]]) -> Faults:
    """How many of the captions, lists of words and at least one of them, have each fault."""
    checks = (_dangles, _has_unknown_word, _repeats_word, _repeats_phrase, _takes_two_for_one)
    return Faults(*(sum(map(check, captions)) / len(captions) for check in checks))


def _dangles(words: Sequence[str]) -> bool:
    return bool(words) and words[-1] in DANGLING_WORDS


def _has_unknown_word(words: Sequence[str]) -> bool:
    return not _UNKNOWN_WORDS.isdisjoint(words)


def _repeats_word(words: Sequence[str]) -> bool:
    return any(word == following for word, following in itertools.pairwise(words))


def _repeats_phrase(words: Sequence[str]) -> bool:
    pairs = [pair for pair in itertools.pairwise(words) if not FUNCTION_WORDS.issuperset(pair)]
    return len(set(pairs)) < len(pairs)


def _takes_two_for_one(words: Sequence[str]) -> bool:
    verb = next((place for place, word in enumerate(words) if word in _SINGULAR_VERBS), 0)
    subject = list(words[:verb])
    if subject.count("and") != 1:
        return False
    middle = subject.index("and")
    return _is_one_thing(subject[:middle]) and _is_one_thing(subject[middle + 1 :])


def _is_one_thing(words: Sequence[str]) -> bool:
    """Whether these are an article and what it is of: "a small dog", but not "a man with glasses" or "a man sits"."""
    *before, noun = words or [""]
    is_verb = noun.endswith("ing") or (noun.endswith("s") and not noun.endswith("ss"))
    return before[:1] in (["a"], ["an"]) and FUNCTION_WORDS.isdisjoint([*before[1:], noun]) and not is_verb
