"""Pictures inside archives, WebDataset shards too: in one pass, whole samples with texts, and one by its name.

How an archive is read, and within which limits, `captioner.data.tar` and `captioner.data.zip_archive` say.
"""

import atexit
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from captioner.data.damage import damage_told
from captioner.data.images import IMAGE_SUFFIXES, printable
from captioner.data.limits import MAX_BYTES
from captioner.data.tar import WHAT, Member, Tar
from captioner.data.zip_archive import Zip
from captioner.errors import DataError, ImageError


@dataclass(frozen=True)
class Sample:
    """The files of a WebDataset shard that stand together and share their name up to its first dot.

    `files` (200 MB at most, all together) maps the rest of the name, without that dot and in lower case ("jpg", "txt",
    "seg.png"), to the content, or to why it cannot be had.
    """

    key: str
    files: dict[str, bytes | ImageError]


def tar_pictures(
    path: str, wanted: Callable[[str], bool], *, most: int = MAX_BYTES
) -> Iterator[tuple[str, bytes | ImageError]]:
    """The pictures in an archive whose path in it is `wanted`: that path and the content, or why it cannot be had.

    A picture of more than `most` bytes cannot. Where the archive is damaged it ends with one more pair, of an empty
    path and the reason. Raises DataError at the end if no member at all is named like a picture.
    """
    return _pictures(Tar, path, wanted, most)


def zip_pictures(
    path: str, wanted: Callable[[str], bool], *, most: int = MAX_BYTES
) -> Iterator[tuple[str, bytes | ImageError]]:
    """As `tar_pictures`, for a ZIP archive."""
    return _pictures(Zip, path, wanted, most)


def _pictures(
    archive: type[Tar] | type[Zip], path: str, wanted: Callable[[str], bool], most: int
) -> Iterator[tuple[str, bytes | ImageError]]:
    found = False
    try:
        with archive(path) as opened:
            for member in opened.members():
                if os.path.splitext(member.path)[1].lower() in IMAGE_SUFFIXES:
                    found = True
                    if wanted(member.path):
                        yield member.path, opened.read(member, most=most)
    except ImageError as error:
        found = True
        yield "", error
    if not found:
        raise DataError(
            f"An archive to caption must hold pictures, but {printable(path)} holds none; check what is in it."
        )


def tar_samples(path: str | os.PathLike[str]) -> Iterator[Sample]:
    """The samples of a WebDataset shard, in its order; whole ones, a few files in memory at a time.

    Files without a dot in their name belong to no sample and are passed over. A suffix that comes twice begins another
    sample. Raises DataError where the shard is damaged, after all whole samples.
    """
    sample, room = Sample("", {}), MAX_BYTES
    try:
        with Tar(os.fspath(path)) as tar:
            for member in tar.members():
                folder, slash, name = member.path.rpartition("/")
                stem, dot, suffix = name.partition(".")
                if not dot:
                    continue
                key = folder + slash + stem
                if key != sample.key or suffix.lower() in sample.files:
                    if sample.files:
                        yield sample
                    sample, room = Sample(key, {}), MAX_BYTES
                content = tar.read(member, most=room)
                sample.files[suffix.lower()] = content
                room -= len(content) if isinstance(content, bytes) else 0
    except ImageError as error:
        raise DataError(str(error)) from error
    if sample.files:
        yield sample


def read_tar_picture(path: str, inside: str) -> bytes:
    """The content of the member of an archive that `tar_pictures` gives this path.

    Raises ImageError when there is none of that name, it cannot be had, or the archive is damaged before it.
    """
    with _last_lock:
        return _last_archive(path).read(inside)


class _Indexed:
    """An archive that stays open while its members are asked for by name, and learns where they are on the way."""

    def __init__(self, path: str) -> None:
        self.identity = _identity(path)
        self._path = path
        self._tar = Tar(path)
        self._members = self._tar.members()
        self._known: dict[str, Member] = {}

    def read(self, inside: str) -> bytes:
        while inside not in self._known:
            member = next(self._members, None)
            if member is None:
                name = printable(f"{self._path}/{inside}")
                raise ImageError(f"{name} must exist, but the archive has no such file; check it.", kind="missing")
            self._known[member.path] = member
        content = self._tar.read(self._known[inside])
        if isinstance(content, ImageError):
            raise content
        return content

    def close(self) -> None:
        self._tar.close()


# One archive at a time: whoever reads again goes through them in order.
_last: _Indexed | None = None
_last_lock = threading.Lock()


def _last_archive(path: str) -> _Indexed:
    global _last
    if _last is None or _last.identity != _identity(path):
        _close_last()
        _last = _Indexed(path)
    return _last


@atexit.register
def _close_last() -> None:
    global _last
    if _last is not None:
        _last.close()
        _last = None


def _identity(path: str) -> tuple[str, int, int, int]:
    """What is different when a path leads to another file, or the file was written since."""
    with damage_told(path, WHAT):
        status = os.stat(path)
    return path, status.st_ino, status.st_size, status.st_mtime_ns
