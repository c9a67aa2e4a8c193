"""Choosing on development pictures how captions are searched for: the beam's width, the length reward and consensus.

The settings that make the best captions of some pictures are tuned to the luck of those pictures too. What they are
worth is therefore measured by folds: the settings that are best on all folds but one caption the pictures of that one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from captioner.config import SearchConfig
from captioner.data.features import CaptionedFeatures
from captioner.errors import DataError
from captioner.inference.folds import deal
from captioner.model.captioning import CaptioningModel
from captioner.search.hypothesis import Hypothesis
from captioner.text.consensus import likeness_table, order_by_consensus
from captioner.text.metrics import CiderD, bleu

FOLDS = 5
WIDTHS = (3, 5, 8, 10)
LENGTH_EXPONENTS = (0.3, 0.5, 0.7, 0.9, 1.1)
CONSENSUS = (0.0, 2.0, 5.0, 20.0)
"""Coarse steps: of many nearly equal settings the best is chosen by luck."""

_AT_ONCE = 50

Words = tuple[int, ...]


@dataclass(frozen=True)
class Tried:
    """How good captions are, on the scale of papers."""

    cider_d: float
    bleu_4: float
    gain: float
    """In CIDEr-D, over the settings stored with the model."""
    gain_error: float
    """Its standard error, from the differences of the single pictures."""


@dataclass(frozen=True)
class WidthTried:
    """The best settings of one beam width."""

    search: SearchConfig
    out_of_fold: Tried
    """Each picture captioned with the settings of this width that are best on the other folds."""


@dataclass(frozen=True)
class Tuning:
    """What was found."""

    pictures: int
    stored: Tried
    """With the settings stored with the model."""
    widths: tuple[WidthTried, ...]
    best: SearchConfig
    """The settings that are best on all pictures; those stored with the model if none are better."""
    out_of_fold: Tried
    """What choosing like that is worth on other pictures, the width chosen by folds too."""

    @property
    def gains(self) -> bool:
        """Whether choosing gains more than its standard error, which less than that may be nothing but luck."""
        return self.out_of_fold.gain > self.out_of_fold.gain_error


def tune_search(
    model: CaptioningModel,
    pictures: CaptionedFeatures,
    *,
    widths: Sequence[int] = WIDTHS,
    length_exponents: Sequence[float] = LENGTH_EXPONENTS,
    consensus: Sequence[float] = CONSENSUS,
    seed: int = 0,
    done: Callable[[int], None] = lambda searched: None,
) -> Tuning:
    """Try all combinations of these settings, and those stored; others stay as they are, but for groups and sampling.

    Args:
        model: what captions.
        pictures: the features of pictures it was not trained on, and their captions; where the stored search looks at
            mirror images, too, those are view number 1.
        widths: of the beam; each is one search of all pictures, and the rest follows from what it found.
        length_exponents: see `SearchConfig.length_exponent`.
        consensus: see `SearchConfig.consensus`; 0 is none.
        seed: deals the folds.
        done: told how many pictures have been searched for, each once for every width (and the stored one).

    Raises:
        DataError: there are fewer than two pictures to a fold.
    """
    if len(pictures.captions) < 2 * FOLDS:
        raise DataError(
            f"Tuning needs {2 * FOLDS} pictures or more, but {len(pictures.captions)} came; give a whole split."
        )
    stored = replace(model.config.search, method="beam", groups=1)
    tried = {
        width: [
            replace(stored, beam_width=width, length_exponent=exponent, consensus=temperature)
            for exponent, temperature in itertools.product(length_exponents, consensus)
        ]
        for width in dict.fromkeys(widths)
    }
    searches = {width: list(settings) for width, settings in tried.items()}
    searches.setdefault(stored.beam_width, []).append(stored)
    said: dict[SearchConfig, list[Words]] = {}
    for number, (width, settings) in enumerate(searches.items()):
        said |= _say(model, pictures, width, settings, searched=number * len(pictures.captions), done=done)
    judge = _Judge(model, pictures)
    scores = {search: judge.each(captions) for search, captions in said.items()}
    fold = deal(len(pictures.captions), among=FOLDS, seed=seed)
    # What is stored comes first: of equal choices the first is taken.
    every = [stored, *(search for settings in tried.values() for search in settings if search != stored)]

    def told(captions: Sequence[Words]) -> Tried:
        each = judge.each(captions)
        gains = each - scores[stored]
        error = float(gains.std() / np.sqrt(len(gains)))
        return Tried(float(each.mean()), judge.bleu_4(captions), float(gains.mean()), error)

    def out_of_fold(settings: list[SearchConfig]) -> Tried:
        numbers = choose_out_of_fold(np.stack([scores[search] for search in settings]), fold)
        return told([said[settings[number]][picture] for picture, number in enumerate(numbers.tolist())])

    def best(settings: list[SearchConfig]) -> SearchConfig:
        return max(settings, key=lambda search: float(scores[search].mean()))

    return Tuning(
        pictures=len(pictures.captions),
        stored=told(said[stored]),
        widths=tuple(WidthTried(best(settings), out_of_fold(settings)) for settings in tried.values()),
        best=best(every),
        out_of_fold=out_of_fold(every),
    )


def choose_out_of_fold(scores: NDArray[np.float64], fold: NDArray[np.int64]) -> NDArray[np.int64]:
    """(pictures,): for each picture the number of the choice that is best on the pictures of all other folds.

    `scores` (choices, pictures) are those of every choice on every picture, `fold` (pictures,) says which fold each is
    in. Of equal choices it is the first.
    """
    chosen = np.empty(len(fold), dtype=np.int64)
    for number in np.unique(fold):
        here = fold == number
        chosen[here] = scores[:, ~here].mean(axis=1).argmax()
    return chosen


@torch.inference_mode()
def _say(
    model: CaptioningModel,
    pictures: CaptionedFeatures,
    width: int,
    settings: Sequence[SearchConfig],
    *,
    searched: int,
    done: Callable[[int], None],
) -> dict[SearchConfig, list[Words]]:
    """What is said of each picture with each of these settings, which share a beam width.

    Neither the length reward nor consensus changes which beginnings a beam goes on with. So one search that keeps every
    finished caption tells what each of the settings would have said.
    """
    keep_all = replace(settings[0], length_exponent=0.0, consensus=0.0)
    captions: dict[SearchConfig, list[Words]] = {search: [] for search in settings}
    for first in range(0, len(pictures.captions), _AT_ONCE):
        numbers = np.arange(first, min(first + _AT_ONCE, len(pictures.captions)))
        features = torch.from_numpy(pictures.features.read(numbers)).to(model.device)
        if keep_all.mirror:
            features = model.mean_look(features, torch.from_numpy(pictures.features.read(numbers, 1)).to(model.device))
        for finished in model.search(features, keep_all, best=width * (keep_all.max_length + 1)):
            for search, words in _choose(finished, width, settings).items():
                captions[search].append(words)
        done(searched + int(numbers[-1]) + 1)
    return captions


def _choose(finished: list[Hypothesis], width: int, settings: Sequence[SearchConfig]) -> dict[SearchConfig, Words]:
    """Which of one picture's finished captions each of the settings says; none where none obeys the rules."""
    chosen: dict[SearchConfig, Words] = {}
    for exponent in {search.length_exponent for search in settings}:
        ranked = sorted(finished, key=lambda caption: -caption.log_probability / (len(caption.words) + 1) ** exponent)
        beam = ranked[:width]
        table = likeness_table([caption.words for caption in beam])
        log_probabilities = [caption.log_probability for caption in beam]
        for search in settings:
            if search.length_exponent == exponent:
                order = [0]
                if search.consensus and beam:
                    order = order_by_consensus(table, log_probabilities, temperature=search.consensus)
                chosen[search] = beam[order[0]].words if beam else ()
    return chosen


class _Judge:
    """Tells how good captions of the development pictures are, and judges none of them twice."""

    def __init__(self, model: CaptioningModel, pictures: CaptionedFeatures) -> None:
        self._vocabulary = model.vocabulary
        self._references = [[model.vocabulary.normalise(caption) for caption in row] for row in pictures.captions]
        self._cider_d = CiderD(self._references)
        self._known: dict[tuple[int, Words], float] = {}

    def each(self, captions: Sequence[Words]) -> NDArray[np.float64]:
        """(pictures,): CIDEr-D of each picture's caption, 0 to 1000."""
        return np.array([self._score(picture, words) for picture, words in enumerate(captions)])

    def bleu_4(self, captions: Sequence[Words]) -> float:
        """Of one caption of every picture, 0 to 100."""
        return 100 * bleu([self._vocabulary.decode(words) for words in captions], self._references)[3]

    def _score(self, picture: int, words: Words) -> float:
        known = self._known.get((picture, words))
        if known is None:
            spoken = self._vocabulary.decode(words)
            known = 100 * float(self._cider_d.score([spoken], [self._references[picture]])[0])
            self._known[picture, words] = known
        return known
