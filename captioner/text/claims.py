"""What a caption claims of colours, numbers and people, and whether the references contradict it.

A caption claims "red" when it says so. It is contradicted when the references make claims of the same kind, none
of them this one: they name colours, but never red. English only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

_KINDS = {
    "colour": {
        **{colour: [colour] for colour in ("red", "blue", "green", "yellow", "black", "white", "brown", "orange")},
        "pink": ["pink"],
        "purple": ["purple"],
        "tan": ["tan"],
        "grey": ["grey", "gray"],
        "blond": ["blond", "blonde"],
    },
    "number": {
        "two": ["two", "couple", "pair"],
        "three": ["three"],
        "four": ["four"],
        "five": ["five"],
        "many": ["many", "several", "group"],
    },
    "gender": {
        "male": ["man", "men", "boy", "boys", "male", "guy", "guys", "he", "his", "him"],
        "female": ["woman", "women", "girl", "girls", "female", "lady", "ladies", "she", "her"],
    },
}

CLAIMS = {kind: {word: claim for claim, words in claims.items() for word in words} for kind, claims in _KINDS.items()}
"""For each kind of claim the words that make one, and what they claim."""


class Contradicted(NamedTuple):
    """How often claims of one kind are contradicted."""

    claims: int
    """Claims that the references could confirm or contradict."""
    contradicted: int

    @property
    def share(self) -> float:
        """Of the claims, 0 to 1; 0 for none."""
        return self.contradicted / self.claims if self.claims else 0.0


def contradicted(
    captions: Iterable[Sequence[str]], references: Iterable[Collection[Sequence[str]]]
) -> dict[str, Contradicted]:
    """For each kind the claims of captions (lists of words) that their references (lists of such) contradict."""
    pairs = list(zip(captions, references, strict=True))
    answer = {}
    for kind, words in CLAIMS.items():
        claims = wrong = 0
        for caption, written in pairs:
            true = {words[word] for reference in written for word in reference if word in words}
            said = {words[word] for word in caption if word in words} if true else set()
            claims += len(said)
            wrong += len(said - true)
        answer[kind] = Contradicted(claims, wrong)
    return answer
