"""How good a captioner is on captioned pictures: it captions each of them, and its words are judged."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from captioner.config import SearchConfig
from captioner.data.rows import Row
from captioner.errors import DataError
from captioner.inference.breakdown import OfLength, OfNoun, by_length, by_noun
from captioner.inference.captioner import Captioner
from captioner.text.bootstrap import Interval, confidence_intervals
from captioner.text.claims import Contradicted, contradicted
from captioner.text.faults import Faults, find_faults
from captioner.text.metrics import Scores, picture_statistics, score

NORMALISATION = (
    "Captions and references are compared word by word after the same normalisation: Unicode NFKC, lower case, "
    "punctuation dropped, 's and n't split off as words of their own, in the manner of the COCO evaluation."
)
BOOTSTRAP = (
    "The 95 % intervals come from drawing the pictures 1,000 times with replacement: they tell the luck of the "
    "pictures, not of the training run."
)


@dataclass(frozen=True)
class Scored:
    """One picture that was captioned."""

    image_id: str
    caption: str
    references: tuple[str, ...]
    cider_d: float
    """Of this picture alone, on the scale of papers, 0 to 1000."""


@dataclass(frozen=True)
class Failed:
    """One picture that was not captioned, and why; it is in no score."""

    image_id: str
    references: tuple[str, ...]
    error: str


class _Said(NamedTuple):
    """One picture that was captioned, before it is judged."""

    image_id: str
    caption: str
    references: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """What was said about each picture, and how good it is."""

    scores: Scores
    intervals: dict[str, Interval]
    """95 % bootstrap intervals of BLEU, ROUGE-L and CIDEr-D, named like the fields of `scores`."""
    faults: Faults
    reference_faults: Faults
    """Of all the references: what the finder of faults says of people."""
    contradicted: dict[str, Contradicted]
    """For colours, numbers and gender, the claims that the references contradict."""
    by_length: list[OfLength]
    """The captions in groups, shortest first."""
    by_noun: list[OfNoun]
    """The pictures of the references' commonest nouns, commonest first."""
    scored: tuple[Scored, ...]
    failed: tuple[Failed, ...]
    vocabulary_size: int
    """How many different words the model can say; `scores.vocabulary_used` is how many it did."""
    seconds: float
    """From the first picture's bytes to the last caption."""

    @property
    def references(self) -> int:
        """How many reference captions the scores rest on."""
        return sum(len(picture.references) for picture in self.scored)

    @property
    def pictures_per_second(self) -> float:
        """Pictures captioned per second: reading and decoding the file, CNN and search."""
        return len(self.scored) / self.seconds

    def best_and_worst(self, count: int = 5) -> tuple[list[Scored], list[Scored]]:
        """Up to `count` pictures of highest CIDEr-D, best first, and of lowest, worst first; none in both."""
        ranked = sorted(self.scored, key=lambda picture: (-picture.cider_d, picture.image_id))
        best = ranked[: min(count, (len(ranked) + 1) // 2)]
        worst = ranked[::-1][: min(count, len(ranked) // 2)]
        return best, worst

    def as_json(self) -> dict[str, Any]:
        """Every figure as plain lists and dicts; the captions are in `as_records`."""
        scores = _rounded(asdict(self.scores))
        scores["meteor_nltk"] = scores.pop("meteor")
        return {
            "scores": scores,
            "intervals_95": {name: [round(low, 4), round(high, 4)] for name, (low, high) in self.intervals.items()},
            "faults": _rounded(asdict(self.faults)),
            "reference_faults": _rounded(asdict(self.reference_faults)),
            "contradicted": {kind: told._asdict() for kind, told in self.contradicted.items()},
            "by_length": [_rounded(group._asdict()) for group in self.by_length],
            "by_noun": [_rounded(noun._asdict()) for noun in self.by_noun],
            "vocabulary_size": self.vocabulary_size,
            "pictures": len(self.scored),
            "references": self.references,
            "failed": [{"image_id": picture.image_id, "error": picture.error} for picture in self.failed],
            "pictures_per_second": round(self.pictures_per_second, 2),
            "normalisation": NORMALISATION,
            "bootstrap": BOOTSTRAP,
        }

    def as_records(self) -> list[dict[str, Any]]:
        """One plain dict per picture, all with the same keys, ordered by `image_id`."""
        records = [asdict(picture) | {"error": None} for picture in self.scored]
        records += [
            {
                "image_id": picture.image_id,
                "caption": None,
                "references": picture.references,
                "cider_d": None,
                "error": picture.error,
            }
            for picture in self.failed
        ]
        return sorted(records, key=lambda record: str(record["image_id"]))


def _rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}


def evaluate(
    captioner: Captioner,
    rows: Iterable[Row],
    *,
    search: SearchConfig | None = None,
    training_captions: Iterable[str] | None = None,
    batch_size: int = 16,
    done: Callable[[int], None] = lambda pictures: None,
) -> Evaluation:
    """Caption the picture of every row and judge the captions by the row's own.

    Args:
        captioner: the model.
        rows: the pictures, taken a batch at a time; each has at least one caption. CIDEr-D takes its document
            frequencies from all of them, so give a whole split.
        search: how captions are chosen; as stored with the model if None.
        training_captions: what the model was trained on, to tell how many of its captions are new.
        batch_size: pictures captioned together.
        done: told after each picture how many are finished.

    Raises:
        DataError: no picture could be captioned, or a row has no caption.
    """
    began = time.perf_counter()
    said: list[_Said] = []
    failed: list[Failed] = []
    pictures, judged = itertools.tee(rows)  # they stay at most one batch apart
    captions = captioner.caption_each(
        (row.image for row in pictures), candidates=1, search=search, batch_size=batch_size
    )
    for count, (row, caption) in enumerate(zip(judged, captions, strict=True), start=1):
        if caption.text is None:
            failed.append(Failed(row.image_id, row.captions, str(caption.error)))
        else:
            said.append(_Said(row.image_id, caption.text, row.captions))
        done(count)
    seconds = time.perf_counter() - began
    if not said:
        why = f"the first error: {failed[0].error}" if failed else "choose a split that is not empty."
        raise DataError(f"At least one picture must be captioned, but none of {len(failed)} was; {why}")
    return _judge(said, failed, captioner, training_captions, seconds)


def _judge(
    said: Sequence[_Said],
    failed: Sequence[Failed],
    captioner: Captioner,
    training_captions: Iterable[str] | None,
    seconds: float,
) -> Evaluation:
    normalise = captioner.model.vocabulary.normalise
    # What is judged is the sentence as the user reads it, so that captions.jsonl gives the same scores again.
    hypotheses = [normalise(picture.caption) for picture in said]
    references = [[normalise(reference) for reference in picture.references] for picture in said]
    training = None if training_captions is None else [normalise(caption) for caption in training_captions]
    scores = score(hypotheses, references, training)
    statistics = picture_statistics(hypotheses, references)
    each = 100 * statistics[:, -1]
    return Evaluation(
        scores=scores,
        intervals=confidence_intervals(statistics),
        faults=find_faults(hypotheses),
        reference_faults=find_faults(list(itertools.chain.from_iterable(references))),
        contradicted=contradicted(hypotheses, references),
        by_length=by_length(hypotheses, references, each),
        by_noun=by_noun(hypotheses, references, each),
        scored=tuple(Scored(*picture, cider_d=float(cider_d)) for picture, cider_d in zip(said, each, strict=True)),
        failed=tuple(failed),
        vocabulary_size=len(captioner.model.vocabulary.counts),
        seconds=seconds,
    )
