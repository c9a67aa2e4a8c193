"""Attention: (queries, keys, values) -> (context, weights).

The rows of a picture share its keys and values, which are never copied: each score and each context is one
batched matrix product. `keys` projects the regions once per picture; everything else runs once per word.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captioner.model.packing import packed


class Attended(NamedTuple):
    """What was read and where."""

    context: Tensor
    """(pictures, rows, value_size): the weighted mean of the values."""
    weights: Tensor
    """(pictures, rows, regions), each row sums to one."""


class DotAttention(nn.Module):
    """Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1): softmax(q . k / sqrt(d)) v."""

    _folded_weight: Tensor | None
    _folded_bias: Tensor | None

    def __init__(self, *, query_size: int, key_size: int, attention_size: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_size, attention_size)
        self.key = nn.Linear(key_size, attention_size, bias=False)
        self.scale = 1 / math.sqrt(attention_size)
        self.register_buffer("_folded_weight", None, persistent=False)
        self.register_buffer("_folded_bias", None, persistent=False)

    def keys(self, regions: Tensor) -> Tensor:
        """(..., key_size) -> what `scores` compares with: (..., attention_size), or once folded the regions."""
        if self._folded_weight is not None:
            return regions
        keys: Tensor = self.key(regions)
        return keys

    def ask(self, hidden: Tensor) -> Tensor:
        """(..., query_size) -> queries, as wide as the keys."""
        if self._folded_weight is not None:
            return F.linear(hidden, self._folded_weight, self._folded_bias)
        asked: Tensor = self.query(hidden) * self.scale
        return asked

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """How well each of a picture's keys answers each query: (pictures, rows, keys)."""
        return queries @ keys.transpose(1, 2)

    @torch.no_grad()
    def fold(self, precision: torch.dtype = torch.float32) -> None:
        """From now on compare with the regions themselves, q . (K r) = (K^T q) . r, unless they are longer than keys.

        That saves a product for whatever is compared with. This is for weights that will not change any more.
        `precision` is that of the products.
        """
        weight = self.key.weight
        if weight.shape[1] > weight.shape[0]:
            return
        key = weight.cpu().double().T * self.scale  # some devices do not know numbers as long
        folded = [(key @ each.cpu().double()).to(weight) for each in (self.query.weight, self.query.bias)]
        # Not by assignment, which would make a parameter of what is packed.
        self.register_buffer("_folded_weight", packed(folded[0], precision), persistent=False)
        self.register_buffer("_folded_bias", folded[1], persistent=False)

    def forward(self, hidden: Tensor, keys: Tensor, values: Tensor) -> Attended:
        """Where each row looks: hidden (pictures, rows, query_size), values (pictures, regions, value_size)."""
        weights = self.scores(self.ask(hidden), keys).softmax(dim=-1)
        return Attended(context=weights @ values, weights=weights)


class AdditiveAttention(DotAttention):
    """Additive attention (Bahdanau et al. 2015, appendix A.1.2): softmax(v . tanh(W q + U k)) values."""

    def __init__(self, *, query_size: int, key_size: int, attention_size: int) -> None:
        super().__init__(query_size=query_size, key_size=key_size, attention_size=attention_size)
        self.energy = nn.Linear(attention_size, 1, bias=False)

    def ask(self, hidden: Tensor) -> Tensor:
        """See `DotAttention.ask`."""
        asked: Tensor = self.query(hidden)
        return asked

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """See `DotAttention.scores`."""
        energies: Tensor = self.energy(torch.tanh(queries.unsqueeze(2) + keys.unsqueeze(1)))
        return energies.squeeze(-1)

    def fold(self, precision: torch.dtype = torch.float32) -> None:
        """Nothing can be folded here."""


ATTENTIONS: dict[str, type[DotAttention]] = {"additive": AdditiveAttention, "dot": DotAttention}
"""The attentions by the name a recipe gives them."""
