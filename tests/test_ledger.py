"""The memory ledger: its parts add up to the memory, and its shares are those worked out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from captioner.errors import ConfigError
from captioner.inference.caption import Caption
from captioner.inference.explanation import explain
from captioner.inference.ledger import MemoryLedger, memory_ledger
from captioner.model.captioning import CaptioningModel, Trace
from captioner.model.cells import Gates
from tests.conftest import SENTENCES, tiny_model

GATED = [
    *itertools.product(["show_and_tell"], ["gru", "lstm"], [False]),
    *itertools.product(["attend"], ["gru", "lstm"], [False, True]),
    *itertools.product(["top_down"], ["gru", "lstm"], [False]),
]


def trace_of(model: CaptioningModel) -> tuple[Trace, list[int]]:
    words = model.vocabulary.encode(SENTENCES[0])
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(model.encoder.regions, model.encoder.feature_size, generator=generator)
    return model.trace(features, words), words


def ledger_of(model: CaptioningModel) -> MemoryLedger:
    trace, words = trace_of(model)
    return memory_ledger(trace, read=["<start>", *model.vocabulary.decode(words)], cell="the cell state")


def by_hand(first: float, *steps: tuple[float, float, float]) -> MemoryLedger:
    """The ledger of a cell of one unit with these forget, input and candidate gates."""
    gates = [Gates(*(torch.tensor([value]) for value in step), output=None) for step in steps]
    memory = [torch.tensor([first])]
    for step in gates:
        assert step.forget is not None
        assert step.input is not None
        memory.append(step.forget * memory[-1] + step.input * step.candidate)
    nothing = torch.zeros(len(steps))
    trace = Trace(nothing, nothing.unsqueeze(1), None, gates, torch.stack(memory))
    return memory_ledger(trace, read=["<start>", "a", "dog"][: len(steps)], cell="the cell state")


@pytest.mark.parametrize(("kind", "cell", "sentinel"), GATED)
def test_the_parts_add_up_to_the_memory(kind: str, cell: str, sentinel: bool) -> None:
    model = tiny_model(kind=kind, cell=cell, sentinel=sentinel)
    trace, words = trace_of(model)
    ledger = ledger_of(model)
    steps = len(words) + 1
    assert ledger.parts.shape == (steps, steps + 1, 16)
    np.testing.assert_allclose(ledger.parts.sum(axis=1), trace.memory[1:].numpy(), atol=1e-5)
    assert ledger.largest_error < 1e-5


def test_the_memory_of_a_gru_is_its_hidden_state_from_the_start() -> None:
    # It once began with a memory of its own, which the cell never read: the ledger did not add up.
    model = tiny_model(cell="gru")
    state = model.decoder.start(torch.rand(1, model.encoder.regions, model.encoder.feature_size), rows=1)
    torch.testing.assert_close(state.cell("cell").memory, state.cell("cell").hidden)


def test_a_gate_half_open_halves_what_came_before() -> None:
    # The memory is 1; each step keeps half of it and lets in half of 1: 1/2 + 1/2, then 1/4 + 1/4 + 1/2, ...
    ledger = by_hand(1.0, (0.5, 0.5, 1.0), (0.5, 0.5, 1.0), (0.5, 0.5, 1.0))
    assert ledger.shares.tolist() == [[0.5, 0.5, 0, 0], [0.25, 0.25, 0.5, 0], [0.125, 0.125, 0.25, 0.5]]


def test_parts_of_opposite_sign_both_count() -> None:
    # 1 and -1 cancel: the memory is empty, yet half of it came from each.
    ledger = by_hand(1.0, (1.0, 1.0, -1.0))
    assert ledger.memory.tolist() == [[0.0]]
    assert ledger.shares.tolist() == [[0.5, 0.5]]


def test_a_memory_without_anything_in_it_has_no_shares() -> None:
    assert by_hand(0.0, (1.0, 0.0, 1.0)).shares.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(("kind", "cell", "sentinel"), GATED)
def test_shares_sum_to_one_and_nothing_enters_before_its_time(kind: str, cell: str, sentinel: bool) -> None:
    shares = ledger_of(tiny_model(kind=kind, cell=cell, sentinel=sentinel)).shares
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert (shares[np.triu_indices(len(shares), k=2, m=shares.shape[1])] == 0).all()
    # All but the language cell of top_down, which starts empty, hold something of the picture from the start.
    assert (shares[:, 0] > 0).all() == (kind != "top_down")


def test_a_plain_rnn_has_no_ledger_and_says_so_in_one_sentence() -> None:
    model = tiny_model(cell="rnn")
    with pytest.raises(ConfigError, match=r"^A plain RNN has no memory ledger: [^.]*\.$"):
        ledger_of(model)
    _, words = trace_of(model)
    features = torch.zeros(model.encoder.regions, model.encoder.feature_size)
    explanation = explain(model, words, model.trace(features, words), caption=Caption())
    assert explanation.ledger is None
    assert explanation.as_json()["memory_ledger"] is None


@pytest.mark.parametrize(
    ("kind", "cell", "told"),
    [
        ("attend", "lstm", "the cell state of the decoder's one cell"),
        ("attend", "gru", "the hidden state of the decoder's one cell"),
        ("top_down", "lstm", "the cell state of the language cell"),
    ],
)
def test_it_says_whose_memory_it_is(kind: str, cell: str, told: str) -> None:
    model = tiny_model(kind=kind, cell=cell, sentinel=False)
    _, words = trace_of(model)
    features = torch.zeros(model.encoder.regions, model.encoder.feature_size)
    ledger = explain(model, words, model.trace(features, words), caption=Caption()).ledger
    assert ledger is not None
    assert ledger.cell.startswith(told)
    assert ledger.read == ("<start>", *SENTENCES[0].split())
    assert ledger.as_json()["sources"][:3] == ["start", "<start>", "a"]
