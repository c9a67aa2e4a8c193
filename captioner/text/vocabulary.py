"""The closed vocabulary: caption text <-> word ids.

`normalise` splits a caption into words the way the COCO evaluation does (Penn Treebank style: lower case,
punctuation dropped, clitics such as 's and n't apart), for words of any script. The vocabulary knows the words
that occur often enough in the training captions and no others: what it does not hold can never be said.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import regex

from captioner.errors import CheckpointError, DataError

PADDING, START, END, UNKNOWN = 0, 1, 2, 3
"""Ids of the special tokens: filling, before the first word, after the last, and any word not known."""

SPECIAL_TOKENS = ("<pad>", "<start>", "<end>", "<unk>")

NEVER_SAID = (PADDING, START, UNKNOWN)
"""Tokens that a search must never choose."""

# Letters, marks, digits; inside a word also hyphens and apostrophes (t-shirt, o'clock) and decimal points.
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+(?:[-'.][\p{L}\p{M}\p{N}]+)*|(?<=\s)'(?:s|re|ve|ll|d|m)\b")
_CLITIC = regex.compile(r"(?:n't|'(?:s|re|ve|ll|d|m))$")


def normalise(caption: str) -> list[str]:
    """The words of a caption: `"The dog's T-shirt, isn't it?"` -> `the dog 's t-shirt is n't it`."""
    text = unicodedata.normalize("NFKC", caption).lower().replace("’", "'").replace("`", "'")
    words: list[str] = []
    for token in _WORD.findall(f" {text}"):
        clitic = _CLITIC.search(token)
        if clitic and clitic.start() > 0:
            words += [token[: clitic.start()], clitic.group()]
        else:
            words.append(token)
    return words


def detokenise(words: Sequence[str]) -> str:
    """A proper sentence from words: capital first, clitics joined, a full stop last; empty for no words."""
    sentence = ""
    for word in words:
        joined = word == "n't" or word.startswith("'")
        sentence += word if joined or not sentence else f" {word}"
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""


class Vocabulary:
    """Every word the captioner can say, with its count in the training captions, commonest first."""

    def __init__(self, counts: Sequence[tuple[str, int]]) -> None:
        self.counts = dict(counts)
        self.words: tuple[str, ...] = (*SPECIAL_TOKENS, *self.counts)
        self._ids = {word: index for index, word in enumerate(self.words)}

    @classmethod
    def fit(cls, captions: Iterable[str], *, min_count: int) -> Vocabulary:
        """The words that occur at least `min_count` times in `captions`, ties in alphabetical order.

        Raises DataError when no word occurs so often.
        """
        counter = Counter(word for caption in captions for word in normalise(caption))
        counts = [(word, count) for word, count in counter.items() if count >= min_count]
        if not counts:
            raise DataError(
                f"At least one word must occur {min_count} times in the training captions, but none of "
                f"{len(counter)} does; lower vocabulary.min_count or add captions."
            )
        return cls(sorted(counts, key=lambda entry: (-entry[1], entry[0])))

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self.counts

    def encode(self, caption: str) -> list[int]:
        """The ids of a caption's words, without start and end; words not known become `UNKNOWN`."""
        return [self._ids.get(word, UNKNOWN) for word in normalise(caption)]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The words of ids up to the first end token, special tokens left out."""
        words = []
        for index in ids:
            if index == END:
                break
            if index >= len(SPECIAL_TOKENS):
                words.append(self.words[index])
        return words

    def to_json(self) -> str:
        """JSON text that `from_json` reads back."""
        return json.dumps({"words": list(self.counts.items())}, ensure_ascii=False, indent=None)

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """Raises CheckpointError when `text` is no vocabulary."""
        try:
            entries: list[Any] = json.loads(text)["words"]
            counts = [(str(word), int(count)) for word, count in entries]
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"A vocabulary must list words with their counts, but this one does not: {error}."
            ) from error
        if len(dict(counts)) != len(counts) or set(SPECIAL_TOKENS) & set(dict(counts)):
            raise CheckpointError("A vocabulary must hold every word once and no special token; this one does not.")
        return cls(counts)

    def fingerprint(self) -> str:
        """SHA-256 of the words in their order: two vocabularies with equal fingerprints give equal ids."""
        return hashlib.sha256("\n".join(self.words).encode()).hexdigest()
