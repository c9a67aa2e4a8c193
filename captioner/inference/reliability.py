"""Is a probability to be trusted? Measured on cases whose outcome is known.

Every function takes `right`, whether each case came out (cases,), and what was said of it beforehand:
`probabilities` between 0 and 1, or `scores` of which only the order counts, the surest highest.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BINS = 15
_BOOTSTRAP = 1000
_CHANCE_DRAWS = 200


class Bin(NamedTuple):
    """Cases of about the same probability."""

    cases: int
    said: float
    """Their mean probability."""
    came: float
    """The share of them that came out right."""


class Interval(NamedTuple):
    """The middle 95 % of a bootstrap."""

    low: float
    high: float


@dataclass(frozen=True)
class Reliability:
    """Everything measured of one kind of probability; see the functions of this module."""

    cases: int
    right: float
    """The share of all cases that came out right."""
    calibration_error: float
    calibration_error_by_chance: float
    """What the error would be on average if the probabilities were exactly true: few cases make some noise."""
    auroc: float
    raw_auroc: float
    """Of the raw score that the probability is to improve on."""
    risk_area: float
    raw_risk_area: float
    best_risk_area: float
    """Of a score that knows the outcome."""
    gain: Interval
    """95 % interval of `raw_risk_area - risk_area`, drawing whole groups (pictures) with replacement."""
    bins: tuple[Bin, ...]
    risks: tuple[Floats, Floats]
    """(cases,) each: the share wrong among the surest 1, 2, 3, ..., by the probability and by the raw score."""

    def as_json(self) -> dict[str, Any]:
        """The figures and the bins, without the curves."""
        figures = {name: value for name, value in asdict(self).items() if name not in ("risks", "bins", "gain")}
        return _rounded(figures) | {
            "risk_area_gain_95": [round(bound, 4) for bound in self.gain],
            "bins": [_rounded(part._asdict()) for part in self.bins],
        }


def measure(probabilities: Floats, raw: Floats, right: Bools, groups: NDArray[np.int64]) -> Reliability:
    """Measure probabilities, and compare their order with that of `raw` scores; `groups` (cases,) go together."""
    curve, raw_curve = risks(probabilities, right), risks(raw, right)
    return Reliability(
        cases=len(right),
        right=float(right.mean()),
        calibration_error=calibration_error(probabilities, right),
        calibration_error_by_chance=_error_by_chance(probabilities),
        auroc=auroc(probabilities, right),
        raw_auroc=auroc(raw, right),
        risk_area=float(curve.mean()),
        raw_risk_area=float(raw_curve.mean()),
        best_risk_area=float(risks(right.astype(np.float64), right).mean()),
        gain=_gain(probabilities, raw, right, groups),
        bins=tuple(calibration_bins(probabilities, right)),
        risks=(curve, raw_curve),
    )


def calibration_bins(probabilities: Floats, right: Bools, bins: int = BINS) -> list[Bin]:
    """The cases in order of their probability, cut into `bins` of equally many (give or take one)."""
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [Bin(len(part), float(probabilities[part].mean()), float(right[part].mean())) for part in parts]


def calibration_error(probabilities: Floats, right: Bools, bins: int = BINS) -> float:
    """Expected calibration error: the mean of |said - came| over cases, in bins of equally many.

    Naeini, Cooper and Hauskrecht 2015, "Obtaining well calibrated probabilities using Bayesian binning", section
    on measures; equal-mass bins as in Nguyen and O'Connor 2015 (arXiv:1508.05154), section 3.
    """
    found = calibration_bins(probabilities, right, bins)
    return sum(part.cases * abs(part.said - part.came) for part in found) / len(right)


def auroc(scores: Floats, right: Bools) -> float:
    """The chance that a right case scores higher than a wrong one, ties counting half; 0.5 where one is missing."""
    yes, no = int(right.sum()), int((~right).sum())
    if yes == 0 or no == 0:
        return 0.5
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    middle_rank = np.cumsum(count) - (count - 1) / 2  # ranks from 1, equal scores sharing the middle one
    return float((middle_rank[place][right].sum() - yes * (yes + 1) / 2) / (yes * no))


def risks(scores: Floats, right: Bools) -> Floats:
    """The risk-coverage curve: the share wrong among the surest 1, 2, ..., all; (cases,).

    Its mean is the area under the curve (Geifman, Uziel and El-Yaniv 2019, "Bias-reduced uncertainty estimation
    for deep neural classifiers", section 3). Equal scores have no order: each counts with their mean.
    """
    _, place, count = np.unique(-scores, return_inverse=True, return_counts=True)
    wrong_of_score = np.bincount(place, weights=~right) / count
    return np.asarray(np.cumsum(np.repeat(wrong_of_score, count)) / np.arange(1, len(right) + 1))


def _rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, int) else round(value, 4) for name, value in figures.items()}


def _error_by_chance(probabilities: Floats, seed: int = 0) -> float:
    rng = np.random.default_rng(seed)
    outcomes = rng.random((_CHANCE_DRAWS, len(probabilities))) < probabilities
    return float(np.mean([calibration_error(probabilities, outcome) for outcome in outcomes]))


def _gain(probabilities: Floats, raw: Floats, right: Bools, groups: NDArray[np.int64], seed: int = 0) -> Interval:
    rng = np.random.default_rng(seed)
    numbers, group = np.unique(groups, return_inverse=True)
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    gains = []
    for _ in range(_BOOTSTRAP):
        drawn = np.concatenate([members[number] for number in rng.integers(len(numbers), size=len(numbers))])
        areas = [risks(scores[drawn], right[drawn]).mean() for scores in (raw, probabilities)]
        gains.append(areas[0] - areas[1])
    low, high = np.quantile(gains, [0.025, 0.975])
    return Interval(float(low), float(high))
