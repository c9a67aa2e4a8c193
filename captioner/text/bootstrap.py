"""How far a score is to be trusted: intervals from drawing the pictures again and again, for one model and for two."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from captioner.errors import ConfigError
from captioner.text.metrics import SUMMABLE, Captions, References, picture_statistics, scores_from_sums


class Interval(NamedTuple):
    """The bounds of a confidence interval."""

    low: float
    high: float


class Change(NamedTuple):
    """One metric of two sets of captions of the same pictures, on the 0-100 scale of `Scores`."""

    old: float
    new: float
    old_interval: Interval
    new_interval: Interval
    gain_interval: Interval
    """Of the difference, from the same draws for both: far narrower than those of the two would let one think."""

    @property
    def gain(self) -> float:
        """New less old."""
        return self.new - self.old


def confidence_intervals(
    statistics: NDArray[np.float64], *, samples: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Bootstrap intervals of BLEU-1 to BLEU-4, ROUGE-L and CIDEr-D, on the 0-100 scale of `Scores`.

    Pictures are drawn with replacement, as many as there are, `samples` times; an interval holds the
    middle `level` of the values that come out (Efron 1979; Koehn 2004, "Statistical significance tests
    for machine translation evaluation"). It tells the chance of the draw of pictures, not that of the
    training run. CIDEr-D keeps the document frequencies of the full reference set in every sample.
    METEOR is left out.

    Args:
        statistics: what `captioner.text.metrics.picture_statistics` tells of the captions, a row for each picture.
        samples: how many times to draw.
        seed: the same seed gives the same intervals.
        level: the share of samples inside, between 0 and 1.

    Returns:
        {"bleu_1": Interval(low, high), ...}, named like the fields of `Scores`.

    Raises:
        ConfigError: `samples` is below 1 or `level` is not between 0 and 1.
    """
    values = _resampled(statistics, samples, seed)
    return dict(zip(SUMMABLE, _intervals(values, level), strict=True))


def changes(
    old: Captions,
    new: Captions,
    references: References,
    *,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Change]:
    """Two sets of captions of the same pictures: their scores and the paired bootstrap interval of the difference.

    Every draw of pictures scores both sets (Koehn 2004, section 4), so that pictures which are hard for both tell
    nothing. The other arguments and the names are those of `confidence_intervals`, and so are the errors, with those of
    `captioner.text.metrics.score`.
    """
    statistics = [picture_statistics(captions, references) for captions in (old, new)]
    scores = [scores_from_sums(part.sum(axis=0, keepdims=True), pictures=len(references))[0] for part in statistics]
    values = [_resampled(part, samples, seed) for part in statistics]
    columns = zip(*scores, *(_intervals(part, level) for part in (*values, values[1] - values[0])), strict=True)
    return {
        name: Change(float(before), float(after), *intervals)
        for name, (before, after, *intervals) in zip(SUMMABLE, columns, strict=True)
    }


def _resampled(statistics: NDArray[np.float64], samples: int, seed: int) -> NDArray[np.float64]:
    """The scores, (samples, 6), of corpora drawn from these pictures; the same seed draws the same pictures."""
    if samples < 1:
        raise ConfigError(f"samples must be at least 1, but it is {samples}; 1000 is a good number")
    generator = np.random.default_rng(seed)
    pictures = len(statistics)
    sums = np.empty((samples, statistics.shape[1]))
    for sample in range(samples):
        drawn = generator.integers(pictures, size=pictures)
        sums[sample] = np.bincount(drawn, minlength=pictures) @ statistics
    return scores_from_sums(sums, pictures=pictures)


def _intervals(values: NDArray[np.float64], level: float) -> list[Interval]:
    """The middle `level` of each column."""
    if not 0 < level < 1:
        raise ConfigError(f"level must lie between 0 and 1, but it is {level}; 0.95 is a good choice")
    tail = (1 - level) / 2
    return [Interval(float(low), float(high)) for low, high in np.quantile(values, [tail, 1 - tail], axis=0).T]
