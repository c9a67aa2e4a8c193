"""The rules of captions, as -inf in the log-probabilities before anything is chosen: guaranteed.

Forbidden words and phrases never occur, required ones always do, the beginning comes first, lengths are kept and no
sequence of words occurs twice. Rules about words are looked up in an `Automaton`, so that a caption is never led
where it could no longer obey them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from captioner.errors import ConfigError
from captioner.search.automaton import Automaton, Phrase, build_automaton, words_in_order
from captioner.search.fate import Fate

LONGEST = 100
"""No caption may be allowed more words: a search must end, and its tree be drawn."""


@dataclass(frozen=True)
class Constraints:
    """Rules every caption obeys. Lengths are in words; the end token is not one. Phrases are tuples of word ids."""

    end: int
    """Id of the end token."""
    min_length: int = 0
    max_length: int = 20
    no_repeat_ngram: int = 0
    """No sequence of so many words occurs twice; 0 allows repeats."""
    forbidden: tuple[Phrase, ...] = ()
    """Words (phrases of one) and phrases that never occur."""
    required: tuple[Phrase, ...] = ()
    """Words and phrases that all occur, in any order; they may overlap."""
    beginning: Phrase = ()
    """The caption's first words."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_length <= self.max_length or self.max_length < 1:
            raise ConfigError(
                "A caption's lengths must satisfy 0 <= min_length <= max_length and 1 <= max_length, but "
                f"min_length {self.min_length} and max_length {self.max_length} came."
            )
        if self.max_length > LONGEST:
            raise ConfigError(f"A caption may have up to {LONGEST} words, but max_length {self.max_length} came.")
        if self.no_repeat_ngram < 0:
            raise ConfigError(
                f"no_repeat_ngram must be a number of words, or 0 to allow repeats, but {self.no_repeat_ngram} came."
            )
        if any(not phrase or self.end in phrase for phrase in (*self.forbidden, *self.required)):
            raise ConfigError("A forbidden or required phrase must hold one word or more, and not the end token.")

    def automaton(self, device: torch.device | str = "cpu") -> Automaton | None:
        """The rules about words; None where there are none but single forbidden words.

        Raises ConfigError when no caption obeys all the rules.
        """
        if any(self._repeats(self.beginning[:length]) for length in range(1, len(self.beginning) + 1)):
            raise ConfigError(
                f"The beginning repeats {words_in_order(self.no_repeat_ngram)}, which no_repeat_ngram does not allow; "
                "begin otherwise, or relax it."
            )
        phrases = (*self.required, *(phrase for phrase in self.forbidden if len(phrase) > 1))
        if not phrases and not self.beginning:
            return None
        concerned = {word for phrase in (*phrases, self.beginning) for word in phrase}
        return build_automaton(
            required=self.required,
            forbidden=tuple(phrase for phrase in self.forbidden if len(phrase) > 1 or phrase[0] in concerned),
            beginning=self.beginning,
            no_repeat_ngram=self.no_repeat_ngram,
            min_length=self.min_length,
            max_length=self.max_length,
            device=torch.device(device),
        )

    def apply(self, log_probabilities: Tensor, history: Tensor, progress: Tensor) -> Tensor:
        """The log-probabilities (pictures, rows, vocabulary) with what the rules forbid set to -inf.

        `history` (pictures, rows, length) holds the words so far, without the start token, and `progress`
        (pictures, rows) their states in the automaton (any numbers where there is none).
        """
        allowed = self._without_forbidden_words(log_probabilities)
        if 0 < self.no_repeat_ngram <= history.shape[-1]:
            allowed = self._without_repeats(allowed, history)
        automaton = self.automaton(history.device)
        if automaton is not None:
            return self._within(automaton, allowed, history.shape[-1], progress)
        if history.shape[-1] < self.min_length:
            allowed = allowed.index_fill(-1, torch.tensor([self.end], device=allowed.device), -torch.inf)
        if history.shape[-1] >= self.max_length:
            ending = torch.full_like(allowed, -torch.inf)
            ending[..., self.end] = allowed[..., self.end]
            allowed = ending
        return allowed

    def advance(self, progress: Tensor, words: Tensor) -> Tensor:
        """The states in the automaton (pictures, rows) after one more word each."""
        automaton = self.automaton(words.device)
        return progress if automaton is None else automaton.following[progress, automaton.symbols(words)]

    def progress(self, history: Tensor) -> Tensor:
        """The states in the automaton (pictures, rows) of captions so far (pictures, rows, length)."""
        progress = history.new_zeros(history.shape[:-1])
        for words in history.unbind(dim=-1):
            progress = self.advance(progress, words)
        return progress

    def why_not(self, words: Phrase, word: int) -> Fate | None:
        """Which rule forbids `word` after `words`, themselves allowed; None where none does."""
        length = len(words)
        automaton = self.automaton()
        state = 0 if automaton is None else automaton.state_after(words)
        if word == self.end:
            if length < len(self.beginning):
                return Fate.OFF_BEGINNING
            if length < self.min_length:
                return Fate.TOO_SHORT
            unfinished = automaton is not None and not automaton.may_end[length, state]
            return Fate.INCOMPLETE if unfinished else None
        if length >= self.max_length:
            return Fate.TOO_LONG
        if length < len(self.beginning) and word != self.beginning[length]:
            return Fate.OFF_BEGINNING
        longer = (*words, word)
        if any(longer[-len(phrase) :] == phrase for phrase in self.forbidden):
            return Fate.FORBIDDEN
        if self._repeats(longer):
            return Fate.REPEATING
        no_room = automaton is not None and not automaton.allowed[length, state, automaton.symbol(word)]
        return Fate.NO_ROOM if no_room else None

    def _without_forbidden_words(self, log_probabilities: Tensor) -> Tensor:
        words = [phrase[0] for phrase in self.forbidden if len(phrase) == 1]
        if not words:
            return log_probabilities
        return log_probabilities.index_fill(-1, torch.tensor(words, device=log_probabilities.device), -torch.inf)

    def _within(self, automaton: Automaton, allowed: Tensor, length: int, progress: Tensor) -> Tensor:
        """What the automaton leaves; words without a rule share one column of its table."""
        permitted = automaton.allowed[length][progress]
        ends = automaton.may_end[length][progress]
        result = allowed.masked_fill(~permitted[..., :1], -torch.inf)
        result[..., automaton.words] = allowed[..., automaton.words].masked_fill(~permitted[..., 1:], -torch.inf)
        result[..., self.end] = allowed[..., self.end].masked_fill(~ends, -torch.inf)
        return result

    def _repeats(self, words: Phrase) -> bool:
        """Whether the last `no_repeat_ngram` words stand earlier too."""
        n = self.no_repeat_ngram
        return bool(n) and any(words[i : i + n] == words[-n:] for i in range(len(words) - n))

    def _without_repeats(self, allowed: Tensor, history: Tensor) -> Tensor:
        """The same without the words that would repeat a sequence; `history` is at least as long as that."""
        sequences = history.unfold(-1, self.no_repeat_ngram, 1)
        last = history[..., history.shape[-1] - self.no_repeat_ngram + 1 :].unsqueeze(2)
        begun_again = (sequences[..., :-1] == last).all(dim=-1)
        # Added, as a word may follow several sequences, of which one alone begins again.
        penalties = allowed.new_zeros(begun_again.shape).masked_fill(begun_again, -torch.inf)
        return allowed.scatter_add(-1, sequences[..., -1], penalties)
