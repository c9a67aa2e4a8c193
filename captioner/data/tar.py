"""A tar archive of anybody's, read member by member within limits: no archive fills the memory or takes hours.

It may be packed with gzip; its content tells, not its name. Nothing is unpacked to the disk. A member is read only when
it is asked for; what stands between two members may take `_MAX_HEADER` bytes, and what gzip expands at most
`_MAX_RATIO` times its size. What members are called, `captioner.data.member_names` says.
"""

import gzip
import tarfile
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, Self

from captioner.data.damage import check_regular, damage_told
from captioner.data.images import printable
from captioner.data.limits import MAX_BYTES
from captioner.data.member_names import MemberNames
from captioner.errors import ImageError

WHAT: Final = "tar archive, packed with gzip or not at all"

_MAX_HEADER: Final = 1 << 20
_MAX_RATIO: Final = 100
# What any archive may expand to: below this, even an attack costs little.
_HARMLESS: Final = 1 << 28
_PIECE: Final = 1 << 20

_GZIP: Final = b"\x1f\x8b"
_ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"


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
        with damage_told(path, WHAT):
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
        names = MemberNames()
        while (header := self._next()) is not None:
            if not header.isdir() and (path := names.name(header.name)) is not None:
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
        with damage_told(self._path, WHAT):
            self._content.allowance = member.size
            self._content.seek(member.position)
            content = self._content.read(member.size)
            if len(content) < member.size:
                raise EOFError("it ends in the middle of a file")
        return content

    def _next(self) -> tarfile.TarInfo | None:
        with damage_told(self._path, WHAT):
            self._content.allowance = _MAX_HEADER
            header = self._tar.next()
            if header is not None and self._tar.offset <= self._position:
                raise tarfile.ReadError("a header in it leads backwards")
            self._position = self._tar.offset
            # The library would keep every header that it has read.
            self._tar.members.clear()  # type: ignore[attr-defined]
        return header


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
        check_regular(path)
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
