"""Attention: weights are shares, and each kind follows its formula."""

from __future__ import annotations

import math

import pytest
import torch

from captioner.model.attention import ATTENTIONS, AdditiveAttention, DotAttention

PICTURES, ROWS, REGIONS, SIZE = 2, 3, 4, 6


@pytest.mark.parametrize("name", ATTENTIONS)
def test_weights_are_positive_and_sum_to_one(name: str) -> None:
    attention = ATTENTIONS[name](query_size=SIZE, key_size=SIZE, attention_size=5)
    regions = torch.randn(PICTURES, REGIONS, SIZE)
    context, weights = attention(torch.randn(PICTURES, ROWS, SIZE), attention.keys(regions), regions)
    assert weights.shape == (PICTURES, ROWS, REGIONS)
    assert weights.gt(0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(PICTURES, ROWS))
    torch.testing.assert_close(context, torch.einsum("prg,pgs->prs", weights, regions))


@torch.no_grad()
def test_dot_scores_follow_the_formula() -> None:
    attention = DotAttention(query_size=SIZE, key_size=SIZE, attention_size=5)
    queries, regions = torch.randn(1, 1, SIZE), torch.randn(1, REGIONS, SIZE)
    keys = attention.keys(regions)
    expected = [float(attention.query(queries)[0, 0] @ keys[0, g]) / math.sqrt(5) for g in range(REGIONS)]
    assert attention.scores(attention.ask(queries), keys)[0, 0].tolist() == pytest.approx(expected, abs=1e-5)


@torch.no_grad()
def test_additive_scores_follow_the_formula() -> None:
    attention = AdditiveAttention(query_size=SIZE, key_size=SIZE, attention_size=5)
    queries, regions = torch.randn(1, 1, SIZE), torch.randn(1, REGIONS, SIZE)
    keys = attention.keys(regions)
    v = attention.energy.weight[0]
    expected = [float(v @ torch.tanh(attention.query(queries)[0, 0] + keys[0, g])) for g in range(REGIONS)]
    assert attention.scores(attention.ask(queries), keys)[0, 0].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_region_that_answers_the_query_gets_all_the_attention() -> None:
    attention = DotAttention(query_size=2, key_size=2, attention_size=2)
    with torch.no_grad():
        attention.query.weight.copy_(100 * torch.eye(2))
        attention.query.bias.zero_()
        attention.key.weight.copy_(torch.eye(2))
    regions = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    _, weights = attention(torch.tensor([[[0.0, 1.0]]]), attention.keys(regions), regions)
    assert weights[0, 0].tolist() == pytest.approx([0.0, 1.0], abs=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("name", "size", "folds"), [("dot", SIZE, True), ("dot", 5, False), ("additive", SIZE, False)])
def test_folded_it_looks_where_it_looked(name: str, size: int, folds: bool, dtype: torch.dtype) -> None:
    attention = ATTENTIONS[name](query_size=SIZE, key_size=SIZE, attention_size=size).to(dtype)
    hidden, regions = (torch.randn(PICTURES, count, SIZE, dtype=dtype) for count in (ROWS, REGIONS))
    before, names = attention(hidden, attention.keys(regions), regions), attention.state_dict().keys()
    attention.fold()
    assert (attention.keys(regions) is regions) == folds
    close = {"rtol": 0.1, "atol": 0.05} if dtype == torch.bfloat16 else {}
    torch.testing.assert_close(attention(hidden, attention.keys(regions), regions).weights, before.weights, **close)
    assert attention.state_dict().keys() == names
