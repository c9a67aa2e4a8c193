"""Captioning a batch, some pictures at a time, so that what is done can be seen and kept at any moment."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from PIL import ImageOps

from captioner.data.images import read_file
from captioner.errors import ImageError
from captioner.inference.caption import Caption
from captioner.inference.records import Record, made_with

from .desk import Asked, Desk
from .many_batch import Batch, Picture
from .uploads import NO_LONGER_KEPT

TOGETHER: Final = 8
"""So many pictures are captioned before the page shows them, and before other visitors have their turn."""

THUMBNAIL: Final = (384, 288)
"""Pixels, at most: (width, height)."""


@dataclass(frozen=True)
class Pace:
    """How far a run is."""

    done: int
    """Pictures, of `total`, in earlier runs too."""
    total: int
    failed: int
    """How many of those done could not be captioned."""
    a_second: float | None = None
    """Pictures, on average since the run began; None before the first."""

    @property
    def seconds_left(self) -> float | None:
        """If it goes on like this; None where nobody knows."""
        return (self.total - self.done) / self.a_second if self.a_second else None


def pace(batch: Batch) -> Pace:
    """How far a batch is that nobody captions."""
    return Pace(batch.done, len(batch.pictures), batch.failed)


def run(
    batch: Batch, desk: Desk, asked: Asked, *, clock: Callable[[], float] = time.monotonic
) -> Generator[Pace, None, None]:
    """Caption what is not done, with pictures that are added meanwhile, as long as that is `batch.wanted`.

    Does nothing where another run goes on. Raises ConfigError when no caption can obey the rules; whatever happens,
    what is done is kept.
    """
    if not batch.begin():
        return
    try:
        origin = _origin(desk, asked)
        began, captioned = clock(), 0
        yield pace(batch)
        while batch.wanted and (pictures := batch.undone(TOGETHER)):
            _caption(pictures, batch, desk, asked, origin)
            captioned += len(pictures)
            speed = captioned / max(clock() - began, 1e-6)
            yield Pace(batch.done, len(batch.pictures), batch.failed, speed)
    finally:
        batch.wanted = False
        batch.end()


def _origin(desk: Desk, asked: Asked) -> Record:
    """What records tell of how the captions come about."""
    captioner = desk.captioner(asked.model)
    describing = captioner.describer(candidates=asked.candidates, search=asked.search, steering=asked.steering)
    return made_with(captioner, describing)


def _caption(pictures: Sequence[Picture], batch: Batch, desk: Desk, asked: Asked, origin: Record) -> None:
    paths = [picture.source for picture in pictures if isinstance(picture.source, Path)]
    captions = iter(desk.caption(paths, asked) if paths else [])
    for picture in pictures:
        source = picture.source
        if isinstance(source, ImageError):
            caption = Caption(error=str(source), error_kind=source.kind)
        else:
            caption = next(captions)
            picture.digest = picture.digest or _digest(source)
            if caption.text is not None and picture.thumbnail is None:
                picture.thumbnail = _thumbnail(source, batch, desk)
        if caption.error_kind == "missing":
            if picture.text is not None:  # deleted since: what was said of it stays
                picture.done = True
                continue
            caption = replace(caption, error=NO_LONGER_KEPT)
        picture.made_by = origin  # first: whoever downloads meanwhile takes what has a caption
        picture.caption, picture.done = caption, True


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(read_file(path)).hexdigest()[:16]
    except ImageError:
        return None


def _thumbnail(path: Path, batch: Batch, desk: Desk) -> Path | None:
    """A small JPEG of a picture that the model has seen."""
    thumbnail = batch.folder / "thumbnails" / f"{hashlib.sha256(path.as_posix().encode()).hexdigest()[:16]}.jpg"
    try:
        thumbnail.parent.mkdir(exist_ok=True)
        ImageOps.contain(desk.view(path), THUMBNAIL).save(thumbnail, "JPEG", quality=80)
    except (ImageError, OSError):
        return None
    return thumbnail
