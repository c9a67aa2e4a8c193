"""What of the required words has been said, and what still can be: the rules about words as a finite automaton.

Its states are those of Aho and Corasick (1975), the longest end of the caption that begins a phrase with a rule
about it, together with the set of required phrases already said (Anderson et al. 2017, section 3). For every state
and every length of the caption, tables tell which words leave a caption that can still obey all the rules. A
search that takes no other words comes to no dead end, however narrow it is.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from captioner.errors import ConfigError

Phrase = tuple[int, ...]
"""Ids of words that follow one another."""

_MOST_REQUIRED = 8
_MOST_ENTRIES = 20_000_000
_DEAD = -1


@dataclass(frozen=True)
class Automaton:
    """Tables over states, lengths and symbols; state 0 is that of the empty caption.

    Symbol 0 stands for any word without a rule about it, symbol i for the word words[i - 1].
    """

    words: Tensor
    """(symbols - 1,): ids of the words with a rule about them."""
    following: Tensor
    """(states, symbols): the state after one more word; any state where that word is not allowed."""
    stages: Tensor
    """(states,): how many required words have been said, those of a phrase just begun included."""
    allowed: Tensor
    """(lengths, states, symbols): which words may follow a caption of that length."""
    may_end: Tensor
    """(lengths, states): which captions may end."""

    @functools.cached_property
    def stage_count(self) -> int:
        """One more than the highest stage."""
        return int(self.stages.max()) + 1

    def symbol(self, word: int) -> int:
        """The symbol that stands for a word."""
        words = self.words.tolist()
        return words.index(word) + 1 if word in words else 0

    def symbols(self, words: Tensor) -> Tensor:
        """The symbols that stand for words, any shape."""
        found = words.unsqueeze(-1) == self.words
        numbers = torch.arange(1, len(self.words) + 1, device=words.device)
        return (found * numbers).sum(dim=-1)

    def state_after(self, words: Iterable[int]) -> int:
        """The state of a caption, each of whose words was allowed."""
        state = 0
        for word in words:
            state = int(self.following[state, self.symbol(word)])
        return state


@functools.lru_cache(maxsize=16)
def build_automaton(
    *,
    required: tuple[Phrase, ...],
    forbidden: tuple[Phrase, ...],
    beginning: Phrase,
    no_repeat_ngram: int,
    min_length: int,
    max_length: int,
    device: torch.device,
) -> Automaton:
    """The automaton of captions that say all of `required`, nothing of `forbidden` and begin with `beginning`.

    Lengths are in words. That no sequence of `no_repeat_ngram` words occurs twice (0: it may) is looked after here
    as far as required phrases are concerned; the rest is for the search. Raises ConfigError when no caption obeys
    all the rules.
    """
    words = sorted({word for phrase in (*required, *forbidden, beginning) for word in phrase})
    rules = _Rules(required, forbidden, no_repeat_ngram)
    most_states = _MOST_ENTRIES // ((len(words) + 1) * (max_length + 1))
    tables = _tables(rules, words, most_states) if len(required) <= _MOST_REQUIRED else None
    if tables is None:
        raise ConfigError(
            f"At most {_MOST_REQUIRED} words or phrases can be required, some hundreds of phrases forbidden, and fewer "
            f"of both together, but {len(required)} required ones and {len(forbidden)} forbidden ones came; give fewer."
        )
    following, stages, complete = tables
    forced = [words.index(word) + 1 for word in beginning]
    allowed, may_end = _look_ahead(following, complete, forced, min_length=min_length, max_length=max_length)
    if not bool(allowed[0, 0].any() | may_end[0, 0]):
        raise ConfigError(_complaint(following, complete, forced, rules, max_length))
    parts = (torch.tensor(words, dtype=torch.long), following.clamp(min=0), stages, allowed, may_end)
    return Automaton(*(part.to(device) for part in parts))


class _Rules:
    """What the longest end of a caption that begins a phrase (a node, itself a tuple of ids) says about the rules."""

    def __init__(self, required: tuple[Phrase, ...], forbidden: tuple[Phrase, ...], no_repeat_ngram: int) -> None:
        n = no_repeat_ngram
        self.required, self.n = required, n
        self.sequences = [[p[i : i + n] for i in range(len(p) - n + 1)] if n else [] for p in required]
        patterns = {*required, *forbidden, *(sequence for each in self.sequences for sequence in each)}
        self.nodes = {pattern[:length] for pattern in patterns for length in range(len(pattern) + 1)} | {()}
        self.said = {node: {i for i, phrase in enumerate(required) if _ends(node, phrase)} for node in self.nodes}
        self.begun = {node: [_begun(node, phrase) for phrase in required] for node in self.nodes}
        unsayable = set(forbidden)
        self.broken = {node for node in self.nodes if self._repeats(node) or not unsayable.isdisjoint(_ends_of(node))}

    def after(self, node: Phrase, word: int | None) -> Phrase:
        """The node one word further; None is a word without a rule."""
        longer = () if word is None else (*node, word)
        while longer not in self.nodes:
            longer = longer[1:]
        return longer

    def leaves_unsayable(self, node: Phrase, after: Phrase, phrase: int) -> bool:
        """Whether a required phrase, not said by now, can no longer be without repeating a sequence of words.

        So it is when one of its sequences was said apart from it: either it stands at the end of the caption and
        the phrase's words before it do not, or the phrase was begun so far and has just been abandoned.
        """
        if not self.n:
            return False
        begun = self.begun[node][phrase]
        if begun >= self.n and self.begun[after][phrase] != begun + 1:
            return True
        last = after[-self.n :]
        if last not in self.sequences[phrase]:
            return False
        return self.begun[after][phrase] != self.sequences[phrase].index(last) + self.n

    def _repeats(self, node: Phrase) -> bool:
        sequences = [node[i : i + self.n] for i in range(len(node) - self.n + 1)] if self.n else []
        return len(set(sequences)) < len(sequences)


def _ends(words: Phrase, phrase: Phrase) -> bool:
    return words[max(0, len(words) - len(phrase)) :] == phrase


def _ends_of(words: Phrase) -> Iterator[Phrase]:
    return (words[start:] for start in range(len(words)))


def _begun(words: Phrase, phrase: Phrase) -> int:
    """How many of the phrase's first words stand at the end of `words`."""
    return max(length for length in range(len(phrase) + 1) if _ends(words, phrase[:length]))


def _tables(rules: _Rules, words: list[int], most_states: int) -> tuple[Tensor, Tensor, Tensor] | None:
    """`following` (states, symbols), -1 where a rule is broken for good, `stages` and `complete` (states,).

    None when there are more states than that.
    """
    nothing: tuple[Phrase, frozenset[int]] = ((), frozenset())
    numbers, states = {nothing: 0}, [nothing]
    following: list[list[int]] = []
    for node, said in states:  # which grows as new states are reached
        if len(states) > most_states:
            return None
        row = []
        for word in (None, *words):
            after = rules.after(node, word)
            state = (after, said | rules.said[after])
            unsaid = set(range(len(rules.required))) - state[1]
            if after in rules.broken or any(rules.leaves_unsayable(node, after, phrase) for phrase in unsaid):
                row.append(_DEAD)
                continue
            if state not in numbers:
                numbers[state] = len(states)
                states.append(state)
            row.append(numbers[state])
        following.append(row)
    stages = [
        sum(len(phrase) for i, phrase in enumerate(rules.required) if i in said)
        + max((begun for i, begun in enumerate(rules.begun[node]) if i not in said), default=0)
        for node, said in states
    ]
    complete = [len(said) == len(rules.required) for _, said in states]
    return torch.tensor(following), torch.tensor(stages), torch.tensor(complete)


def _look_ahead(
    following: Tensor, complete: Tensor, forced: list[int], *, min_length: int, max_length: int
) -> tuple[Tensor, Tensor]:
    """`allowed` (lengths, states, symbols) and `may_end` (lengths, states), worked out from the end backwards."""
    allowed = torch.zeros(max_length + 1, *following.shape, dtype=torch.bool)
    may_end = torch.zeros(max_length + 1, len(following), dtype=torch.bool)
    leads_on = torch.zeros(len(following), dtype=torch.bool)
    for length in range(max_length, -1, -1):
        if length < max_length:
            allowed[length] = leads_on[following.clamp(min=0)] & (following != _DEAD)
        if length < len(forced):
            others = torch.arange(following.shape[1]) != forced[length]
            allowed[length, :, others] = False
        elif length >= min_length:
            may_end[length] = complete
        leads_on = allowed[length].any(dim=-1) | may_end[length]
    return allowed, may_end


def _complaint(following: Tensor, complete: Tensor, forced: list[int], rules: _Rules, max_length: int) -> str:
    """Why no caption obeys the rules."""
    enough = len(forced) + 2 * sum(len(phrase) for phrase in rules.required)
    for length in range(max_length + 1, enough + 1):
        allowed, may_end = _look_ahead(following, complete, forced, min_length=0, max_length=length)
        if bool(allowed[0, 0].any() | may_end[0, 0]):
            return (
                f"What the caption must say takes at least {length} words, but max_length is {max_length}; "
                "require less or allow more words."
            )
    demands = " and ".join(["have this beginning"] * bool(forced) + ["say all that is required"] * bool(rules.required))
    repeating = f" or repeating {words_in_order(rules.n)}" if rules.n else ""
    return f"No caption can {demands} without saying what is forbidden{repeating}; relax one of these rules."


def words_in_order(count: int) -> str:
    """Such as `one word`, or `3 words in their order`."""
    return "one word" if count == 1 else f"{count} words in their order"
