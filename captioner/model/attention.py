"""Attention: (queries, keys, values) -> (context, weights).

The rows of a picture share its keys and values, which are never copied: each score and each context is one
batched matrix product. `keys` projects the regions once per picture; `forward` runs once per word.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Attended(NamedTuple):
    """What was read and where."""

    context: Tensor
    """(pictures, rows, value_size): the weighted mean of the values."""
    weights: Tensor
    """(pictures, rows, regions), each row sums to one."""


class DotAttention(nn.Module):
    """Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1): softmax(q . k / sqrt(d)) v."""

    def __init__(self, *, query_size: int, key_size: int, attention_size: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_size, attention_size)
        self.key = nn.Linear(key_size, attention_size, bias=False)
        self.scale = 1 / math.sqrt(attention_size)

    def keys(self, regions: Tensor) -> Tensor:
        """(..., key_size) -> (..., attention_size)."""
        keys: Tensor = self.key(regions)
        return keys

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """How well each key answers each query: (pictures, rows, regions).

        Queries are (pictures, rows, query_size), keys (pictures, regions, attention_size).
        """
        scaled: Tensor = self.query(queries) * self.scale
        return scaled @ keys.transpose(1, 2)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Attended:
        """Values are (pictures, regions, value_size)."""
        weights = self.scores(queries, keys).softmax(dim=-1)
        return Attended(context=weights @ values, weights=weights)


class AdditiveAttention(DotAttention):
    """Additive attention (Bahdanau et al. 2015, appendix A.1.2): softmax(v . tanh(W q + U k)) values."""

    def __init__(self, *, query_size: int, key_size: int, attention_size: int) -> None:
        super().__init__(query_size=query_size, key_size=key_size, attention_size=attention_size)
        self.energy = nn.Linear(attention_size, 1, bias=False)

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """See `DotAttention.scores`."""
        energies: Tensor = self.energy(torch.tanh(self.query(queries).unsqueeze(2) + keys.unsqueeze(1)))
        return energies.squeeze(-1)


ATTENTIONS: dict[str, type[DotAttention]] = {"additive": AdditiveAttention, "dot": DotAttention}
"""The attentions by the name a recipe gives them."""
