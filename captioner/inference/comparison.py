"""Is a model better than another? Both caption the same pictures, and the difference is judged picture by picture."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from captioner.config import SearchConfig
from captioner.data.rows import Row
from captioner.errors import DataError, ImageError
from captioner.inference.captioner import Captioner
from captioner.inference.describer import Describer, Encoded
from captioner.inference.evaluation import Failed
from captioner.text.bootstrap import Change, changes
from captioner.text.difference import Piece, word_difference
from captioner.text.metrics import CiderD


@dataclass(frozen=True)
class Compared:
    """What both models say about one picture."""

    image_id: str
    references: tuple[str, ...]
    old: str
    """The old model's caption; empty where its search found none."""
    new: str
    old_cider_d: float
    """Of this picture alone, on the scale of papers, 0 to 1000."""
    new_cider_d: float
    difference: tuple[Piece, ...]
    """How the words of the old caption become those of the new one."""

    @property
    def gain(self) -> float:
        """New CIDEr-D less old."""
        return self.new_cider_d - self.old_cider_d

    @property
    def changed(self) -> bool:
        """Whether the captions differ in a word."""
        return any(piece.fate != "kept" for piece in self.difference)


class _Said(NamedTuple):
    """One picture that could be read, before the captions are judged; a caption not found is empty."""

    row: Row
    old: str
    new: str


@dataclass(frozen=True)
class Comparison:
    """Two models on the same pictures."""

    changes: dict[str, Change]
    """BLEU-1 to BLEU-4, ROUGE-L and CIDEr-D, named like the fields of `Scores`."""
    pictures: tuple[Compared, ...]
    """By gain, the greatest loss first."""
    failed: tuple[Failed, ...]
    """Pictures that could not be read; they are in no score."""

    @property
    def changed(self) -> list[Compared]:
        """The pictures whose captions differ, the greatest loss first."""
        return [picture for picture in self.pictures if picture.changed]

    @property
    def better(self) -> list[Compared]:
        """The pictures with a higher CIDEr-D than before, the greatest gain first."""
        return [picture for picture in reversed(self.pictures) if picture.gain > 0]

    @property
    def worse(self) -> list[Compared]:
        """The pictures with a lower CIDEr-D than before, the greatest loss first."""
        return [picture for picture in self.pictures if picture.gain < 0]

    def is_worse(self, metric: str, *, min_gain: float = 0.0) -> bool:
        """Whether the new model scores less than `min_gain` points above the old one on these pictures.

        What is asked is the gain that was measured, not whether it could be chance: a model that may be worse and was
        not seen to be better is no reason to part with the old one.
        """
        return self.changes[metric].gain < min_gain

    def as_json(self) -> dict[str, Any]:
        """Every figure as plain lists and dicts; the captions are in `as_records`."""
        return {
            "scores": {name: _figures(change) for name, change in self.changes.items()},
            "pictures": len(self.pictures),
            "changed": len(self.changed),
            "better": len(self.better),
            "worse": len(self.worse),
            "failed": [{"image_id": picture.image_id, "error": picture.error} for picture in self.failed],
        }

    def as_records(self) -> list[dict[str, Any]]:
        """One plain dict per picture, by gain, the greatest loss first."""
        return [asdict(picture) | {"gain": picture.gain, "changed": picture.changed} for picture in self.pictures]


def _figures(change: Change) -> dict[str, Any]:
    return {
        "old": round(change.old, 4),
        "new": round(change.new, 4),
        "gain": round(change.gain, 4),
        "intervals_95": {
            "old": [round(bound, 4) for bound in change.old_interval],
            "new": [round(bound, 4) for bound in change.new_interval],
            "gain": [round(bound, 4) for bound in change.gain_interval],
        },
    }


def compare(
    old: Captioner,
    new: Captioner,
    rows: Iterable[Row],
    *,
    old_search: SearchConfig | None = None,
    new_search: SearchConfig | None = None,
    batch_size: int = 16,
    done: Callable[[int], None] = lambda pictures: None,
) -> Comparison:
    """Caption the picture of every row with both models and judge both by the row's captions.

    Where both have the same CNN, it looks at each picture once for both. Captions are taken apart in the units of the
    new model's vocabulary, for both. A caption that a search does not find counts as one without words.

    Args:
        old: the model that is in use.
        new: the one that may take its place; it may differ in everything.
        rows: the pictures, taken a batch at a time; each has at least one caption.
        old_search: how the old model's captions are chosen; as stored with it if None.
        new_search: the same of the new one.
        batch_size: pictures captioned together.
        done: told after each batch how many pictures are finished.

    Raises:
        DataError: no picture could be read, or a row has no caption.
    """
    describers = [
        captioner.describer(candidates=1, search=search) for captioner, search in ((old, old_search), (new, new_search))
    ]
    looks = [
        (captioner.model.encoder.fingerprint(), captioner.precision, describer.search.mirror)
        for captioner, describer in zip((old, new), describers, strict=True)
    ]
    looked_once = looks[0] == looks[1]
    said: list[_Said] = []
    failed: list[Failed] = []
    remaining = iter(rows)
    while batch := list(itertools.islice(remaining, batch_size)):
        readable, encoded, errors = _look(describers, batch, looked_once=looked_once)
        failed += errors
        if readable:
            before, after = (_tell(*pair) for pair in zip(describers, encoded, strict=True))
            said += map(_Said, readable, before, after)
        done(len(said) + len(failed))
    if not said:
        why = f"the first error: {failed[0].error}" if failed else "choose a split that is not empty."
        raise DataError(f"At least one picture must be captioned, but none of {len(failed)} was; {why}")
    return _judge(said, failed, new)


def _look(
    describers: Sequence[Describer], batch: Sequence[Row], *, looked_once: bool
) -> tuple[list[Row], list[Encoded], list[Failed]]:
    """The rows whose pictures can be read, what the CNN of each model makes of them, and the others with the reason."""
    lookers = describers[:1] if looked_once else describers
    readings = [looker.model.encoder.preprocessing for looker in lookers]
    readable, pixels, failed = [], [], []
    for row in batch:
        try:
            pixels.append([reading.read(row.image) for reading in readings])
        except ImageError as error:
            failed.append(Failed(row.image_id, row.captions, str(error)))
        else:
            readable.append(row)
    if not readable:
        return [], [], failed
    encoded = [looker.encode(seen) for looker, seen in zip(lookers, zip(*pixels, strict=True), strict=True)]
    return readable, encoded * 2 if looked_once else encoded, failed


def _tell(describer: Describer, encoded: Encoded) -> list[str]:
    return [caption.text or "" for caption in describer.describe(encoded)]


def _judge(said: Sequence[_Said], failed: Sequence[Failed], new: Captioner) -> Comparison:
    normalise = new.model.vocabulary.normalise
    before = [normalise(picture.old) for picture in said]
    after = [normalise(picture.new) for picture in said]
    references = [[normalise(reference) for reference in picture.row.captions] for picture in said]
    cider_d = CiderD(references)
    each = zip(said, before, after, *(100 * cider_d.score(words, references) for words in (before, after)), strict=True)
    pictures = [
        Compared(
            image_id=picture.row.image_id,
            references=picture.row.captions,
            old=picture.old,
            new=picture.new,
            old_cider_d=float(old_score),
            new_cider_d=float(new_score),
            difference=word_difference(old_words, new_words),
        )
        for picture, old_words, new_words, old_score, new_score in each
    ]
    return Comparison(
        changes=changes(before, after, references),
        pictures=tuple(sorted(pictures, key=lambda picture: (picture.gain, picture.image_id))),
        failed=tuple(failed),
    )
