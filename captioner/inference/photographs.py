"""Telling photographs from what is none: pages, charts, screenshots, noise, drawings.

A logistic regression on the mean of a picture's regions, which the CNN gives anyway: one product of two vectors.
It is fitted to photographs and to drawings of our own (`captioner.data.nonphotographs`), and measured on kinds of
drawing that it never saw: for each kind there is one fit without that kind and without a share of the photographs,
and those are then told from each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from captioner.data.nonphotographs import draw_nonphotographs
from captioner.inference.describer import Describer
from captioner.inference.folds import deal
from captioner.inference.logistic import Floats, Logistic, fit_logistic
from captioner.inference.reliability import auroc

FALSE_ALARMS = 0.02
"""The share of development photographs that may be taken for something else."""

_PENALTY = 0.05
"""As there is a weight for every feature of the CNN, the drawings alone could fix any number."""

_BATCH = 50


class Drawings(NamedTuple):
    """What the CNN makes of pictures that are no photographs."""

    features: Floats
    """(drawings, feature_size): mean regions."""
    kinds: NDArray[np.str_]
    """(drawings,)"""


class KindFigures(NamedTuple):
    """How a kind of drawing that was in no fit is told from photographs."""

    auroc: float
    uncertain: float
    """The share of its drawings below the threshold."""


@dataclass(frozen=True)
class Separation:
    """Where the line between photographs and drawings is drawn, and what it is worth; all on pictures left out."""

    threshold: float
    """Log-odds: even odds, unless more than FALSE_ALARMS of the photographs lie below, and then their quantile."""
    false_alarms: float
    """The share of the photographs below it."""
    kinds: dict[str, KindFigures]

    @property
    def auroc(self) -> float:
        """The mean over the kinds."""
        return float(np.mean([figures.auroc for figures in self.kinds.values()]))


def mean_regions(describer: Describer, pictures: Sequence[Image.Image]) -> Floats:
    """(pictures, feature_size): the mean region of each picture (RGB), as `describer` sees it."""
    read, rows = describer.model.encoder.preprocessing.pixels, []
    for first in range(0, len(pictures), _BATCH):
        features = describer.encode([read(each) for each in pictures[first : first + _BATCH]]).features
        rows.append(features.float().mean(dim=1).double().cpu().numpy())
    return np.concatenate(rows)


def draw(
    describer: Describer, count: int, *, seed: int, done: Callable[[int], None] = lambda drawings: None
) -> Drawings:
    """Draw `count` pictures and look at them as `describer` does; `done` is told now and then how many are.

    Half are as large as the CNN takes them, half twice as large, and shrunk like most photographs.
    """
    size, half = describer.model.encoder.preprocessing.size, (count + 1) // 2
    features, kinds = [], []
    for number, (amount, side) in enumerate([(half, size), (count - half, 2 * size)]):
        drawings = draw_nonphotographs(amount, seed=2 * seed + number, size=side)
        while some := list(itertools.islice(drawings, _BATCH)):
            features.append(mean_regions(describer, [drawing.image for drawing in some]))
            kinds += [drawing.kind for drawing in some]
            done(len(kinds))
    return Drawings(np.concatenate(features), np.array(kinds))


def fit_photographs(photographs: Floats, drawings: Floats) -> Logistic:
    """From mean regions (pictures, feature_size) of both.

    Log-odds 0 is where a picture is as likely a photograph as a drawing, were there equally many of both.
    """
    both = np.concatenate([photographs, drawings])
    return fit_logistic(both, np.arange(len(both)) < len(photographs), penalty=_PENALTY, balanced=True).rounded()


def separate(photographs: Floats, drawings: Drawings, *, seed: int) -> Separation:
    """Draw the line and measure it; mean regions of photographs (pictures, feature_size)."""
    names = list(dict.fromkeys(drawings.kinds.tolist()))
    fold = deal(len(photographs), among=len(names), seed=seed)
    odds, drawn_odds = np.empty(len(photographs)), np.empty(len(drawings.kinds))
    for number, name in enumerate(names):
        out, drawn_out = fold == number, drawings.kinds == name
        fitted = fit_photographs(photographs[~out], drawings.features[~drawn_out])
        odds[out], drawn_odds[drawn_out] = (
            fitted.log_odds(photographs[out]),
            fitted.log_odds(drawings.features[drawn_out]),
        )
    threshold = round(min(0.0, float(np.quantile(odds, FALSE_ALARMS))), 4)
    kinds = {}
    for number, name in enumerate(names):
        ours, drawn = odds[fold == number], drawn_odds[drawings.kinds == name]
        photograph = np.arange(len(ours) + len(drawn)) < len(ours)
        kinds[name] = KindFigures(auroc(np.concatenate([ours, drawn]), photograph), float((drawn < threshold).mean()))
    return Separation(threshold, float((odds < threshold).mean()), kinds)
