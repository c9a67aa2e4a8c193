"""Pictures in, a collection out whose captions a teacher wrote: decoded, described, cleaned, one answer for each."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from PIL import Image

import captioner
from captioner.data.captions import Limits, check
from captioner.data.decoding import Decoded
from captioner.data.images import printable, read_image
from captioner.data.listing import Item
from captioner.data.preprocessing import Preprocessing
from captioner.errors import ImageError
from captioner.inference.bulk import Decoding
from captioner.inference.labelled_folder import Labelled, LabelledFolder
from captioner.inference.teacher import LONGEST_SIDE, Asking, Teacher
from captioner.model.device import tells_of_memory
from captioner.text.answers import caption_in, whole_sentences
from captioner.text.vocabulary import normalise

GLANCE = Preprocessing(32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
"""How every picture is decoded first, in a process that may die of it; the teacher sees only those that survive."""


class _Picture(NamedTuple):
    """One that the teacher is to describe."""

    item: Item
    digest: str
    image: Image.Image


def made_by(teacher: Teacher, asking: Asking) -> dict[str, Any]:
    """What captions depend on beside their picture, as `made_by.json` keeps it."""
    return {
        "captioner": captioner.__version__,
        "teacher": teacher.name,
        "revision": teacher.revision,
        "prompt": teacher.prompt(asking),
        "captions": asking.captions,
        "max_words": asking.max_words,
        "temperature": asking.temperature,
        "top_p": asking.top_p,
        "seed": asking.seed,
    }


def label_all(
    items: Iterable[Item],
    folder: LabelledFolder,
    *,
    decoding: Decoding,
    teacher: Teacher,
    asking: Asking,
    batch_size: int,
    stop: Callable[[], bool] = lambda: False,
    skipped: Callable[[Item], None] = lambda item: None,
) -> Iterator[list[Labelled]]:
    """Label every item that the folder does not hold yet, and yield each batch once it is written there.

    A picture that comes again under another name is labelled once, under the first, and told to `skipped`. When `stop`
    begins to say yes, what is not before the teacher yet is left for another run. Raises DataError when nothing can be
    written, CaptionerError when one picture with its captions does not fit into the memory.
    """
    pictures: list[_Picture] = []
    failed: list[Labelled] = []
    with contextlib.closing(decoding.decode(items)) as glanced_at:
        for item, decoded in glanced_at:
            if stop():
                return
            seen = decoded.digest is not None and (
                folder.holds(decoded.digest) or any(decoded.digest == picture.digest for picture in pictures)
            )
            if seen:
                skipped(item)
                continue
            try:
                pictures.append(_picture(item, decoded))
            except ImageError as error:
                failed.append(Labelled(item, decoded.digest, error=str(error), error_kind=error.kind))
            if len(pictures) == batch_size or len(failed) == 4 * batch_size:
                yield folder.write([*failed, *_described(pictures, teacher, asking)])
                pictures, failed = [], []
    if pictures or failed:
        yield folder.write([*failed, *_described(pictures, teacher, asking)])


def captions_of(answers: Sequence[str], *, max_words: int) -> tuple[str, ...]:
    """The captions of one picture from what a teacher answered, in its order: no chat, no empty ones, none twice.

    An answer of more words is cut after a whole sentence, or left out where not even its first one fits.
    """
    short = [whole_sentences(caption_in(answer), max_words=max_words) for answer in answers]
    kept = check(filter(None, short), Limits(max_words=max_words)).kept
    different = {tuple(normalise(caption)): caption for caption in reversed(kept)}
    return tuple(reversed(different.values()))


def _picture(item: Item, decoded: Decoded) -> _Picture:
    """The picture as the teacher sees it. Raises ImageError."""
    for problem in (item.source, decoded.pixels):
        if isinstance(problem, ImageError):
            raise problem
    assert decoded.digest is not None, "what was decoded was read"
    image = read_image(item.source, at_least=LONGEST_SIDE, name=item.name)  # type: ignore[arg-type]
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return _Picture(item, decoded.digest, image)


def _described(pictures: Sequence[_Picture], teacher: Teacher, asking: Asking) -> list[Labelled]:
    """Each picture with its captions or its error; what the teacher cannot take together, it is shown in halves."""
    if not pictures:
        return []
    try:
        keys = [int(picture.digest, 16) for picture in pictures]
        answers = teacher.answers([picture.image for picture in pictures], keys, asking)
    except Exception as error:  # every model fails in its own way
        if len(pictures) == 1 and tells_of_memory(error):
            raise teacher.out_of_memory() from error
        if len(pictures) == 1:
            return [_refused(pictures[0], f"the teacher failed at it ({' '.join(str(error).split())[:200]})")]
    else:
        return [_labelled(*each, asking) for each in zip(pictures, answers, strict=True)]
    # Only here, out of the except clause, is the memory of the failed attempt free.
    half = len(pictures) // 2
    return [*_described(pictures[:half], teacher, asking), *_described(pictures[half:], teacher, asking)]


def _labelled(picture: _Picture, answers: Sequence[str], asking: Asking) -> Labelled:
    captions = captions_of(answers, max_words=asking.max_words)
    if not captions:
        return _refused(picture, f"the teacher wrote nothing of use ({' '.join(answers[0].split())[:60]!r})")
    return Labelled(picture.item, picture.digest, captions)


def _refused(picture: _Picture, what: str) -> Labelled:
    sentence = f"{printable(picture.item.name)} must get a caption, but {what}; caption it by hand, or leave it out."
    return Labelled(picture.item, picture.digest, error=sentence, error_kind="no caption")
