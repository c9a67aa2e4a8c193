"""What a visitor drops, files and archives, becomes the pictures of a batch, each under a name of its own."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from captioner.data.archives import tar_pictures, zip_pictures
from captioner.data.folders import kind_of_file
from captioner.data.images import printable
from captioner.errors import CaptionerError, DataError, ImageError

from .limits import Limits
from .many_batch import Batch, Picture
from .uploads import Upload

_MEGABYTE: Final = 1_000_000
# In bytes; file systems take 255, and a number may have to follow.
_LONGEST_NAME: Final = 200
# So many bytes may be written before somebody asks again how much room there is, since other visitors write too.
_ASKED_ANEW: Final = 10 * _MEGABYTE
# So many pictures of one archive may find no place before nobody looks for more of them.
_LEFT_OUT: Final = 10_000

_Put = Callable[[Path], None]


def is_archive(name: str) -> bool:
    """Whether a file of this name is taken for many pictures."""
    return name.lower().endswith(".zip") or kind_of_file(name) == "tar"


class _NoRoom(Exception):
    """There is no room for the picture of this name."""


class _Room:
    """The bytes that may still be written."""

    def __init__(self, batch: Batch) -> None:
        self._ask = batch.room
        self._granted = 0.0

    def enter(self, size: int, name: str) -> None:
        """Use some of it. Raises _NoRoom when there is not so much."""
        if size > self._granted:
            self._granted = min(self._ask(), max(size, _ASKED_ANEW))
        if size > self._granted:
            raise _NoRoom(name)
        self._granted -= size


def take(batch: Batch, uploads: Sequence[Upload], limits: Limits) -> list[str]:
    """Add what came to the batch, as far as it may grow -> sentences about what was not taken."""
    notes: list[str] = []
    left_out: list[str] = []
    room = _Room(batch)
    try:
        for upload in uploads:
            name = _harmless(upload.name)
            if is_archive(name):
                notes += _take_archive(batch, upload.path, name, limits, left_out, room)
            elif len(batch.pictures) < limits.pictures:
                room.enter(upload.path.stat().st_size, name)
                _add(batch, PurePosixPath(name), partial(_copy, upload.path))
            else:
                left_out.append(name)
    except _NoRoom as refused:
        notes.append(
            f"There is no room for more pictures at the moment: {refused} and what came after it had to be left out; "
            "drop the rest again in a few minutes."
        )
    except OSError as error:
        notes.append(f"There must be room for the pictures, but they cannot be kept here ({error.strerror}).")
    if left_out:
        others = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
        notes.append(
            f"{limits.pictures:,} pictures at most are taken at a time: {left_out[0]}{others} had to be left out. "
            "Download the captions of these, begin anew, and drop the rest."
        )
    return notes


def _take_archive(
    batch: Batch, path: Path, name: str, limits: Limits, left_out: list[str], room: _Room
) -> Iterator[str]:
    """Add an archive's pictures, and to `left_out` the names of those there is no place for. Raises as `_add`."""
    most_left_out = len(left_out) + _LEFT_OUT

    def wanted(inside: str) -> bool:
        if len(batch.pictures) < limits.pictures:
            return True
        if len(left_out) == most_left_out:
            raise DataError(
                f"{name} must hold fewer pictures: when {_LEFT_OUT:,} had found no place, nobody looked for more."
            )
        left_out.append(f"{name}/{inside}")
        return False

    read = tar_pictures if kind_of_file(name) == "tar" else zip_pictures
    root = PurePosixPath(_untaken(batch, name))
    try:
        for inside, content in read(str(path), wanted, most=limits.file_megabytes * _MEGABYTE):
            if not inside:
                yield _named(content, path, name)
                continue
            place = root.joinpath(*map(_harmless, inside.split("/")))
            if isinstance(content, ImageError):
                batch.pictures.append(Picture(str(place), ImageError(_named(content, path, name), kind=content.kind)))
            else:
                room.enter(len(content), str(place))
                _add(batch, place, partial(_write, content))
    except CaptionerError as error:
        yield _named(error, path, name)


def _add(batch: Batch, wanted: PurePosixPath, put: _Put) -> None:
    """Put a picture into the batch's folder: where it wants to be, or near. Raises OSError."""
    root = batch.folder / "pictures"
    try:
        target = _put_near(root / wanted, put)
    except OSError:  # the path is too long, or leads through a picture
        target = _put_near(root / wanted.parts[0] / wanted.name, put)
    batch.pictures.append(Picture(target.relative_to(root).as_posix(), target))


def _put_near(wanted: Path, put: _Put) -> Path:
    """Put a file there, or at the first of `dog#2.jpg`, `dog#3.jpg`, ... that is free."""
    wanted.parent.mkdir(parents=True, exist_ok=True)
    target = wanted
    for number in itertools.count(2):
        try:
            put(target)
            return target
        except FileExistsError:
            target = wanted.with_name(f"{wanted.stem}#{number}{wanted.suffix}")
    raise AssertionError


def _untaken(batch: Batch, name: str) -> str:
    """A name for an archive that none before it has."""
    stem, suffix = os.path.splitext(name)
    names = itertools.chain([name], (f"{stem}#{number}{suffix}" for number in itertools.count(2)))
    return next(each for each in names if not (batch.folder / "pictures" / each).exists())


def _harmless(name: str) -> str:
    """The last part of a name from anywhere, as a file may be called and a sentence may tell it."""
    last = name.replace("\\", "/").rpartition("/")[2]
    stem, suffix = os.path.splitext(printable(last.encode("utf-8", "replace").decode()) if last else "")
    stem = stem.strip(". ").encode()[: _LONGEST_NAME - 20].decode("utf-8", "ignore")
    return f"{stem or 'picture'}{suffix[:16]}"


def _named(error: object, path: Path, name: str) -> str:
    """A sentence with the name that the visitor knows instead of where the file lies."""
    return str(error).replace(str(path), name)


def _copy(source: Path, target: Path) -> None:
    # No link: each that comes or goes makes the file younger, so that it would be kept longer than promised.
    with source.open("rb") as given, _new(target) as file:
        shutil.copyfileobj(given, file)


def _write(content: bytes, target: Path) -> None:
    with _new(target) as file:
        file.write(content)


@contextmanager
def _new(target: Path) -> Iterator[BinaryIO]:
    """A new file, of which nothing is left where it cannot be written whole."""
    with target.open("xb") as file:
        try:
            yield file
            file.flush()
        except OSError:
            target.unlink()
            raise
