"""The closed vocabulary: caption text <-> word ids.

`normalise` splits a caption into words the way the COCO evaluation does (Penn Treebank style: lower case,
punctuation dropped, clitics such as 's and n't apart), for words of any script. Scripts that write no spaces between
words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) need `units="characters"`: each of their letters is then a word of
its own, and words of other scripts stay whole. The vocabulary knows the words that occur often enough in the training
captions and no others: what it does not hold can never be said.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import regex

from captioner.errors import CheckpointError, DataError

PADDING, START, END, UNKNOWN = 0, 1, 2, 3
"""Ids of the special tokens: filling, before the first word, after the last, and any word not known."""

SPECIAL_TOKENS = ("<pad>", "<start>", "<end>", "<unk>")

NEVER_SAID = (PADDING, START, UNKNOWN)
"""Tokens that a search must never choose."""

Units = Literal["words", "characters"]
"""What a caption is made of: words between spaces, or single letters wherever a script writes no spaces."""

# Scripts without spaces between words; "scx" counts in marks that two scripts share, such as the Japanese long vowel.
_SPACELESS = r"[[\p{scx=Hani}\p{scx=Hira}\p{scx=Kana}\p{scx=Thai}\p{scx=Laoo}\p{scx=Khmr}\p{scx=Mymr}]&&[\p{L}\p{N}]]"
_CLITICS = "(?:s|re|ve|ll|d|m)"


def _pattern(letter: str) -> str:
    """Words of such letters; inside also hyphens, apostrophes (t-shirt, o'clock), decimal points and joiners."""
    # The two joiners are no letters, but words of Persian and several scripts of India are spelt with them.
    return rf"{letter}+(?:[-'.\u200c\u200d]{letter}+)*|(?<=\s)'{_CLITICS}\b"


_UNIT = {
    "words": regex.compile(_pattern(r"[\p{L}\p{M}\p{N}]")),
    "characters": regex.compile(
        rf"{_SPACELESS}\p{{M}}*|" + _pattern(rf"[[\p{{L}}\p{{M}}\p{{N}}]--{_SPACELESS}]"), regex.V1
    ),
}
_CLITIC = regex.compile(rf"(?:n't|'{_CLITICS})$")
_LETTER_OF_ITS_OWN = regex.compile(_SPACELESS, regex.V1)

# NFKC takes these vowels of Thai and Lao apart, against how everybody writes them.
_WRITTEN_TOGETHER = {"\u0e4d\u0e32": "\u0e33", "\u0ecd\u0eb2": "\u0eb3"}

# What ends a sentence whose last letter is of such a script; others end with a full stop.
_FULL_STOPS = {
    regex.compile(r"[\p{scx=Hani}\p{scx=Hira}\p{scx=Kana}]"): "。",
    regex.compile(r"[\p{Thai}\p{Lao}]"): "",
    regex.compile(r"\p{Khmer}"): "។",
    regex.compile(r"\p{Myanmar}"): "။",
}


def normalise(caption: str, units: Units = "words") -> list[str]:
    """The words of a caption: `"The dog's T-shirt, isn't it?"` -> `the dog 's t-shirt is n't it`."""
    text = unicodedata.normalize("NFKC", caption).lower().replace("’", "'").replace("`", "'").replace("\u00ad", "")
    for apart, together in _WRITTEN_TOGETHER.items():
        text = text.replace(apart, together)
    words: list[str] = []
    for token in _UNIT[units].findall(f" {text}"):
        clitics: list[str] = []
        while (clitic := _CLITIC.search(token)) and clitic.start() > 0:
            token, clitics = token[: clitic.start()], [clitic.group(), *clitics]
        words += [token, *clitics]
    return words


def detokenise(words: Sequence[str], units: Units = "words") -> str:
    """A proper sentence from words: capital first, clitics joined, a full stop last; empty for no words.

    With `units="characters"` no space stands beside a letter of a script that writes none, and the full stop is that
    of the sentence's last script.
    """
    if not words:
        return ""
    sentence = words[0]
    for previous, word in itertools.pairwise(words):
        joined = word == "n't" or word.startswith("'")
        if units == "characters":
            joined = joined or any(_LETTER_OF_ITS_OWN.match(beside) for beside in (previous, word))
        sentence += word if joined else f" {word}"
    stop = "."
    if units == "characters":
        stop = next((mark for script, mark in _FULL_STOPS.items() if script.match(words[-1])), ".")
    # Some letters have no capital of their own: that of ß would be SS, and another word.
    capital = sentence[0].upper()
    first = capital if capital.lower() == sentence[0] else sentence[0]
    return f"{first}{sentence[1:]}{stop}"


def is_spaceless(caption: str) -> bool:
    """Whether most letters of a caption are of scripts that write no spaces between words."""
    letters = sum(letter.isalnum() for letter in caption)
    return 2 * len(_LETTER_OF_ITS_OWN.findall(caption)) > letters


class Vocabulary:
    """Every word the captioner can say, with its count in the training captions, commonest first.

    One that learnt from several collections has each word's count in the collection that says it most.

    With `units="characters"` a "word" is a letter, wherever a script writes no spaces.
    """

    def __init__(self, counts: Sequence[tuple[str, int]], *, units: Units = "words") -> None:
        self.units: Units = units
        self.counts = dict(counts)
        self.words: tuple[str, ...] = (*SPECIAL_TOKENS, *self.counts)
        self._ids = {word: index for index, word in enumerate(self.words)}

    @classmethod
    def fit(cls, captions: Iterable[str], *, min_count: int, units: Units = "words") -> Vocabulary:
        """The words that occur at least `min_count` times in `captions`, ties in alphabetical order.

        Raises DataError when no word occurs so often.
        """
        counter = Counter(word for caption in captions for word in normalise(caption, units))
        counts = [(word, count) for word, count in counter.items() if count >= min_count]
        if not counts:
            raise DataError(
                f"At least one word must occur {min_count} times in the training captions, but none of "
                f"{len(counter)} does; lower vocabulary.min_count or add captions."
            )
        return cls(sorted(counts, key=lambda entry: (-entry[1], entry[0])), units=units)

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self.counts

    def normalise(self, caption: str) -> list[str]:
        """The words of a caption, in this vocabulary's units, known or not."""
        return normalise(caption, self.units)

    def detokenise(self, words: Sequence[str]) -> str:
        """A proper sentence from words in this vocabulary's units."""
        return detokenise(words, self.units)

    def encode(self, caption: str) -> list[int]:
        """The ids of a caption's words, without start and end; words not known become `UNKNOWN`."""
        return [self._ids.get(word, UNKNOWN) for word in self.normalise(caption)]

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
        units = {} if self.units == "words" else {"units": self.units}
        return json.dumps(units | {"words": list(self.counts.items())}, ensure_ascii=False, indent=None)

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """Raises CheckpointError when `text` is no vocabulary."""
        try:
            stored: dict[str, Any] = json.loads(text)
            counts = [(str(word), int(count)) for word, count in stored["words"]]
            units: Any = stored.get("units", "words")
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"A vocabulary must list words with their counts, but this one does not: {error}."
            ) from error
        if len(dict(counts)) != len(counts) or set(SPECIAL_TOKENS) & set(dict(counts)):
            raise CheckpointError("A vocabulary must hold every word once and no special token; this one does not.")
        if units not in get_args(Units):
            raise CheckpointError(
                f"A vocabulary's units must be {' or '.join(get_args(Units))}, but this one's are {units!r}: the model "
                "was made by a newer program; update this one."
            )
        return cls(counts, units=units)

    def fingerprint(self) -> str:
        """SHA-256 of the words in their order: two vocabularies with equal fingerprints give equal ids."""
        units = () if self.units == "words" else (self.units,)
        return hashlib.sha256("\n".join((*units, *self.words)).encode()).hexdigest()
