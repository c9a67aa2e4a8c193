"""How good captions are, measured against several references for each picture.

Every function here takes

    hypotheses   one caption per picture, a list of words: [["a", "dog"], ["two", "men"], ...]
    references   several captions per picture:             [[["a", "dog"], ["a", "puppy"]], ...]

Words come from `captioner.text.vocabulary.normalise`, the same for both sides: a metric compares
words, so "Dog" and "dog." would be two different ones.

`score` gives everything at once, on the 0-100 scale of papers; `captioner.text.bootstrap` says how far to
trust it. The single metrics stay on their own scales, as their sources define them.
"""

import math
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from nltk.stem.porter import PorterStemmer
from nltk.translate.bleu_score import SmoothingFunction, closest_ref_length, corpus_bleu, sentence_bleu
from nltk.translate.meteor_score import meteor_score
from numpy.typing import NDArray

from captioner.errors import DataError

Captions = Sequence[Sequence[str]]
References = Sequence[Sequence[Sequence[str]]]
NGram = tuple[str, ...]

SUMMABLE = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider_d")
"""The metrics that follow from sums over pictures, named like the fields of `Scores`."""

MAX_ORDER = 4  # BLEU and CIDEr both look at runs of one to four words
ROUGE_BETA = 1.2  # how much more recall weighs than precision, as in the COCO evaluation code
CIDER_SIGMA = 6.0  # words of length difference that CIDEr-D forgives

# NLTK puts the smallest float in place of a precision of zero, and its BLEU is then below 1e-70.
# Anything this small means "no n-gram of some order matched": a BLEU of zero.
_BLEU_ZERO = 1e-50


@dataclass(frozen=True)
class Scores:
    """All metrics of one set of captions.

    `bleu_1` to `cider_d` and `meteor` are on the scale of papers: BLEU, ROUGE-L and METEOR 0 to 100;
    CIDEr-D 0 to 1000, where a good captioner of COCO reaches about 100.
    """

    bleu_1: float
    bleu_2: float
    bleu_3: float
    bleu_4: float
    rouge_l: float
    cider_d: float
    meteor: float
    """METEOR (NLTK): not comparable with the METEOR 1.5 of papers; see `meteor`."""
    length_ratio: float
    """Words in the hypotheses over words in their closest references; below 1 BLEU is reduced."""
    vocabulary_used: int
    """How many different words the hypotheses use."""
    novel: float | None
    """Share of hypotheses, 0 to 1, that are no training caption; None when those were not given."""


def score(
    hypotheses: Captions, references: References, training_captions: Collection[Sequence[str]] | None = None
) -> Scores:
    """Measure captions with every metric of this module.

    Args:
        hypotheses: one tokenised caption per picture.
        references: the tokenised references of each picture. CIDEr-D takes its document frequencies
            from them, so give the whole evaluation set, not a batch of it.
        training_captions: the tokenised captions the model was trained on, to tell how many of its own
            are new.

    Raises:
        DataError: the counts differ, there is no picture, a picture has no reference, or a caption is a
            string and not a list of words.
    """
    bleu_1, bleu_2, bleu_3, bleu_4 = bleu(hypotheses, references)
    return Scores(
        bleu_1=100 * bleu_1,
        bleu_2=100 * bleu_2,
        bleu_3=100 * bleu_3,
        bleu_4=100 * bleu_4,
        rouge_l=100 * rouge_l(hypotheses, references),
        cider_d=100 * float(CiderD(references).score(hypotheses, references).mean()),
        meteor=100 * meteor(hypotheses, references),
        length_ratio=_length_ratio(hypotheses, references),
        vocabulary_used=len({word for hypothesis in hypotheses for word in hypothesis}),
        novel=None if training_captions is None else _share_of_novel(hypotheses, training_captions),
    )


def picture_statistics(hypotheses: Captions, references: References) -> NDArray[np.float64]:
    """What the metrics of `SUMMABLE` need to know of each picture, shape (pictures, 12).

    A corpus BLEU is a function of sums over pictures, and the two others are means over pictures: the sums of some
    rows are all there is to know of a corpus of those pictures. The last column is a picture's own CIDEr-D, 0 to 10.
    Document frequencies are those of all the references given.

    Raises:
        DataError: as in `score`.
    """
    _check(hypotheses, references)
    rouge = [_rouge_l_of_one(*pair) for pair in zip(hypotheses, references, strict=True)]
    cider = CiderD(references).score(hypotheses, references)
    return np.column_stack([_bleu_statistics(hypotheses, references), rouge, cider])


def scores_from_sums(sums: NDArray[np.float64], *, pictures: int) -> NDArray[np.float64]:
    """The metrics of `SUMMABLE`, (corpora, 6), on the scale of `Scores`.

    From the summed `picture_statistics` of each corpus, (corpora, 12); each corpus has so many pictures.
    """
    return 100 * np.column_stack([_bleu_from_statistics(sums[:, :-2]), sums[:, -2:] / pictures])


def bleu(hypotheses: Captions, references: References) -> tuple[float, float, float, float]:
    """Corpus BLEU-1, -2, -3 and -4 by NLTK, 0 to 1, unsmoothed (Papineni et al. 2002, section 2.3).

    Counts are summed over all pictures before any division; never average the BLEU of single captions.
    When two references are equally close in length, the shorter one counts. Where no n-gram of some
    order matches, the BLEU of that order and above is 0.

    Equal to `pycocoevalcap` and `sacrebleu` for captions of four words and more. A caption too short to
    have an n-gram counts in NLTK as one that failed to match, in the others not at all, so very short
    captions score a little lower here.

    Raises:
        DataError: as in `score`.
    """
    _check(hypotheses, references)
    weights = [(1 / order,) * order for order in range(1, MAX_ORDER + 1)]
    values = corpus_bleu(references, hypotheses, weights, smoothing_function=_no_smoothing)
    bleu_1, bleu_2, bleu_3, bleu_4 = (value if value > _BLEU_ZERO else 0.0 for value in map(float, values))
    return bleu_1, bleu_2, bleu_3, bleu_4


def smoothed_bleu(hypotheses: Captions, references: References) -> NDArray[np.float64]:
    """BLEU-4 of each caption by itself by NLTK, shape (pictures,), 0 to 1: a reward for training, no paper's number.

    Single captions often share no four words in a row with a reference, so one is added to the counts of two
    words and more, on both sides of the fraction (Lin and Och 2004, section 4).

    Raises:
        DataError: as in `score`.
    """
    _check(hypotheses, references)
    smoothing = SmoothingFunction().method2
    pairs = zip(references, hypotheses, strict=True)
    return np.array([sentence_bleu(*pair, smoothing_function=smoothing) for pair in pairs], dtype=np.float64)


def rouge_l(hypotheses: Captions, references: References) -> float:
    """Mean ROUGE-L over pictures, 0 to 1, as the COCO evaluation code defines it.

    Of one picture: the best precision and the best recall of the longest common subsequence, each taken
    over all references and perhaps from different ones, joined as F with beta = 1.2 (Lin 2004,
    section 3; Chen et al. 2015, arXiv:1504.00325, section 3). Other libraries take the reference with
    the best F and give lower numbers.

    Raises:
        DataError: as in `score`.
    """
    _check(hypotheses, references)
    values = [_rouge_l_of_one(*pair) for pair in zip(hypotheses, references, strict=True)]
    return float(np.mean(values))


def meteor(hypotheses: Captions, references: References) -> float:
    """METEOR (NLTK), 0 to 1: the mean over pictures of the best value over their references.

    Lavie and Agarwal 2007, with exact and Porter-stem matches and no synonyms, so that no WordNet has to
    be downloaded. Not comparable with the METEOR 1.5 that papers on captions report, which has other
    weights, paraphrases and synonyms; compare it only with itself. Its penalty for fragments keeps even
    a caption that equals its reference below 1: two words of two give 0.9375.

    Raises:
        DataError: as in `score`.
    """
    _check(hypotheses, references)
    stemmer = PorterStemmer()
    values = [
        meteor_score(captions, hypothesis, stemmer=stemmer, wordnet=_NoSynonyms())
        for hypothesis, captions in zip(hypotheses, references, strict=True)
    ]
    return float(np.mean(values))


@dataclass(frozen=True)
class CaptionVector:
    """One caption as CIDEr-D sees it: the tf-idf weight of every n-gram in it."""

    weights: dict[NGram, float]
    norms: tuple[float, ...]
    """Euclidean norm of the weights of order 1, 2, 3 and 4."""
    bigrams: int
    """The reference code measures length in bigrams; only the difference of two lengths matters."""


class CiderD:
    """CIDEr-D: likeness to the references, where rare n-grams weigh more than common ones.

    Vedantam et al. 2015, arXiv:1411.5726, equations 1 to 3 in the paper's CIDEr-D variant, with n = 4 and
    sigma = 6; equal to `pycocoevalcap.cider`, whose "CIDEr" is CIDEr-D.

    How rare an n-gram is comes from `document_references`: the share of those pictures that have it in
    any reference. For a paper's number they are the whole evaluation set. For a reward in training they
    are the training set, and `score` then sees one batch at a time. With a single picture nothing is
    rare, log(1) = 0, and every score is 0.

    Args:
        document_references: the tokenised references of each picture of the corpus.
        captions_kept: how many reference captions to keep as vectors, so that scoring the same pictures
            again is fast; each takes about 5 kB.

    Raises:
        DataError: there is no picture, a picture has no reference, or a caption is a string.
    """

    def __init__(self, document_references: References, *, captions_kept: int = 250_000) -> None:
        _check_references(document_references)
        frequencies: Counter[NGram] = Counter()
        for captions in document_references:
            frequencies.update({ngram for caption in captions for ngram in _ngrams(caption)})
        # An n-gram in no document counts as if it were in one, for log(0) has no value.
        self._rarest = math.log(len(document_references))
        self._rarity = {ngram: self._rarest - math.log(count) for ngram, count in frequencies.items()}
        self._captions_kept = captions_kept
        self._kept: dict[tuple[str, ...], CaptionVector] = {}

    def score(self, hypotheses: Captions, references: References) -> NDArray[np.float64]:
        """CIDEr-D of each picture, shape (pictures,), 0 to 10; papers print 100 times the mean.

        Raises:
            DataError: as in `captioner.text.metrics.score`.
        """
        _check(hypotheses, references)
        scores = np.empty(len(hypotheses))
        for picture, vectors in enumerate(self.reference_vectors(references)):
            hypothesis = self.vector(hypotheses[picture])
            likeness = [_cider_similarity(hypothesis, reference) for reference in vectors]
            scores[picture] = 10 * sum(likeness) / len(likeness)
        return scores

    def reference_vectors(self, references: References) -> list[list[CaptionVector]]:
        """The vectors of each picture's references, remembered for the next call."""
        return [[self._kept_vector(caption) for caption in captions] for captions in references]

    def vector(self, caption: Sequence[str]) -> CaptionVector:
        """The tf-idf weights of one caption (equation 1, with counts in place of term frequencies).

        A count needs no division by the caption's length: the norms divide it out again.
        """
        weights = {}
        squares = [0.0] * MAX_ORDER
        for ngram, count in Counter(_ngrams(caption)).items():
            weights[ngram] = weight = count * self._rarity.get(ngram, self._rarest)
            squares[len(ngram) - 1] += weight * weight
        norms = tuple(math.sqrt(square) for square in squares)
        return CaptionVector(weights, norms, bigrams=max(0, len(caption) - 1))

    def _kept_vector(self, caption: Sequence[str]) -> CaptionVector:
        key = tuple(caption)
        vector = self._kept.get(key)
        if vector is None:
            vector = self.vector(caption)
            if len(self._kept) < self._captions_kept:
                self._kept[key] = vector
        return vector


def _cider_similarity(hypothesis: CaptionVector, reference: CaptionVector) -> float:
    """Cosine of two captions, averaged over the four orders, 0 to 1.

    The hypothesis's weights are clipped to the reference's and a Gaussian takes off for a difference in
    length, so that repeating a rare word does not pay (the paper's CIDEr-D).
    """
    products = [0.0] * MAX_ORDER
    find = reference.weights.get
    for ngram, own in hypothesis.weights.items():
        weight = find(ngram)
        if weight is not None:
            products[len(ngram) - 1] += (own if own < weight else weight) * weight
    cosines = 0.0
    for product, norm, other in zip(products, hypothesis.norms, reference.norms, strict=True):
        if norm > 0 and other > 0:
            cosines += product / (norm * other)
    difference = hypothesis.bigrams - reference.bigrams
    return math.exp(-(difference**2) / (2 * CIDER_SIGMA**2)) * cosines / MAX_ORDER


def _rouge_l_of_one(hypothesis: Sequence[str], captions: Captions) -> float:
    common = [_longest_common_subsequence(hypothesis, caption) for caption in captions]
    if max(common) == 0:
        return 0.0
    precision = max(common) / len(hypothesis)
    recall = max(c / len(caption) for c, caption in zip(common, captions, strict=True) if c > 0)
    return (1 + ROUGE_BETA**2) * precision * recall / (recall + ROUGE_BETA**2 * precision)


def _longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, one row of the usual table at a time.

    A row grows by 0 or 1 from column to column, so one bit per word of `first` holds it: 0 where it
    grows. The whole row is then updated by one addition (Hyyrö 2004, "Bit-parallel LCS-length
    computation revisited"), which is several times faster than the table.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    all_ones = (1 << len(first)) - 1
    row = all_ones
    for word in second:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & all_ones
    return len(first) - row.bit_count()


def _bleu_statistics(hypotheses: Captions, references: References) -> NDArray[np.float64]:
    """What corpus BLEU needs to know of each picture, shape (pictures, 10).

    Columns: n-grams matched, orders 1 to 4; n-grams present, orders 1 to 4; words in the hypothesis;
    words in the closest reference. Sums of rows are the statistics of a corpus.
    """
    statistics = np.zeros((len(hypotheses), 2 * MAX_ORDER + 2))
    for row, hypothesis, captions in zip(statistics, hypotheses, references, strict=True):
        allowed: Counter[NGram] = Counter()
        for caption in captions:
            allowed |= Counter(_ngrams(caption))  # the largest count in any one reference
        for ngram, count in Counter(_ngrams(hypothesis)).items():
            row[len(ngram) - 1] += min(count, allowed[ngram])
        for order in range(1, MAX_ORDER + 1):
            # At least 1, as NLTK has it: see `bleu` on very short captions.
            row[MAX_ORDER + order - 1] = max(1, len(hypothesis) - order + 1)
        row[-2] = len(hypothesis)
        row[-1] = closest_ref_length(captions, len(hypothesis))
    return statistics


def _bleu_from_statistics(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """BLEU-1 to BLEU-4, shape (corpora, 4), from the summed statistics of each corpus, (corpora, 10)."""
    matched, present = sums[:, :MAX_ORDER], sums[:, MAX_ORDER : 2 * MAX_ORDER]
    words, reference_words = np.maximum(1, sums[:, -2]), sums[:, -1]
    with np.errstate(divide="ignore"):  # log(0) = -inf is meant: exp takes it back to a BLEU of 0
        log_precisions = np.log(matched / present)
    log_mean = np.cumsum(log_precisions, axis=1) / np.arange(1, MAX_ORDER + 1)
    log_brevity = np.minimum(0, 1 - reference_words / words)
    return np.asarray(np.exp(log_mean + log_brevity[:, None]), dtype=np.float64)


def _no_smoothing(precisions: list[Fraction], **_: object) -> list[Fraction | float]:
    """NLTK's `method0` without its warning; the result is cut to zero in `bleu`."""
    return [precision if precision.numerator else sys.float_info.min for precision in precisions]


class _NoSynonyms:
    """Stands where NLTK's METEOR expects WordNet, which would have to be downloaded."""

    def synsets(self, word: str) -> list[object]:
        return []


def _length_ratio(hypotheses: Captions, references: References) -> float:
    words = sum(len(hypothesis) for hypothesis in hypotheses)
    closest: int = sum(
        closest_ref_length(captions, len(hypothesis))
        for hypothesis, captions in zip(hypotheses, references, strict=True)
    )
    return words / max(1, closest)  # references may all be empty


def _share_of_novel(hypotheses: Captions, training_captions: Collection[Sequence[str]]) -> float:
    if isinstance(training_captions, str) or any(isinstance(caption, str) for caption in training_captions):
        raise _not_words("every training caption")
    known = {tuple(caption) for caption in training_captions}
    return sum(tuple(hypothesis) not in known for hypothesis in hypotheses) / len(hypotheses)


def _ngrams(words: Sequence[str]) -> Iterable[NGram]:
    """Every run of one to four words, with repetitions."""
    for order in range(1, MAX_ORDER + 1):
        for start in range(len(words) - order + 1):
            yield tuple(words[start : start + order])


def _check(hypotheses: Captions, references: References) -> None:
    if isinstance(hypotheses, str) or any(isinstance(hypothesis, str) for hypothesis in hypotheses):
        raise _not_words("every hypothesis")
    _check_references(references)
    if len(hypotheses) != len(references):
        raise DataError(
            f"there must be one hypothesis for each picture's references, but {len(hypotheses)} hypotheses "
            f"came with the references of {len(references)} pictures; give both in the same order and number"
        )


def _check_references(references: References) -> None:
    if len(references) == 0:
        raise DataError("there must be at least one picture to score, but none came; check that the split is not empty")
    for picture, captions in enumerate(references):
        if isinstance(captions, str) or any(isinstance(caption, str) for caption in captions):
            raise _not_words(f"every reference of picture {picture}")
        if len(captions) == 0:
            raise DataError(
                f"every picture must have at least one reference, but picture {picture} has none; "
                "leave it out of both the hypotheses and the references"
            )


def _not_words(what: str) -> DataError:
    return DataError(
        f"{what} must be a list of words, but a string came, which would be compared letter by letter; "
        "split it with captioner.text.vocabulary.normalise"
    )
