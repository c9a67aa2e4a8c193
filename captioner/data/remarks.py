"""What is no fault of a collection but worth knowing before an hour is spent on training with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from captioner.config import VocabularyConfig
from captioner.text.vocabulary import Units, is_spaceless, normalise

Captions = Sequence[Sequence[str]]
"""The captions of each picture of a split."""

FEW_PICTURES = 50
FEW_WORDS = 20


def remarks_on(captions: Mapping[str, Captions], *, emptied: Sequence[str] = ()) -> Iterator[str]:
    """Sentences about the captions of all splits; `emptied` are splits of which nothing is left."""
    for split in emptied:
        yield f"Nothing is left of {split}."
    if "train" in captions:
        yield from _on_training(captions["train"])
    else:
        yield "No picture is for training: this collection can only be evaluated on."
    if "train" in captions and "validation" not in captions:
        yield "No picture is for validation, which training needs to know when to stop."


def _on_training(captions: Captions) -> Iterator[str]:
    if len(captions) < FEW_PICTURES:
        yield f"Few training pictures, {len(captions)}: start from a trained model (--from)."
    counts = [len(of_picture) for of_picture in captions]
    if max(counts) > 2 * min(counts):
        yield (
            f"Captions per training picture vary from {min(counts)} to {max(counts)} (median {median(counts):g}): "
            "pictures with many weigh more."
        )
    units = units_of(captions)
    if units == "characters":
        yield (
            "The captions are in a script without spaces between words: train with --set vocabulary.units=characters "
            "and a search.max_length of their length in letters."
        )
    yield from _on_words(Counter(word for row in captions for caption in row for word in normalise(caption, units)))


def units_of(captions: Captions) -> Units:
    """What the captions of most pictures are made of."""
    spaceless = sum(is_spaceless(of_picture[0]) for of_picture in captions)
    return "characters" if 2 * spaceless > len(captions) else "words"


def _on_words(words: Counter[str]) -> Iterator[str]:
    least = VocabularyConfig().min_count
    often = sum(count >= least for count in words.values())
    if often < FEW_WORDS:
        yield (
            f"Of {len(words):,} different words in the training captions only {often:,} occur {least} times or more, "
            f"as many as a word must to be learnt (vocabulary.min_count = {least}): lower it, or add captions."
        )
