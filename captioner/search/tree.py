"""The whole tree of a beam search: every hypothesis kept or dropped at each step, and why.

    recorder = Recorder()
    answers = beam_search(step, state, ..., recorder=recorder)
    tree = recorder.trees[0]                # of the first picture

    tree.nodes[0]                           # the root: nothing said yet; its word is the start token
    for node in tree.nodes[1:]:             # a parent always stands before its children
        node.parent, node.word, node.step   # number of the parent; id of the word; 1 for first words
        node.log_probability, node.score    # of everything said so far, this word included
        node.fate                           # Fate.KEPT, .BEST, .OUTSCORED, ...: a phrase that can be shown
    tree.words(node.index)                  # the ids said so far: the beginning with which to decode from here again
    tree.children(node.index)

Of each row of the beam the tree holds the likeliest words (`alternatives` of them, rules aside), the end of the
caption, and every word that was kept. To go on from a node is to search again with `Constraints.beginning` set to
its words. The tree of a picture does not depend on which pictures share its batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from captioner.search.constraints import Constraints
from captioner.search.fate import Fate
from captioner.search.hypothesis import Hypothesis


@dataclass(frozen=True)
class Node:
    """One hypothesis: its parent's words and one more."""

    index: int
    """Its own number: `tree.nodes[index]`."""
    parent: int | None
    """Number of the hypothesis it goes on from; None for the root."""
    word: int
    """Id of its last word: the end token if it is finished, the start token in the root."""
    step: int
    """How many tokens it holds, a final end token included; 0 for the root."""
    log_probability: float
    """Natural logarithm, of everything it says."""
    score: float
    """log_probability / step ** length_exponent: what finished captions are ranked by."""
    fate: Fate
    group: int = 0
    """Which group of a diverse search proposed it."""


@dataclass(frozen=True)
class Tree:
    """Every hypothesis about one picture, in the order in which they were proposed."""

    nodes: tuple[Node, ...]
    end: int
    """Id of the end token."""

    def words(self, index: int) -> tuple[int, ...]:
        """The ids a hypothesis says, without start and end token."""
        words: list[int] = []
        node = self.nodes[index]
        while node.parent is not None:
            words.append(node.word)
            node = self.nodes[node.parent]
        return tuple(word for word in reversed(words) if word != self.end)

    def children(self, index: int) -> tuple[Node, ...]:
        """The hypotheses that go on from this one."""
        return tuple(node for node in self.nodes if node.parent == index)


class Recorder:
    """Watches one beam search and keeps its trees; a search calls `begin`, `step` and `finish`."""

    def __init__(self, *, alternatives: int = 5) -> None:
        self.alternatives = alternatives
        """How many of each row's likeliest words to write down, chosen or not."""
        self.trees: list[Tree] = []
        """One per picture, once the search is over."""

    def begin(
        self, pictures: int, start: int, constraints: Constraints, *, length_exponent: float, groups: int
    ) -> None:
        """Forget the last search; every group begins with a root of nothing said."""
        self._constraints = constraints
        self._length_exponent = length_exponent
        root = Node(0, None, start, 0, 0.0, 0.0, Fate.KEPT)
        self._nodes = [[root] for _ in range(pictures)]
        self._words: list[list[tuple[int, ...]]] = [[()] for _ in range(pictures)]
        self._beams: list[list[int | None]] = [[0] * groups for _ in range(pictures)]
        self._groups = groups

    def step(self, log_probabilities: Tensor, totals: Tensor, rows: Tensor, words: Tensor, over: Tensor) -> None:
        """Write down what a step proposed and what it kept.

        `log_probabilities` (pictures, rows, vocabulary) are the model's, before any rule. The new beams go on from
        `rows` with `words` and reach `totals`, all (pictures, new rows), -inf where there is none. The search of
        the pictures that are `over` (pictures,) ends here: what they kept can no longer win.
        """
        log_probabilities = log_probabilities.cpu()
        likeliest = log_probabilities.topk(min(self.alternatives, log_probabilities.shape[-1]), dim=-1).indices.tolist()
        alive = (~totals.isneginf()).tolist()
        for picture, beams in enumerate(self._beams):
            pairs = zip(rows[picture].tolist(), words[picture].tolist(), strict=True)
            kept = [pair if lives else None for pair, lives in zip(pairs, alive[picture], strict=True)]
            fate = Fate.STOPPED if bool(over[picture]) else Fate.KEPT
            numbers: dict[tuple[int, int], int] = {}
            for row, beam in enumerate(beams):
                if beam is None:
                    continue
                group = row * self._groups // len(beams)
                proposed = [*likeliest[picture][row], self._constraints.end]
                proposed += [pair[1] for pair in kept if pair is not None and pair[0] == row]
                for word in dict.fromkeys(proposed):
                    value = float(log_probabilities[picture, row, word])
                    if value > -math.inf:
                        known = fate if (row, word) in kept else None
                        numbers[row, word] = self._add(picture, beam, word, value, group, known)
            over_now = fate is Fate.STOPPED
            self._beams[picture] = [None if pair is None or over_now else numbers[pair] for pair in kept]

    def finish(self, answers: Sequence[Sequence[Hypothesis]]) -> None:
        """Learn which captions are each picture's best, and build the trees."""
        self.trees = []
        for nodes, words, captions in zip(self._nodes, self._words, answers, strict=True):
            best = {caption.words for caption in captions}
            told = [
                replace(node, fate=Fate.BEST) if node.fate is Fate.BEATEN and words[node.index][:-1] in best else node
                for node in nodes
            ]
            self.trees.append(Tree(tuple(told), self._constraints.end))

    def _add(self, picture: int, parent: int, word: int, value: float, group: int, fate: Fate | None) -> int:
        """Number of a new node; for a word that was not kept (`fate` None) see what speaks against it."""
        nodes, words = self._nodes[picture], self._words[picture]
        fate = fate or self._constraints.why_not(words[parent], word)
        fate = fate or (Fate.BEATEN if word == self._constraints.end else Fate.OUTSCORED)
        total, step = nodes[parent].log_probability + value, nodes[parent].step + 1
        score = total / step**self._length_exponent
        nodes.append(Node(len(nodes), parent, word, step, total, score, fate, group))
        words.append((*words[parent], word))
        return len(nodes) - 1
