"""What the pictures of a batch become in the collection that models are taught from.

What a person wrote is kept there. What only the model said waits there to be corrected: a model that learns its own
sentences learns nothing but its own mistakes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from captioner.errors import DataError, ImageError

from .lessons import Lessons
from .many_batch import Batch, Picture


@dataclass
class Added:
    """How many pictures of a batch became what."""

    kept: int = 0
    """With the caption that a person wrote."""
    waiting: int = 0
    """With the model's caption, to be corrected."""
    known: int = 0
    """In the collection already; they stay as they are there."""
    gone: int = 0
    """Deleted meanwhile, as uploads are."""
    wrong: list[str] = field(default_factory=list)
    """Sentences about the others."""


def add_to_lessons(batch: Batch, lessons: Lessons, added: Added) -> Iterator[int]:
    """Add every picture that has a caption, counting them in `added`; tells after each how many were looked at.

    Raises DataError when the collection is damaged or cannot be written.
    """
    known = {lesson.name for lesson in (*lessons.kept(), *lessons.waiting())}
    for number, picture in enumerate(list(batch.pictures), start=1):
        if picture.text is not None and isinstance(picture.source, Path):
            _add(picture, picture.source, lessons, known, added)
        yield number


def _add(picture: Picture, source: Path, lessons: Lessons, known: set[str], added: Added) -> None:
    try:
        lesson = lessons.wait(source, picture.name, picture.text or "")
    except ImageError as error:
        if error.kind == "missing":
            added.gone += 1
        else:
            added.wrong.append(str(error))
        return
    came_before = lesson.name in known
    known.add(lesson.name)
    if picture.edited is None or lesson.split is not None:
        added.known += came_before
        added.waiting += not came_before
        return
    try:
        known.add(lessons.keep(lesson.name, [picture.edited]).name)
        added.kept += 1
    except DataError as error:
        added.wrong.append(f"{picture.name} waits to be corrected. {error}")
