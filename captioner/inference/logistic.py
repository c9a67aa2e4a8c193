"""Logistic regression: probabilities from a weighted sum of a few numbers; so small that it is fitted here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Logistic:
    """`log(p / (1 - p)) = intercept + features . weights`."""

    intercept: float
    weights: Floats
    """(features,)"""

    def log_odds(self, features: NDArray[Any]) -> Floats:
        """(..., features) -> (...)."""
        return np.asarray(self.intercept + np.asarray(features, dtype=np.float64) @ self.weights)

    def probability(self, features: NDArray[Any]) -> Floats:
        """(..., features) -> (...), between 0 and 1."""
        # By tanh, which overflows nowhere.
        return np.asarray((1 + np.tanh(self.log_odds(features) / 2)) / 2)

    def rounded(self, digits: int = 4) -> Logistic:
        """The same with so many significant digits, so that what is stored is exactly what was measured."""
        return Logistic(
            float(f"{self.intercept:.{digits}g}"), np.array([float(f"{weight:.{digits}g}") for weight in self.weights])
        )


def fit_logistic(
    features: NDArray[Any], right: NDArray[np.bool_], *, penalty: float, balanced: bool = False
) -> Logistic:
    """The weights under which `right` (rows,) is likeliest given features (rows, features).

    Minimises the mean cross-entropy plus `penalty / 2` times the squared weights, per standard deviation of each
    feature. The targets are drawn in a little from 0 and 1 (Platt 1999, "Probabilistic outputs for support vector
    machines", section 2.2), so that rows all of one kind give a finite answer. With `balanced` the right rows weigh
    as much together as the wrong ones.
    """
    values = np.asarray(features, dtype=np.float64)
    centre, spread = values.mean(axis=0), values.std(axis=0)
    spread = np.where(spread > 1e-9, spread, 1.0)  # a feature that never changes says nothing, and must not divide
    standard = torch.from_numpy((values - centre) / spread)
    yes, no = int(right.sum()), int((~right).sum())
    targets = torch.from_numpy(np.where(right, (yes + 1) / (yes + 2), 1 / (no + 2)))
    each = np.where(right, 0.5 / max(1, yes), 0.5 / max(1, no)) if balanced else np.full(len(right), 1 / len(right))
    weights, intercept = _minimise(standard, targets, torch.from_numpy(each), penalty)
    return Logistic(float(intercept - weights / spread @ centre), weights / spread)


def _minimise(features: Tensor, targets: Tensor, each: Tensor, penalty: float) -> tuple[Floats, float]:
    weights = torch.zeros(features.shape[1], dtype=torch.float64, requires_grad=True)
    intercept = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weights, intercept], max_iter=500, tolerance_grad=1e-8, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        log_odds = features @ weights + intercept
        value = F.binary_cross_entropy_with_logits(log_odds, targets, weight=each, reduction="sum")
        value = value + penalty / 2 * weights.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach().numpy(), intercept.item()
