"""The memory ledger: how much of a gated cell's memory entered at the start, and how much at each word, exactly.

A gated cell makes its new memory by one rule, m_t = f_t * m_(t-1) + i_t * u_t (for the LSTM m is the cell state c,
for the GRU the hidden state h, with f = z and i = 1 - z). Unrolled, the memory is a sum over when things entered:

    m_t = (f_t ... f_1) m_0  +  sum over k of (f_t ... f_(k+1)) i_k u_k

Each summand is a part. Nothing is estimated: the parts add up to the memory that the network really had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from captioner.errors import ConfigError
from captioner.model.captioning import Trace

_NOTHING = np.finfo(np.float64).tiny

NO_LEDGER = (
    "A plain RNN has no memory ledger: it squashes its whole memory anew at each word, so the memory is no sum of "
    "parts that entered at different times."
)


@dataclass(frozen=True)
class MemoryLedger:
    """Of what the memory consisted as each word was said; time runs over the words and the end token.

    Sources are the moments at which something can enter: source 0 is the start, before any word; source k + 1 is
    step k, which read word k - 1 (step 0 the start token), and, where there is attention, what was looked at then.
    """

    parts: NDArray[np.float32]
    """(time, time + 1, hidden): of the memory at a step, what each source contributed; zero for later sources."""
    memory: NDArray[np.float32]
    """(time, hidden): the memory itself, as the network computed it."""
    read: tuple[str, ...]
    """(time,): the word each step read; the start token first."""
    cell: str
    """Whose memory this is, in words."""

    @property
    def shares(self) -> NDArray[np.float64]:
        """(time, time + 1): how much of the memory each source holds; every row sums to one.

        A source's share is the sum of |part| over the hidden units, divided by that sum over all sources. It
        measures amounts: parts of opposite sign, which cancel in the memory, both count.
        """
        amounts = np.abs(self.parts.astype(np.float64)).sum(axis=2)
        shares: NDArray[np.float64] = amounts / np.maximum(amounts.sum(axis=1, keepdims=True), _NOTHING)
        return shares

    @property
    def largest_error(self) -> float:
        """The largest difference, over steps and units, between the memory and the sum of its parts."""
        return float(np.abs(self.parts.astype(np.float64).sum(axis=1) - self.memory).max())

    def as_json(self) -> dict[str, Any]:
        """Shares as plain lists; the parts themselves, a number per unit, stay in Python."""
        return {
            "cell": self.cell,
            "sources": ["start", *self.read],
            "shares": [[round(float(share), 4) for share in row] for row in self.shares],
            "largest_error": float(f"{self.largest_error:.2g}"),
        }


def memory_ledger(trace: Trace, *, read: Sequence[str], cell: str) -> MemoryLedger:
    """The ledger of what `trace` watched; `read` and `cell` are as in `MemoryLedger`.

    Raises ConfigError for a cell without forget and input gates, the plain RNN.
    """
    parts = trace.memory[:1].cpu().double()
    history = []
    for gates in trace.gates:
        if gates.forget is None or gates.input is None:
            raise ConfigError(NO_LEDGER)
        forget, admitted, candidate = (gate.cpu().double() for gate in (gates.forget, gates.input, gates.candidate))
        parts = torch.cat([forget * parts, (admitted * candidate).unsqueeze(0)])
        history.append(parts)
    steps, hidden = len(history), parts.shape[1]
    table = torch.zeros(steps, steps + 1, hidden)
    for step, parts_then in enumerate(history):
        table[step, : len(parts_then)] = parts_then
    return MemoryLedger(table.numpy(), trace.memory[1:].float().cpu().numpy(), tuple(read), cell)
