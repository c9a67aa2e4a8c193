"""Fitting a captioner's confidence on development pictures, and measuring it on those left out of each fit.

A word is right when its stem (Porter 1980) is that of a word in one of the picture's references.

A caption is as good as a person's when its CIDEr-D reaches the human bar: the median, over all references of the
development pictures, of a reference's CIDEr-D against the others of its picture. A person is thus scored against
one reference fewer than there are, and so is the caption: against the same sets, each of which leaves one out, and
the mean is taken. (CIDEr-D is itself a mean over references, so that this mean equals its score against all.) The
bar is the same for all pictures. One of its own for each would be lowest where people agree least, and would call
a caption good because the picture puzzles everyone.

Everything told was measured out of fold: the pictures are dealt into FOLDS, and those of each are judged by what
was fitted on the others alone. What is stored is fitted on all. That photographs are told from what is none is the
business of `captioner.inference.photographs`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from nltk.stem.porter import PorterStemmer

from captioner.data.images import ImageSource
from captioner.errors import DataError
from captioner.inference.caption import Level, level
from captioner.inference.captioner import Captioner
from captioner.inference.confidence import Calibration, Signs, caption_signs, read_signs
from captioner.inference.folds import deal
from captioner.inference.logistic import Floats, Logistic, fit_logistic
from captioner.inference.photographs import Separation, draw, fit_photographs, separate
from captioner.inference.reliability import Bools, Reliability, measure
from captioner.text.metrics import CiderD

FOLDS = 10
_PENALTY = 1e-3
"""Next to none: there are a handful of weights."""

_BATCH = 16


class Observation(NamedTuple):
    """One development picture that was captioned."""

    signs: Signs
    right_words: Bools
    """(words,): function words are judged too, but in no figure."""
    good: bool
    """As good as a person's."""


@dataclass(frozen=True)
class LevelFigures:
    """The captions whose confidence is called by one word."""

    share: float
    """Of all captions."""
    good: float
    """Of these captions, those as good as a person's."""


@dataclass(frozen=True)
class Measured:
    """What the calibration is worth, measured out of fold."""

    pictures: int
    human_bar: float
    """On the scale of papers, 0 to 1000."""
    words: Reliability
    captions: Reliability
    levels: dict[Level, LevelFigures]
    photographs: Separation

    def as_json(self) -> dict[str, Any]:
        """Every figure and bin, without curves."""
        return {
            "pictures": self.pictures,
            "human_bar_cider_d": round(self.human_bar, 2),
            "words": self.words.as_json(),
            "captions": self.captions.as_json(),
            "levels": {
                name: {"share": round(told.share, 4), "good": round(told.good, 4)} for name, told in self.levels.items()
            },
            "photographs": {
                "auroc": round(self.photographs.auroc, 4),
                "false_alarms": round(self.photographs.false_alarms, 4),
                "kinds": {
                    kind: {name: round(value, 4) for name, value in figures._asdict().items()}
                    for kind, figures in self.photographs.kinds.items()
                },
            },
        }


def calibrate(
    captioner: Captioner,
    pictures: Iterable[ImageSource],
    captions: Sequence[Sequence[str]],
    *,
    drawings: int = 960,
    seed: int = 0,
    done: Callable[[int], None] = lambda steps: None,
) -> tuple[Calibration, Measured]:
    """Fit the calibration of a captioner to development pictures, and measure it.

    Args:
        captioner: the model, which captions with its own search.
        pictures: photographs it was not trained on, taken a few at a time.
        captions: the references of each picture, at least two.
        drawings: how many pictures that are no photographs to draw.
        seed: deals the folds and draws the drawings.
        done: told how many pictures and drawings have been looked at.

    Raises:
        DataError: there are fewer than two pictures to a fold, or one has fewer than two references.
        ImageError: a picture cannot be read.
    """
    if len(captions) < 2 * FOLDS:
        raise DataError(
            f"A calibration needs {2 * FOLDS} pictures or more, but {len(captions)} came; give a whole split."
        )
    normalise = captioner.model.vocabulary.normalise
    references = [[normalise(caption) for caption in of_picture] for of_picture in captions]
    bar = human_bar(references)
    observations = _observe(captioner, pictures, references, bar, done)
    drawn = draw(captioner.describer(), drawings, seed=seed, done=lambda count: done(len(observations) + count))
    photographs = np.stack([observation.signs.picture for observation in observations])
    separation = separate(photographs, drawn, seed=seed)
    words, told, levels = _measure_confidence(observations, seed)
    measured = Measured(
        pictures=len(observations),
        human_bar=100 * bar,
        words=words,
        captions=told,
        levels=levels,
        photographs=separation,
    )
    fitted = Calibration(
        *_fit_confidence(observations),
        fit_photographs(photographs, drawn.features),
        separation.threshold,
        measured=measured.as_json(),
    )
    return fitted, measured


def human_bar(references: Sequence[Sequence[Sequence[str]]]) -> float:
    """The median CIDEr-D (0 to 10) of a reference against the others of its picture; words, not sentences.

    Raises DataError when a picture has fewer than two references.
    """
    if any(len(written) < 2 for written in references):
        raise DataError("A calibration compares people with each other, so every picture needs two captions or more.")
    scorer = CiderD(references)
    persons = [caption for written in references for caption in written]
    others = [
        [*written[:left_out], *written[left_out + 1 :]] for written in references for left_out in range(len(written))
    ]
    return float(np.median(scorer.score(persons, others)))


def right_words(caption: Sequence[str], references: Sequence[Sequence[str]]) -> Bools:
    """(words,): whether each word's stem is one of the references'."""
    written = {_stem(word) for reference in references for word in reference}
    return np.array([_stem(word) in written for word in caption], dtype=bool)


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    return str(_STEMMER.stem(word))


_STEMMER = PorterStemmer()


def _observe(
    captioner: Captioner,
    pictures: Iterable[ImageSource],
    references: list[list[list[str]]],
    bar: float,
    done: Callable[[int], None],
) -> list[Observation]:
    model, scorer = captioner.model, CiderD(references)
    observations: list[Observation] = []
    remaining = iter(pictures)
    while sources := list(itertools.islice(remaining, _BATCH)):
        features = torch.stack([captioner.features(source) for source in sources])
        first = len(observations)
        watch = model.watch()
        found = model.search(features, captioner.search, watch=watch)
        for place, (hypotheses, written) in enumerate(zip(found, references[first : first + _BATCH], strict=True)):
            if not hypotheses:
                raise DataError(
                    "A calibration needs a caption of every picture, but of one the search found none that obeys its "
                    "rules; relax search.no_repeat_ngram or search.min_length (`captioner pack --set`)."
                )
            words = hypotheses[0].words
            signs = read_signs(model.vocabulary, features[place], words, watch.choices(place, words))
            caption = model.vocabulary.decode(words)
            good = bool(scorer.score([caption], [written])[0] >= bar)
            observations.append(Observation(signs, right_words(caption, written), good))
        done(len(observations))
    return observations


def _fit_confidence(observations: Sequence[Observation]) -> tuple[Logistic, Logistic]:
    """Of words, and of captions."""
    if not any(seen.signs.content.any() for seen in observations):
        raise DataError(
            "A calibration needs captions that name things, but the model says function words alone; train it further."
        )
    signs = np.concatenate([seen.signs.words[seen.signs.content] for seen in observations])
    right = np.concatenate([seen.right_words[seen.signs.content] for seen in observations])
    words = fit_logistic(signs, right, penalty=_PENALTY).rounded()
    of_captions = np.stack([caption_signs(seen.signs, words) for seen in observations])
    good = np.array([seen.good for seen in observations])
    return words, fit_logistic(of_captions, good, penalty=_PENALTY).rounded()


def _measure_confidence(
    observations: Sequence[Observation], seed: int
) -> tuple[Reliability, Reliability, dict[Level, LevelFigures]]:
    fold = deal(len(observations), among=FOLDS, seed=seed)
    of_words: list[Floats] = [np.empty(0)] * len(observations)
    of_captions = np.empty(len(observations))
    for number in range(FOLDS):
        left_out = np.flatnonzero(fold == number).tolist()
        words, captions = _fit_confidence([seen for seen, its in zip(observations, fold, strict=True) if its != number])
        for place in left_out:
            signs = observations[place].signs
            of_words[place] = words.probability(signs.words[signs.content])
            of_captions[place] = captions.probability(caption_signs(signs, words))
    return (_words_reliability(observations, of_words), *_captions_reliability(observations, of_captions))


def _words_reliability(observations: Sequence[Observation], told: list[Floats]) -> Reliability:
    raw = [seen.signs.words[seen.signs.content, 0] for seen in observations]
    right = [seen.right_words[seen.signs.content] for seen in observations]
    picture = np.repeat(np.arange(len(observations)), [len(each) for each in told])
    return measure(np.concatenate(told), np.concatenate(raw), np.concatenate(right), picture)


def _captions_reliability(
    observations: Sequence[Observation], told: Floats
) -> tuple[Reliability, dict[Level, LevelFigures]]:
    good = np.array([seen.good for seen in observations])
    raw = np.array([seen.signs.log_probability for seen in observations])
    called = np.array([level(confidence) for confidence in told])
    names: tuple[Level, ...] = ("low", "medium", "high")
    levels = {
        name: LevelFigures(float((called == name).mean()), float(good[called == name].mean()))
        for name in names
        if (called == name).any()
    }
    return measure(told, raw, good, np.arange(len(good))), levels
