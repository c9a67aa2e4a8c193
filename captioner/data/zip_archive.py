"""A ZIP archive of anybody's, read member by member within limits: no archive fills the memory or takes hours.

Nothing is unpacked to the disk. A member is read only when it is asked for; the list of members may take
`_MAX_DIRECTORY` bytes, and what is read may be at most `_MAX_RATIO` times as large as the archive. What members are
called, `captioner.data.member_names` says.
"""

import io
import os
import stat
import zipfile
from collections.abc import Iterator
from typing import Final, Self

from captioner.data.damage import check_regular, damage_told
from captioner.data.images import printable
from captioner.data.limits import MAX_BYTES
from captioner.data.member_names import MemberNames
from captioner.data.tar import Member
from captioner.errors import ImageError

WHAT: Final = "ZIP archive"

# Some 200,000 members; each costs a kilobyte of memory.
_MAX_DIRECTORY: Final = 1 << 24
_MAX_RATIO: Final = 100
# What any archive may expand to: below this, even an attack costs little.
_HARMLESS: Final = 1 << 28
# The other methods need as much memory as the archive says.
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_PIECE: Final = 1 << 20
_ENCRYPTED: Final = 0x1


class Zip:
    """One ZIP archive, open for reading; to be closed, or used in a `with` block."""

    def __init__(self, path: str) -> None:
        """Open an archive. Raises ImageError when it cannot be read."""
        self._path = path
        self._read = 0
        with damage_told(path, WHAT):
            check_regular(path)
            self._file = _ReadInPieces(path)
            try:
                self._zip = zipfile.ZipFile(self._file)
            except BaseException:
                self._file.close()
                raise
            self._most = max(_HARMLESS, _MAX_RATIO * os.stat(path).st_size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._file.close()

    def members(self) -> Iterator[Member]:
        """All members, in order, without folders and hidden files; `position` is the place in the list."""
        names = MemberNames()
        for place, info in enumerate(self._zip.infolist()):
            # Windows' own programs have written backslashes.
            if not info.is_dir() and (path := names.name(info.filename.replace("\\", "/"))) is not None:
                plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
                yield Member(path, place, info.file_size, plain)

    def read(self, member: Member, *, most: int = MAX_BYTES) -> bytes | ImageError:
        """What a member holds, or why it cannot be had: it has more than `most` bytes, or a password, or is damaged.

        Raises ImageError where what was read expands as only an attack does.
        """
        name = printable(f"{self._path}/{member.path}")
        info = self._zip.infolist()[member.position]
        if not member.plain:
            return ImageError(
                f"{name} must be a plain file, but the archive holds a link or a device of that name; "
                "pack the file itself.",
                kind="unreadable",
            )
        if info.flag_bits & _ENCRYPTED:
            return ImageError(
                f"{name} must be readable without a password, but it is encrypted; pack it without one.",
                kind="unreadable",
            )
        if info.compress_type not in _METHODS:
            return ImageError(
                f"{name} must be packed by Deflate or not at all, but it is packed in another way; "
                "pack it again with common settings.",
                kind="unreadable",
            )
        if member.size > most:
            return ImageError(
                f"{name} must have at most {most / 1e6:.0f} MB, but it has {member.size / 1e6:.0f} MB; "
                "save it smaller.",
                kind="too large",
            )
        self._read += member.size
        with damage_told(self._path, WHAT):
            if self._read > self._most:
                raise zipfile.BadZipFile(f"it expands to more than {_MAX_RATIO} times its size, as only an attack does")
        try:
            with damage_told(f"{self._path}/{member.path}", "member of its archive"):
                return self._content(info)
        except ImageError as error:
            return error

    def _content(self, info: zipfile.ZipInfo) -> bytes:
        with self._zip.open(info) as file:
            # Whole, the library would unpack all there is before it looks at the size.
            content = b"".join(iter(lambda: file.read(_PIECE), b""))
        if len(content) < info.file_size:
            raise EOFError("it is shorter than the archive says")
        return content


class _ReadInPieces(io.BufferedReader):
    """A file that nobody reads too much of at once: `zipfile` reads as long a list of members as the archive says."""

    def __init__(self, path: str) -> None:
        super().__init__(io.FileIO(path))

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _MAX_DIRECTORY:
            raise zipfile.BadZipFile("its list of members is too long")
        return super().read(size)
