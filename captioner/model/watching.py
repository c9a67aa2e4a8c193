"""What the network weighed at each word of a caption, noted while a search found it: nothing is said a second time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from captioner.model.decoder import Decoder, State, word_log_probabilities
from captioner.text.vocabulary import END, START

# Notes travel with the rows of a state, wherever the search takes them; in what is long they only have a place.
_SAID, _NOTES, _PLACE = "words said", "notes", "place among the rows that were watched last"
_EXPECTED = "log-probabilities of the next word"


class Choices(NamedTuple):
    """The choices of a caption's words and its end; all tensors are (time,)."""

    log_probabilities: Tensor
    """Of what was said."""
    entropies: Tensor
    """Of what could have been said, in nats."""
    looked_away: Tensor
    """The share of attention on the sentinel instead of on the picture; 0 without one."""


class Watch:
    """Takes the steps of one search, and tells afterwards what they were on the way to a caption."""

    def __init__(self, decoder: Decoder, *, regions: int) -> None:
        """`regions` is how many a picture has: attention on anything beyond them is on the sentinel."""
        self._decoder = decoder
        self._regions = regions
        self._said: list[Tensor] = []
        """After each step: the words of every row (pictures, rows, time), the start token first."""
        self._notes: list[Tensor] = []
        """For each of these words (pictures, rows, 4 * time): its log-probability, and after it the entropy, the share
        of attention on the sentinel, and the log-probability of the end."""

    def step(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """See `captioner.search.hypothesis.Step`."""
        rows, picture = dict(state.rows), dict(state.picture)
        said, notes, place = (rows.pop(name, words.unsqueeze(-1)[..., :0]) for name in (_SAID, _NOTES, _PLACE))
        expected = picture.pop(_EXPECTED, None)
        output, state, _, weights = self._decoder.step(self._decoder.embed(words), State(rows, picture))
        following = word_log_probabilities(self._decoder, output)

        read, end = words.unsqueeze(-1), following[..., END : END + 1]
        likely = torch.zeros_like(end)
        if expected is not None:
            chosen = place * expected.shape[-1] + read
            likely = expected.flatten(1).gather(1, chosen.squeeze(-1)).unsqueeze(-1)
        away = torch.zeros_like(end) if weights is None else weights[..., self._regions :].sum(dim=-1, keepdim=True)
        self._said.append(torch.cat([said, read], dim=-1))
        self._notes.append(torch.cat([notes, likely, _entropies(following).unsqueeze(-1), away, end], dim=-1))
        kept = {_SAID: self._said[-1], _NOTES: self._notes[-1], _PLACE: _places(read)}
        return following, State(state.rows | kept, state.picture | {_EXPECTED: following})

    def choices(self, picture: int, caption: Sequence[int]) -> Choices:
        """Those of a caption (word ids) that the search found for one of its pictures."""
        words = torch.tensor([START, *caption], device=self._decoder.device)
        for said, notes in zip(self._said, self._notes, strict=True):
            if said.shape[-1] == len(words):
                for row in (said[picture] == words).all(dim=-1).nonzero().flatten()[:1].tolist():
                    likely, entropies, away, ends = notes[picture, row].reshape(-1, 4).unbind(dim=-1)
                    return Choices(torch.cat([likely[1:], ends[-1:]]), entropies, away)
        raise LookupError(f"the search said no caption {list(caption)} about picture {picture}")


def _places(rows: Tensor) -> Tensor:
    """Each row's number, for rows (pictures, rows, 1)."""
    return torch.arange(rows.shape[1], device=rows.device).view(1, -1, 1).expand(rows.shape)


def _entropies(log_probabilities: Tensor) -> Tensor:
    """Log-probabilities (..., vocabulary), -inf among them -> nats (...)."""
    # Written over, as memory taken anew costs as much as the arithmetic. Where the probability is 0 this gives nan.
    negative = log_probabilities.exp().mul_(log_probabilities)
    return -negative.nansum(dim=-1)
