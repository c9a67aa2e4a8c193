"""Pictures inside tar archives (WebDataset shards too): in one pass, within limits, and one again by its name.

A tar may be packed with gzip; its content tells, not its name. Nothing is unpacked to the disk. A member is read only
when it is wanted and has at most `MAX_BYTES`; what stands between two members may take `_MAX_HEADER` bytes, and what
gzip expands at most `_MAX_RATIO` times its size, so that no archive fills the memory or takes hours. A member whose
name would lead out of the archive (`/etc/x.jpg`, `../x.jpg`) gets a harmless one, and the second member of one name
another (`a.jpg`, `a#2.jpg`). Members whose path has a part with a dot in front are passed over, as in folders.
"""

import atexit
import contextlib
import gzip
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

from captioner.data.images import IMAGE_SUFFIXES, printable
from captioner.data.limits import MAX_BYTES
from captioner.errors import DataError, ImageError, ImageErrorKind

_MAX_HEADER: Final = 1 << 20
_MAX_RATIO: Final = 100
# What any archive may expand to: below this, even an attack costs little.
_HARMLESS: Final = 1 << 30
_PIECE: Final = 1 << 20

_GZIP: Final = b"\x1f\x8b"
_ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class Sample:
    """The files of a WebDataset shard that stand together and share their name up to its first dot.

    `files` (200 MB at most, all together) maps the rest of the name, without that dot and in lower case ("jpg", "txt",
    "seg.png"), to the content, or to why it cannot be had.
    """

    key: str
    files: dict[str, bytes | ImageError]


def tar_pictures(path: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes | ImageError]]:
    """The pictures in an archive whose path in it is `wanted`: that path and the content, or why it cannot be had.

    Where the archive is damaged it ends with one more pair, of an empty path and the reason. Raises DataError at the
    end if no member at all is named like a picture.
    """
    found = False
    try:
        with Tar(path) as tar:
            for member in tar.members():
                if os.path.splitext(member.path)[1].lower() in IMAGE_SUFFIXES:
                    found = True
                    if wanted(member.path):
                        yield member.path, tar.read(member)
    except ImageError as error:
        found = True
        yield "", error
    if not found:
        raise DataError(
            f"An archive to caption must hold pictures, but {printable(path)} holds none; check what is in it."
        )


def tar_samples(path: str | os.PathLike[str]) -> Iterator[Sample]:
    """The samples of a WebDataset shard, in its order; whole ones, a few files in memory at a time.

    Files without a dot in their name belong to no sample and are passed over. When a file name comes twice in
    one sample, it begins another of the same key. Raises DataError where the shard is damaged, after all whole samples.
    """
    sample = Sample("", {})
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
                    sample = Sample(key, {})
                held = sum(len(content) for content in sample.files.values() if isinstance(content, bytes))
                content = tar.read(member, most=MAX_BYTES - held)
                sample.files[suffix.lower()] = content
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


class Member(NamedTuple):
    """A file in an archive: its path there, different from all others and harmless, and where its bytes are.

    `plain` is False for what is no file of its own: a link, a device, a file with holes.
    """

    path: str
    position: int
    size: int
    plain: bool


class Tar:
    """One tar archive, open for reading; to be closed, or used in a `with` block."""

    def __init__(self, path: str) -> None:
        """Open an archive. Raises ImageError when it cannot be read."""
        self._path = path
        self._position = 0
        with _damage_told(path):
            self._content = _Content(path)
            try:
                # Surrogates keep whatever bytes a name has, wherever the archive was made.
                self._tar = tarfile.TarFile(
                    fileobj=self._content,  # type: ignore[arg-type]
                    tarinfo=_Header,
                    encoding="utf-8",
                    errors="surrogateescape",
                )
            except BaseException:
                self._content.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._content.close()

    def members(self) -> Iterator[Member]:
        """All members, in order, once, without folders and hidden files.

        Raises ImageError where the archive is damaged.
        """
        taken: set[int] = set()
        while (header := self._next()) is not None:
            parts = [part for part in header.name.replace("\0", "_").split("/") if part not in ("", ".", "..")]
            if parts and not header.isdir() and not any(part.startswith(".") for part in parts):
                path = _untaken("/".join(parts), taken)
                plain = header.isreg() and not header.issparse()
                yield Member(path, header.offset_data, header.size, plain)

    def read(self, member: Member, *, most: int = MAX_BYTES) -> bytes | ImageError:
        """What a member holds, or why it cannot be had: it is no file of its own, or has more than `most` bytes.

        Raises ImageError where the archive is damaged.
        """
        name = printable(f"{self._path}/{member.path}")
        if not member.plain:
            return ImageError(
                f"{name} must be a plain file, but the archive holds a link or a device of that name; "
                f"pack the file itself (tar --dereference --hard-dereference).",
                kind="unreadable",
            )
        if member.size > most:
            return ImageError(
                f"{name} must have at most {most / 1e6:.0f} MB, but it has {member.size / 1e6:.0f} MB; "
                f"save it smaller.",
                kind="too large",
            )
        with _damage_told(self._path):
            self._content.allowance = member.size
            self._content.seek(member.position)
            content = self._content.read(member.size)
            if len(content) < member.size:
                raise EOFError("it ends in the middle of a file")
        return content

    def _next(self) -> tarfile.TarInfo | None:
        with _damage_told(self._path):
            self._content.allowance = _MAX_HEADER
            header = self._tar.next()
            if header is not None and self._tar.offset <= self._position:
                raise tarfile.ReadError("a header in it leads backwards")
            self._position = self._tar.offset
            # The library would keep every header that it has read.
            self._tar.members.clear()  # type: ignore[attr-defined]
        return header


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
    with _damage_told(path):
        status = os.stat(path)
    return path, status.st_ino, status.st_size, status.st_mtime_ns


class _Header(tarfile.TarInfo):
    """A header that must be whole: where the library takes a broken one for the end, members would be lost silently."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise  # the end mark
            raise tarfile.ReadError("a header in it is broken or missing") from error


class _Content:
    """The bytes of a tar file, unpacked where they are packed, as `tarfile` reads them.

    `allowance` is how many bytes may still be read; who reads sets it.
    """

    def __init__(self, path: str) -> None:
        self._file = open(path, "rb")  # noqa: SIM115, `close` closes it
        start = self._file.read(4)
        self._file.seek(0)
        self._packed = start.startswith(_GZIP)
        self._unpacked: Any = gzip.GzipFile(fileobj=self._file) if self._packed else self._file
        self.allowance = _MAX_HEADER
        if start == _ZSTANDARD:
            self.close()
            raise tarfile.ReadError("it is packed with Zstandard, not gzip")

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.allowance:
            raise tarfile.ReadError("a header in it is too long")
        self.allowance -= size
        return self._read(size)

    def tell(self) -> int:
        position: int = self._unpacked.tell()
        return position

    def seek(self, position: int) -> None:
        if not self._packed or position < self.tell():
            self._unpacked.seek(position)
        while (ahead := position - self.tell()) > 0 and self._read(min(ahead, _PIECE)):
            pass

    def close(self) -> None:
        self._unpacked.close()
        self._file.close()

    def _read(self, size: int) -> bytes:
        content: bytes = self._unpacked.read(size)
        if self._packed and self.tell() > max(_HARMLESS, _MAX_RATIO * self._file.tell()):
            raise tarfile.ReadError(f"it expands to more than {_MAX_RATIO} times its size, as only an attack does")
        return content


def _untaken(path: str, taken: set[int]) -> str:
    """The path, or the first of `a#2.jpg`, `a#3.jpg`, ... that no earlier member has."""
    stem, suffix = os.path.splitext(path)
    number = 1
    # Hashes instead of names: an archive may have a million members.
    while hash(path) in taken:
        number += 1
        path = f"{stem}#{number}{suffix}"
    taken.add(hash(path))
    return path


@contextlib.contextmanager
def _damage_told(path: str) -> Iterator[None]:
    """A block whose errors come out as one ImageError."""
    name = printable(path)
    try:
        yield
    except FileNotFoundError as error:
        raise ImageError(f"{name} must exist, but there is no such file; check the path.", kind="missing") from error
    # `tarfile` promises no closed list of what a broken archive may raise.
    except Exception as error:
        kind: ImageErrorKind = "unreadable" if isinstance(error, PermissionError) else "damaged"
        raise ImageError(
            f"{name} must be a whole tar archive, packed with gzip or not at all, but reading it failed "
            f"({_reason(error)}); copy or pack it again.",
            kind=kind,
        ) from error


def _reason(error: Exception) -> str:
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(words.split()).rstrip(".") or type(error).__name__
