"""The copy task: a recurrent cell sees a symbol, then distractors, and must say the symbol at the end.

It takes nothing but memory (Hochreiter and Schmidhuber 1997, section 5.2), so the gap that a cell still learns to
bridge tells how far its memory, and the gradients that teach it, reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captioner.model.cells import CELLS, CellState

_JUDGED = 1000
"""Sequences, drawn anew, on which a network is judged."""


@dataclass(frozen=True)
class CopyTask:
    """One network to be taught, and everything it is taught with."""

    cell: str
    """A name of `CELLS`."""
    gap: int
    """Distractors between the symbol and the end."""
    seed: int
    steps: int
    """Of Adam (Kingma and Ba 2015)."""
    symbols: int = 8
    """Of which one is to be remembered; as many others are the distractors."""
    hidden_size: int = 64
    sequences: int = 64
    """In each step, always new ones."""
    learning_rate: float = 3e-3
    clip_norm: float = 1.0


class Sequences(NamedTuple):
    """What the networks see, and what they should say."""

    seen: Tensor
    """(sequences, gap + 2): a symbol, the distractors, and the sign that the symbol is to be said."""
    answers: Tensor
    """(sequences,): the symbol."""


class Copier(nn.Module):
    """A cell that reads one-hot symbols, and a linear layer that reads the cell at the end."""

    def __init__(self, task: CopyTask) -> None:
        super().__init__()
        self._inputs = 2 * task.symbols + 1
        self.cell = CELLS[task.cell](self._inputs, task.hidden_size)
        self.answer = nn.Linear(task.hidden_size, task.symbols)

    def forward(self, seen: Tensor) -> Tensor:
        """What was seen (sequences, time) -> logits (sequences, symbols)."""
        projected = self.cell.project(F.one_hot(seen, self._inputs).float())
        blank = projected.new_zeros(len(seen), self.cell.hidden_size)
        state = CellState(blank, blank)
        for time in range(seen.shape[1]):
            state, _ = self.cell.step(projected[:, time], state)
        logits: Tensor = self.answer(state.hidden)
        return logits


def draw_sequences(task: CopyTask, count: int, generator: torch.Generator) -> Sequences:
    """So many sequences at random."""
    answers = torch.randint(task.symbols, (count,), generator=generator)
    distractors = torch.randint(task.symbols, 2 * task.symbols, (count, task.gap), generator=generator)
    end = torch.full((count, 1), 2 * task.symbols)
    return Sequences(torch.cat([answers.unsqueeze(1), distractors, end], dim=1), answers)


def copy_accuracy(task: CopyTask) -> float:
    """The share of new sequences whose symbol a network says after it was taught; chance is 1 / symbols."""
    generator = torch.Generator().manual_seed(task.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed)
        network = Copier(task)
    optimizer = torch.optim.Adam(network.parameters(), lr=task.learning_rate)
    for _ in range(task.steps):
        seen, answers = draw_sequences(task, task.sequences, generator)
        optimizer.zero_grad()
        F.cross_entropy(network(seen), answers).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), task.clip_norm)
        optimizer.step()
    with torch.no_grad():
        seen, answers = draw_sequences(task, _JUDGED, generator)
        return float((network(seen).argmax(dim=-1) == answers).double().mean())
