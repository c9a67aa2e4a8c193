"""The cells against PyTorch's own, and against their equations."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from captioner.model.cells import CELLS, Cell, CellState, GRUCell, LSTMCell, RNNCell, tanh

INPUT, HIDDEN, ROWS = 5, 7, 3


def random_state() -> CellState:
    return CellState(hidden=torch.randn(ROWS, HIDDEN), memory=torch.randn(ROWS, HIDDEN))


def with_weights_of(theirs: nn.Module, ours: Cell) -> Cell:
    ours.load_state_dict(theirs.state_dict())
    return ours


def test_rnn_cell_equals_pytorchs() -> None:
    theirs = nn.RNNCell(INPUT, HIDDEN)
    ours, x, state = with_weights_of(theirs, RNNCell(INPUT, HIDDEN)), torch.randn(ROWS, INPUT), random_state()
    torch.testing.assert_close(ours(x, state).hidden, theirs(x, state.hidden))


def test_gru_cell_equals_pytorchs() -> None:
    theirs = nn.GRUCell(INPUT, HIDDEN)
    ours, x, state = with_weights_of(theirs, GRUCell(INPUT, HIDDEN)), torch.randn(ROWS, INPUT), random_state()
    torch.testing.assert_close(ours(x, state).hidden, theirs(x, state.hidden))


def test_lstm_cell_equals_pytorchs() -> None:
    theirs = nn.LSTMCell(INPUT, HIDDEN)
    ours, x, state = with_weights_of(theirs, LSTMCell(INPUT, HIDDEN)), torch.randn(ROWS, INPUT), random_state()
    hidden, memory = theirs(x, tuple(state))
    torch.testing.assert_close(ours(x, state), CellState(hidden, memory))


def test_lstm_gradients_equal_pytorchs_over_twenty_words() -> None:
    theirs = nn.LSTMCell(INPUT, HIDDEN)
    ours = with_weights_of(theirs, LSTMCell(INPUT, HIDDEN))
    words = torch.randn(20, ROWS, INPUT)
    state = CellState(torch.zeros(ROWS, HIDDEN), torch.zeros(ROWS, HIDDEN))
    h, c = state
    for x in words:
        state = ours(x, state)
        h, c = theirs(x, (h, c))
    state.hidden.square().sum().backward()
    h.square().sum().backward()
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs.get_parameter(name).grad)


def test_the_tangent_without_gradients_is_the_one_with_them() -> None:
    values = torch.cat([torch.linspace(-12, 12, 1001), torch.tensor([-torch.inf, -200.0, 200.0, torch.inf])])
    with torch.no_grad():
        torch.testing.assert_close(tanh(values), torch.tanh(values), rtol=0, atol=3e-7)
    values.requires_grad_()
    tanh(values[:-4]).sum().backward()
    assert values.grad is not None


@pytest.mark.parametrize("name", CELLS)
def test_projecting_all_words_at_once_changes_nothing(name: str) -> None:
    cell, words, state = CELLS[name](INPUT, HIDDEN), torch.randn(4, ROWS, INPUT), random_state()
    projected = cell.project(words)
    for time in range(4):
        torch.testing.assert_close(cell.step(projected[time], state)[0], cell(words[time], state))


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_memory_is_what_the_gates_keep_and_add(name: str) -> None:
    cell, state = CELLS[name](INPUT, HIDDEN), random_state()
    old = state.hidden if name == "gru" else state.memory
    new, gates = cell.step(cell.project(torch.randn(ROWS, INPUT)), state)
    torch.testing.assert_close(new.memory, gates.forget * old + gates.input * gates.candidate)


def test_the_lstm_begins_by_remembering() -> None:
    cell = LSTMCell(INPUT, HIDDEN)
    assert cell.bias_ih[HIDDEN : 2 * HIDDEN].eq(1).all()


def test_by_hand_a_cell_of_one_unit() -> None:
    """All weights zero and biases zero: every sigmoid is 1/2, every tanh 0, so half the memory is kept."""
    cell = LSTMCell(1, 1)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
    new, gates = cell.step(cell.project(torch.ones(1, 1)), CellState(torch.ones(1, 1), torch.full((1, 1), 4.0)))
    assert gates.forget is not None
    assert (gates.forget.item(), gates.candidate.item(), new.memory.item()) == (0.5, 0.0, 2.0)
    assert new.hidden.item() == pytest.approx(0.5 * torch.tanh(torch.tensor(2.0)).item())
