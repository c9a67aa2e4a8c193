"""Recurrent cells written from their equations: the plain RNN, the GRU and the LSTM.

In every cell the input's share of the gates does not recur, so `project` computes it for all words at once
and `step` adds what does:

    projected = cell.project(inputs)              # (..., input_size) -> (..., gates * hidden_size)
    state, gates = cell.step(projected, state)    # one word

With the same weights each cell equals its namesake `torch.nn.RNNCell`, `GRUCell`, `LSTMCell`; the parameters
have the same names, shapes and order of gates.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def tanh(values: Tensor) -> Tensor:
    """The hyperbolic tangent, for the states of a batch: on a CPU without gradients as 2 sigmoid(2 x) - 1.

    That takes a third of the time for tens of thousands of values; for millions, which no cache holds, it takes longer.
    """
    if torch.is_grad_enabled() or values.device.type != "cpu" or values.dtype != torch.float32:
        return torch.tanh(values)
    return torch.sigmoid(2 * values).mul_(2).sub_(1)


class CellState(NamedTuple):
    """What a cell carries from word to word; each tensor is (..., hidden_size)."""

    hidden: Tensor
    """What the rest of the network sees."""
    memory: Tensor
    """The LSTM's cell state; the other cells have no memory of their own and repeat `hidden`."""


class Gates(NamedTuple):
    """What a cell's gates did at one word; each tensor is (..., hidden_size), `None` where a cell has no such gate.

    One vocabulary for the three cells: new memory = forget * old memory + input * candidate.
    """

    forget: Tensor | None
    input: Tensor | None
    candidate: Tensor
    output: Tensor | None

    def of_row(self, picture: int, row: int) -> Gates:
        """The gates (hidden_size,) of one row, from gates (pictures, rows, hidden_size)."""

        def pick(gate: Tensor | None) -> Tensor | None:
            return None if gate is None else gate[picture, row]

        return Gates(pick(self.forget), pick(self.input), self.candidate[picture, row], pick(self.output))


class Cell(nn.Module):
    """The parameters and the input product that all cells share."""

    gates: int
    """How many gate vectors a step computes."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.weight_ih = nn.Parameter(torch.empty(self.gates * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(self.gates * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(self.gates * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(self.gates * hidden_size))
        bound = 1 / math.sqrt(hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def project(self, inputs: Tensor) -> Tensor:
        """The input's share of the gates: (..., input_size) -> (..., gates * hidden_size)."""
        return F.linear(inputs, self.weight_ih, self.bias_ih)

    def step(self, projected: Tensor, state: CellState) -> tuple[CellState, Gates]:
        """One word: its projected input (..., gates * hidden_size) and the state before -> the state after."""
        raise NotImplementedError

    def forward(self, inputs: Tensor, state: CellState) -> CellState:
        """One word from its input (..., input_size)."""
        return self.step(self.project(inputs), state)[0]


class RNNCell(Cell):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh)  (Elman 1990)."""

    gates = 1

    def step(self, projected: Tensor, state: CellState) -> tuple[CellState, Gates]:
        """One word; see `Cell.step`."""
        h = tanh(projected + F.linear(state.hidden, self.weight_hh, self.bias_hh))
        return CellState(hidden=h, memory=h), Gates(forget=None, input=None, candidate=h, output=None)


class GRUCell(Cell):
    """The gated recurrent unit of Cho et al. 2014, in the form PyTorch and cuDNN use.

    r = sigmoid(W_ir x + W_hr h),  z = sigmoid(W_iz x + W_hz h),  n = tanh(W_in x + r * (W_hn h)),
    h' = z * h + (1 - z) * n, each product with its bias.
    """

    gates = 3

    def step(self, projected: Tensor, state: CellState) -> tuple[CellState, Gates]:
        """One word; see `Cell.step`. The update gate z forgets; what it does not keep is input."""
        recurrent = F.linear(state.hidden, self.weight_hh, self.bias_hh)
        x_r, x_z, x_n = projected.chunk(3, dim=-1)
        h_r, h_z, h_n = recurrent.chunk(3, dim=-1)
        r = torch.sigmoid(x_r + h_r)
        z = torch.sigmoid(x_z + h_z)
        n = tanh(x_n + r * h_n)
        h = z * state.hidden + (1 - z) * n
        return CellState(hidden=h, memory=h), Gates(forget=z, input=1 - z, candidate=n, output=None)


class LSTMCell(Cell):
    """The long short-term memory of Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000.

    i = sigmoid(W_ii x + W_hi h),  f = sigmoid(W_if x + W_hf h),  g = tanh(W_ig x + W_hg h),
    o = sigmoid(W_io x + W_ho h),  c' = f * c + i * g,  h' = o * tanh(c'), each product with its bias.
    """

    gates = 4

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        with torch.no_grad():  # remember by default (Jozefowicz et al. 2015, section 2.2)
            self.bias_ih[hidden_size : 2 * hidden_size] = 1.0

    def step(self, projected: Tensor, state: CellState) -> tuple[CellState, Gates]:
        """One word; see `Cell.step`."""
        sums = projected + F.linear(state.hidden, self.weight_hh, self.bias_hh)
        i, f, g, o = sums.chunk(4, dim=-1)
        i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), tanh(g), torch.sigmoid(o)
        c = f * state.memory + i * g
        h = o * tanh(c)
        return CellState(hidden=h, memory=c), Gates(forget=f, input=i, candidate=g, output=o)


CELLS: dict[str, type[Cell]] = {"rnn": RNNCell, "gru": GRUCell, "lstm": LSTMCell}
"""The cells by the name a recipe gives them."""
