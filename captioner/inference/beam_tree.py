"""The beam tree in words: every hypothesis the search weighed, kept or dropped, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from captioner.search.fate import Fate
from captioner.search.tree import Tree


@dataclass(frozen=True)
class Branch:
    """One hypothesis: the words said so far, and what became of it."""

    number: int
    """Its place in the tree."""
    parent: int | None
    """The number of the branch it goes on from; None for the root, which has said nothing."""
    text: str
    """Its last word; `<end>` if it is finished, empty for the root."""
    words: tuple[str, ...]
    """Everything it says."""
    log_probability: float
    """Natural logarithm, of everything it says, the end included if it is finished."""
    score: float
    """What the search ranks finished captions by."""
    fate: Fate

    @property
    def beginning(self) -> str | None:
        """Everything it says: the `Steering.beginning` with which to decode from here again; None for the root."""
        return " ".join(self.words) or None

    def as_json(self) -> dict[str, Any]:
        """Plain numbers and strings."""
        return {
            "number": self.number,
            "parent": self.parent,
            "text": self.text,
            "beginning": self.beginning,
            "log_probability": round(self.log_probability, 4),
            "score": round(self.score, 4),
            "fate": self.fate.name.lower(),
            "told": f"This caption {self.fate}.",
        }


@dataclass(frozen=True)
class BeamTree:
    """All branches; a parent stands before its children."""

    branches: tuple[Branch, ...]
    said: tuple[str, ...]
    """The words of the caption chosen."""

    def children(self, number: int) -> tuple[Branch, ...]:
        """The branches that go on from one, likeliest first."""
        going_on = [branch for branch in self.branches if branch.parent == number]
        return tuple(sorted(going_on, key=lambda branch: -branch.log_probability))

    @property
    def chosen(self) -> frozenset[int]:
        """The numbers of the branches that lead to the caption chosen, that one and the root included."""
        path: set[int] = set()
        at = max((branch for branch in self._best() if branch.words == self.said), key=_score, default=None)
        while at is not None:
            path.add(at.number)
            at = None if at.parent is None else self.branches[at.parent]
        return frozenset(path)

    @property
    def by_consensus(self) -> bool:
        """Whether another finished caption has a better score than the one chosen (`SearchConfig.consensus`)."""
        best = max(self._best(), key=_score, default=None)
        return best is not None and best.words != self.said

    def _best(self) -> list[Branch]:
        return [branch for branch in self.branches if branch.fate is Fate.BEST]


def spell(tree: Tree, words: Sequence[str], said: Sequence[str]) -> BeamTree:
    """A search's tree with the vocabulary's `words` in place of their ids; `said` are those of the caption chosen."""
    branches: list[Branch] = []
    for node in tree.nodes:
        text = "" if node.parent is None else words[node.word]
        before = () if node.parent is None else branches[node.parent].words
        so_far = before if node.parent is None or node.word == tree.end else (*before, text)
        branches.append(Branch(node.index, node.parent, text, so_far, node.log_probability, node.score, node.fate))
    return BeamTree(tuple(branches), tuple(said))


def _score(branch: Branch) -> float:
    return branch.score
