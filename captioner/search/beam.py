"""Beam search over a step function: all pictures and all beams in one tensor.

The search knows no model. It is given `step(words, state) -> (log_probabilities, state)` and a state whose rows
it can reorder, and returns for every picture the n best captions by

    score = log-probability / (number of words + 1) ** length_exponent

It is exact in this sense: a picture's search ends only when no unfinished caption could still come among the n
best, so the answer depends neither on the other pictures of the batch nor on their order, and a beam as wide as
the number of all captions finds the best of all.

Required words (grid beam search; Hokamp and Liu 2017, section 3): captions that have said more of what is required
and captions that have said less do not compete. There is a beam for every number of required words said, and each
of its rows proposes the required words whatever their rank. The rules lead into no dead end, so the narrowest beam
finds a caption; should the model give no probability to what is left, or only repetition be left, the search goes
back and tries another way (`backtracking`).

Diverse groups (Vijayakumar et al. 2016, section 4): the beam is divided into groups that choose one after the
other, and a word loses `diversity` for every row of an earlier group that chose it in this step (Hamming
diversity). The penalty serves the choice only: the log-probabilities and scores told are without it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from captioner.errors import ConfigError
from captioner.search.automaton import Automaton
from captioner.search.backtracking import backtrack
from captioner.search.constraints import Constraints
from captioner.search.hypothesis import AnyState, Hypothesis, Step
from captioner.search.tree import Recorder

WIDEST = 1000
"""What a beam may hold; more would take all memory long before it found better captions."""
STEEPEST = 10
"""The greatest length exponent: 1 already gives the mean over the words."""


@torch.inference_mode()
def beam_search(
    step: Step[AnyState],
    state: AnyState,
    *,
    pictures: int,
    start: int,
    constraints: Constraints,
    beam_width: int,
    best: int | None = None,
    length_exponent: float = 0.0,
    groups: int = 1,
    diversity: float = 0.5,
    recorder: Recorder | None = None,
    device: torch.device | str = "cpu",
) -> list[list[Hypothesis]]:
    """For every picture its `best` captions (default: `beam_width`), best first; fewer where fewer exist.

    `state` holds one row per picture; `start` is the id of the start token. The `beam_width` beams are divided
    evenly among the groups, and each group gives its best caption before any gives its second best. `recorder`
    keeps the tree of all hypotheses. Raises ConfigError when the groups do not divide the beam, or when no caption
    can obey the constraints.
    """
    check_beam(beam_width=beam_width, groups=groups, diversity=diversity, length_exponent=length_exponent)
    best = best or beam_width
    end, longest = constraints.end, constraints.max_length
    automaton = constraints.automaton(device)
    at_start = state
    beams = _first_beams(pictures, groups, start, device)
    if groups > 1:
        state = state.select_rows(torch.zeros_like(beams.words))
    finished = _nothing_finished(pictures * groups, best, longest + 1, end, device)
    if recorder is not None:
        recorder.begin(pictures, start, constraints, length_exponent=length_exponent, groups=groups)

    for length in range(longest + 1):
        log_probabilities, state = step(beams.words, state)
        allowed = constraints.apply(log_probabilities, beams.history, beams.progress)
        reached = (beams.totals.unsqueeze(-1) + allowed).reshape(pictures, groups, -1, allowed.shape[-1])
        ended = reached[..., end].flatten(0, 1)
        finished.add(beams.history.reshape(*ended.shape, length), ended, ended / (length + 1) ** length_exponent)
        reached[..., end] = -torch.inf
        chosen = _choose(reached, beams.progress, automaton, width=beam_width // groups, diversity=diversity)
        # What is unfinished loses probability with every word; only a longer division can still raise its score.
        hope = chosen.totals.reshape(pictures, groups, -1).amax(dim=-1) / (longest + 1) ** length_exponent
        worst = finished.scores[:, -1].reshape(pictures, groups)
        over = ((worst > hope) | hope.isneginf()).all(dim=-1)
        if recorder is not None:
            recorder.step(log_probabilities, chosen.totals, chosen.rows, chosen.words, over)
        if bool(over.all()):
            break
        state = state.select_rows(chosen.rows)
        beams = beams.extended(chosen, constraints)

    found = _hypotheses(finished, end)
    answers = [_in_turn(found[first : first + groups], best) for first in range(0, len(found), groups)]
    for picture in [number for number, captions in enumerate(answers) if not captions]:
        way = backtrack(step, at_start, picture, pictures=pictures, start=start, constraints=constraints, device=device)
        if way is not None:
            answers[picture] = [replace(way, score=way.log_probability / (len(way.words) + 1) ** length_exponent)]
    if recorder is not None:
        recorder.finish(answers)
    return answers


@dataclass
class _Choice:
    """The continuations a step chose: (pictures, rows), the rows of a group together."""

    totals: Tensor
    """Log-probabilities; -inf where there is no caption."""
    rows: Tensor
    """Which rows they go on from."""
    words: Tensor


@dataclass
class _Beams:
    """The unfinished captions: (pictures, rows), the rows of a group together."""

    totals: Tensor
    """Log-probabilities; -inf where there is no caption."""
    words: Tensor
    """The last ones."""
    progress: Tensor
    """States of the automaton."""
    history: Tensor
    """(pictures, rows, length): all words."""

    def extended(self, choice: _Choice, constraints: Constraints) -> _Beams:
        """One word further."""
        history = self.history.gather(1, choice.rows.unsqueeze(-1).expand(-1, -1, self.history.shape[-1]))
        progress = constraints.advance(self.progress.gather(1, choice.rows), choice.words)
        return _Beams(choice.totals, choice.words, progress, torch.cat([history, choice.words.unsqueeze(-1)], dim=-1))


@dataclass
class _Finished:
    """The best finished captions so far; places not yet taken have score -inf."""

    words: Tensor  # (pictures x groups, best, longest + 1), filled with the end token
    log_probabilities: Tensor  # (pictures x groups, best)
    scores: Tensor  # (pictures x groups, best)

    def add(self, history: Tensor, log_probabilities: Tensor, scores: Tensor) -> None:
        """Offer one finished caption per row; keep the best."""
        padding = self.words.shape[-1] - history.shape[-1]
        words = torch.nn.functional.pad(history, (0, padding), value=int(self.words[0, 0, -1]))
        best = self.scores.shape[1]
        self.scores, chosen = torch.cat([self.scores, scores], dim=1).topk(best, dim=1)
        self.log_probabilities = torch.cat([self.log_probabilities, log_probabilities], dim=1).gather(1, chosen)
        self.words = torch.cat([self.words, words], dim=1).gather(
            1, chosen.unsqueeze(-1).expand(-1, -1, self.words.shape[-1])
        )


def check_beam(*, beam_width: int, groups: int, diversity: float, length_exponent: float) -> None:
    """Raise ConfigError when `beam_search` would refuse these settings."""
    if not 1 <= beam_width <= WIDEST:
        raise ConfigError(f"A beam must be 1 to {WIDEST} captions wide, but beam_width {beam_width} came.")
    if groups < 1 or beam_width % groups:
        raise ConfigError(
            f"The groups must divide the beam evenly, but groups {groups} and beam_width {beam_width} came; "
            f"choose a beam_width such as {2 * max(1, groups)}."
        )
    if not (0 <= diversity < torch.inf and 0 <= length_exponent <= STEEPEST):
        raise ConfigError(
            f"The diversity must be a finite number, 0 or more, and the length exponent 0 to {STEEPEST}, but "
            f"{diversity} and {length_exponent} came."
        )


def _choose(reached: Tensor, progress: Tensor, automaton: Automaton | None, *, width: int, diversity: float) -> _Choice:
    """The best continuations among (pictures, groups, rows, vocabulary), `width` for each group and stage."""
    pictures, groups, rows_each, vocabulary = reached.shape
    chosen = []
    spoken = torch.zeros_like(reached[:, 0, 0])
    for group, candidates in enumerate(reached.unbind(dim=1)):
        ranked = candidates - diversity * spoken.unsqueeze(1) if group else candidates
        if automaton is None:
            ranks, rows, words = _best_extensions(ranked, width)
        else:
            states = progress.reshape(pictures, groups, rows_each)[:, group]
            ranks, rows, words = _best_of_each_stage(ranked, states, automaton, width)
        totals = candidates.flatten(1).gather(1, rows * vocabulary + words).masked_fill(ranks.isneginf(), -torch.inf)
        if group + 1 < groups:
            spoken = spoken.scatter_add(1, words, totals.isfinite().to(spoken))
        chosen.append((totals, rows + group * rows_each, words))
    return _Choice(*(torch.cat(parts, dim=1) for parts in zip(*chosen, strict=True)))


def _best_extensions(reached: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best continuations among (pictures, rows, vocabulary): their ranks, rows and words, best first.

    Two stages, best words of each row and then best of those, cost far less than sorting rows x vocabulary.
    """
    per_row = reached.topk(min(width, reached.shape[-1]), dim=-1)
    candidates = per_row.values.flatten(1)
    ranks, chosen = candidates.topk(min(width, candidates.shape[1]), dim=1)
    return ranks, chosen // per_row.values.shape[-1], per_row.indices.flatten(1).gather(1, chosen)


def _best_of_each_stage(
    reached: Tensor, progress: Tensor, automaton: Automaton, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """As `_best_extensions`, `width` of them for every number of required words said.

    The words without a rule all lead a row to the same state, so the best of them and every word with a rule are
    enough.
    """
    common = reached.index_fill(-1, automaton.words, -torch.inf).topk(min(width, reached.shape[-1]), dim=-1)
    special = reached[..., automaton.words]
    words = torch.cat([common.indices, automaton.words.expand_as(special)], dim=-1)
    candidates = torch.cat([common.values, special], dim=-1)
    stages = automaton.stages[automaton.following[progress.unsqueeze(-1), automaton.symbols(words)]]
    per_stage = torch.stack(
        [candidates.masked_fill(stages != stage, -torch.inf).flatten(1) for stage in range(automaton.stage_count)],
        dim=1,
    )
    ranks, chosen = (found.flatten(1) for found in per_stage.topk(min(width, per_stage.shape[-1]), dim=-1))
    return ranks, chosen // words.shape[-1], words.flatten(1).gather(1, chosen)


def _first_beams(pictures: int, groups: int, start: int, device: torch.device | str) -> _Beams:
    zeros = torch.zeros(pictures, groups, dtype=torch.long, device=device)
    return _Beams(zeros.float(), zeros + start, zeros, zeros.unsqueeze(-1)[..., :0])


def _nothing_finished(rows: int, best: int, longest: int, end: int, device: torch.device | str) -> _Finished:
    nothing = torch.full((rows, best), -torch.inf, device=device)
    return _Finished(torch.full((rows, best, longest), end, device=device), nothing, nothing)


def _in_turn(groups: Sequence[list[Hypothesis]], best: int) -> list[Hypothesis]:
    """The `best` captions of all groups: the best of all, then every group's first before any group's second.

    None comes twice. The answer begins alike whatever `best` is.
    """
    by_first = sorted(groups, key=lambda group: -group[0].score if group else torch.inf)
    turns = itertools.chain.from_iterable(itertools.zip_longest(*by_first))
    different = {caption.words: caption for caption in turns if caption is not None}
    return list(itertools.islice(different.values(), best))


def _hypotheses(finished: _Finished, end: int) -> list[list[Hypothesis]]:
    answers = []
    for words, log_probabilities, scores in zip(
        finished.words.tolist(), finished.log_probabilities.tolist(), finished.scores.tolist(), strict=True
    ):
        answers.append(
            [
                Hypothesis(tuple(ids[: ids.index(end)]), log_probability, score)
                for ids, log_probability, score in zip(words, log_probabilities, scores, strict=True)
                if score > -torch.inf
            ]
        )
    return answers
