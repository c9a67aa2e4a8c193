"""What a caption must say, must not say and begins with: in the user's words, and as ids of the vocabulary."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from captioner.errors import ConfigError
from captioner.text.vocabulary import Vocabulary

Phrase = tuple[int, ...]


@dataclass(frozen=True)
class WordRules:
    """Rules about words, as ids: each phrase a tuple of them."""

    forbidden: tuple[Phrase, ...] = ()
    required: tuple[Phrase, ...] = ()
    beginning: Phrase = ()


NO_RULES = WordRules()


@dataclass(frozen=True)
class Steering:
    """Rules about words, as a user writes them. A phrase is several words that follow one another.

    Words are compared as the vocabulary spells them: lower case, without punctuation. Other forms of a word are
    other words: to keep out "dog" and "dogs", forbid both.
    """

    forbid: tuple[str, ...] = ()
    """Words and phrases that never occur."""
    require: tuple[str, ...] = ()
    """Words and phrases that all occur, in any order."""
    beginning: str | None = None
    """How the caption begins."""

    def __post_init__(self) -> None:
        for name, given in (("forbid", self.forbid), ("require", self.require)):
            if isinstance(given, str):
                raise ConfigError(f"{name} must be a tuple of words, but the text {given!r} came; write ({given!r},).")

    def rules(self, vocabulary: Vocabulary) -> WordRules:
        """The rules as ids.

        A forbidden word that the vocabulary does not hold is never said and needs no rule (`needless` tells). Raises
        ConfigError when a word that must be said is not in the vocabulary, a text holds no word, or what must be
        said holds what is forbidden.
        """
        forbidden = [_words(text, vocabulary) for text in self.forbid]
        required = [_words(text, vocabulary) for text in self.require]
        beginning = _words(self.beginning, vocabulary) if self.beginning is not None else ()
        for words in (*required, beginning):
            for word in words:
                if word not in vocabulary:
                    raise ConfigError(f"The caption must say {word!r}, but {_unknown(word, vocabulary)}.")
        for demand, phrases in (("required", required), ("the beginning", [beginning])):
            for words in phrases:
                for phrase in forbidden:
                    if _holds(words, phrase):
                        raise ConfigError(
                            f"A caption cannot obey both: {' '.join(words)!r} is {demand}, but {' '.join(phrase)!r} "
                            "is forbidden; drop one of them."
                        )
        sayable = [words for words in forbidden if all(word in vocabulary for word in words)]
        return WordRules(
            forbidden=tuple(dict.fromkeys(_ids(words, vocabulary) for words in sayable)),
            required=tuple(dict.fromkeys(_ids(words, vocabulary) for words in required)),
            beginning=_ids(beginning, vocabulary),
        )

    def needless(self, vocabulary: Vocabulary) -> list[str]:
        """A sentence for every forbidden word that could not be said anyway: it may be a slip of the pen."""
        unknown = [word for text in self.forbid for word in _words(text, vocabulary) if word not in vocabulary]
        return [f"There was no need to forbid {word!r}: {_unknown(word, vocabulary)}." for word in unknown]


def _words(text: str, vocabulary: Vocabulary) -> tuple[str, ...]:
    words = tuple(vocabulary.normalise(text))
    if not words:
        raise ConfigError(f"What a caption must say, must not say or begins with must hold a word, but {text!r} came.")
    return words


def _ids(words: tuple[str, ...], vocabulary: Vocabulary) -> Phrase:
    return tuple(vocabulary.encode(" ".join(words)))


def _holds(words: tuple[str, ...], phrase: tuple[str, ...]) -> bool:
    return any(words[i : i + len(phrase)] == phrase for i in range(len(words) - len(phrase) + 1))


def _unknown(word: str, vocabulary: Vocabulary) -> str:
    near = difflib.get_close_matches(word, vocabulary.counts, n=3, cutoff=0.8)
    hint = f"near it: {', '.join(near)}" if near else "`captioner vocabulary`, or the page's tab Model, lists all words"
    return f"the model does not know this word; {hint}"
