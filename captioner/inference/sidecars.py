"""Sidecars: a text file beside each picture, or in the same place below another folder, that holds its caption.

The sidecar of `dog.jpg` is `dog.txt`, which is where trainers look. Where that name could be another picture's too it
is `dog.jpg.txt` instead: if there is also a `dog.png` (which gets its whole name then as well) or a file called `dog`,
if the suffix is none of a picture's, and for pictures inside archives and tables. So two pictures in one place never
share a sidecar, in whatever order and however often they are captioned.
"""

import codecs
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Final, Literal

from captioner.data.images import IMAGE_SUFFIXES, printable
from captioner.data.listing import Item
from captioner.durable import BusyError, told, write_whole
from captioner.errors import ConfigError, DataError

OnExisting = Literal["skip", "overwrite", "append", "prepend", "fail"]
"""What to do about a sidecar that is there already. `append` and `prepend` add the caption as a line of its own, unless
it is there; `fail` raises DataError."""

# A file that begins with one of these says how it is encoded; the longer marks come first.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# What the operating system says of one name or one folder, and not of the disk.
_OF_ONE_PLACE: Final = (
    *(errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.EEXIST),
    *(errno.EILSEQ, errno.EINVAL),
)

_SPELLINGS: Final = tuple(
    spelling
    for suffix in sorted(IMAGE_SUFFIXES)
    for spelling in (suffix, suffix.upper(), f".{suffix[1:].capitalize()}")
)


class SidecarError(DataError):
    """One picture cannot have its sidecar; others can."""


class Sidecars:
    """Where the sidecars of a run are, and what happens to those that are there already."""

    def __init__(self, folder: Path | None, *, suffix: str = ".txt", on_existing: OnExisting = "skip") -> None:
        """With `folder`, sidecars mirror below it how the pictures lie; without, each is beside its picture.

        Raises ConfigError when `suffix` is none, or one that pictures have.
        """
        if not suffix.startswith(".") or "/" in suffix or "\0" in suffix or suffix.lower() in IMAGE_SUFFIXES:
            raise ConfigError(
                f"The suffix of sidecars must begin with a dot and be none of a picture's, but {suffix!r} came; "
                "give .txt or .caption, say."
            )
        self.folder = folder
        self.suffix = suffix
        self.on_existing = on_existing

    def path_for(self, item: Item) -> Path:
        """The sidecar of a picture. Raises SidecarError for one inside an archive or table when no folder was given."""
        if isinstance(item.source, bytes):
            if self.folder is None:
                raise SidecarError(
                    f"{printable(item.name)} is no file that a sidecar could stand beside; "
                    "give a folder for the sidecars."
                )
            return self.folder / _below(item) / f"{item.relative.name}{self.suffix}"
        picture = Path(item.name)
        name = picture.stem if _owns_its_stem(picture) else picture.name
        parent = picture.parent if self.folder is None else self.folder / _below(item)
        return parent / f"{name}{self.suffix}"

    def exists(self, item: Item) -> bool:
        """Whether a picture has a sidecar, even one that is a link to nothing."""
        return os.path.lexists(self.path_for(item))

    def write(self, item: Item, text: str) -> bool:
        """Write a caption into its sidecar, whole or not at all; whether that changed anything.

        A sidecar that is a link becomes a file: what the link points to stays as it is. Raises DataError when it
        cannot be written, SidecarError if that is for what it is called or where it lies; or when it is there already
        and `on_existing` is "fail".
        """
        path = self.path_for(item)
        there = os.path.lexists(path)
        if there and self.on_existing == "fail":
            raise DataError(
                f"{printable(path)} holds a caption already; choose another --on-existing, or another folder."
            )
        if there and self.on_existing == "skip":
            return False
        old = _content(path) if there and self.on_existing in ("append", "prepend") else b""
        new = _with_lines(old, text, first=self.on_existing == "prepend")
        if new == old:
            return False
        try:
            with told(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, new)
        except BusyError:
            if self.on_existing == "skip":  # another run captions it at this moment
                return False
            raise
        except DataError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _OF_ONE_PLACE:
                raise SidecarError(str(error)) from error
            raise
        return True


def _below(item: Item) -> PurePath:
    """The folder that an item lies in, below the one that was named."""
    place = item.relative.parent
    assert not place.is_absolute(), place
    assert ".." not in place.parts, place
    return place


def _owns_its_stem(picture: Path) -> bool:
    """Whether no other picture beside it could mean the same sidecar, by its own stem or by its whole name."""
    if picture.suffix.lower() not in IMAGE_SUFFIXES:
        return False
    stem = os.path.join(picture.parent, picture.stem)
    return not any(_is_another(stem + suffix, picture) for suffix in ("", *_SPELLINGS) if suffix != picture.suffix)


def _is_another(other: str, picture: Path) -> bool:
    """Whether there is a file of this name, and not just the picture itself where letters' case does not count."""
    try:
        status = os.lstat(other)
        return not stat.S_ISDIR(status.st_mode) and not os.path.samestat(status, os.lstat(picture))
    except OSError:
        return False


def _content(path: Path) -> bytes:
    """What a sidecar holds. Raises SidecarError if it is no regular file: a pipe would keep us waiting for ever."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        with os.fdopen(handle, "rb") as file:
            if stat.S_ISREG(os.fstat(handle).st_mode):
                return file.read()
    except FileNotFoundError:  # a link to nothing
        return b""
    except OSError as error:
        raise SidecarError(
            f"{printable(path)} must be a text file to add a caption to it, but it cannot be read ({error.strerror})."
        ) from error
    raise SidecarError(
        f"{printable(path)} must be a text file to add a caption to it, but it is a folder, pipe or device."
    )


def _with_lines(old: bytes, text: str, *, first: bool) -> bytes:
    """A text file with the lines of `text` before or after its own, without those it has; its own bytes stay."""
    mark, encoding = next(((mark, name) for mark, name in _MARKS if old.startswith(mark)), (b"", "utf-8"))
    text = text.encode("utf-8", "backslashreplace").decode()  # a template may tell a file's name that is no Unicode
    body = old[len(mark) :]
    shown = body.decode(encoding, errors="replace")
    end = "\r\n" if "\r\n" in shown else "\n"
    held = set(_lines(shown))
    added = "".join(line + end for line in dict.fromkeys(_lines(text)) if line not in held)
    if not added:
        return old
    new = added.encode(encoding)
    if first:
        return mark + new + body
    gap = end.encode(encoding) if shown and not shown.endswith("\n") else b""
    return mark + body + gap + new


def _lines(text: str) -> Iterator[str]:
    return (line.removesuffix("\r") for line in text.removesuffix("\n").split("\n"))
