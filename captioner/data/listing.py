"""What to caption, as a stream: files, folders, archives, tables, saved data sets, and lists of them.

`list_items` gives every picture as an `Item`, one by one, without waiting for the rest; `read_source` reads the picture
of a record again. What the file system says comes first: a folder called `x.tar` is a folder.
"""

import codecs
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Final, Protocol, Self, cast

from captioner.data.archives import read_tar_picture, tar_pictures
from captioner.data.arrow_tables import parquet_pictures, read_parquet_row, read_saved_row, saved_pictures
from captioner.data.folders import Globs, Kind, is_saved_dataset, join, kind_of_file, walk
from captioner.data.images import IMAGE_SUFFIXES, printable, read_file
from captioner.errors import ConfigError, DataError, ImageError

_Reader = Callable[[str, Callable[[str], bool]], Iterator[tuple[str, bytes | Path | ImageError]]]

_STANDARD_INPUT = "-"
# What reads the pictures in one, and what stands between its path and theirs.
_READERS: Final[dict[Kind, tuple[_Reader, str]]] = {
    "tar": (tar_pictures, "/"),
    "table": (parquet_pictures, "#"),
    "saved": (saved_pictures, "#"),
}
# Longer than any path: the operating system takes 4,096 bytes.
_LONGEST_LINE = 1 << 16


class Lines(Protocol):
    """What is needed of the stream that a list comes from."""

    def read1(self, size: int, /) -> bytes:
        """What has come, without waiting for more; nothing at the end."""
        ...


@dataclass(frozen=True)
class Item:
    """One picture to caption.

    Attributes:
        name: what its record calls it: its path, as `pathlib` writes what was given;
            `shard.tar/000.jpg` in an archive; `table.parquet#12`, the 13th row of a table; `saved#train#12`. Bytes
            that are no UTF-8 are lone surrogates, as `os.fsdecode` makes them.
        relative: where it lies below the one folder, archive or table that was named; when more than one thing was
            named, or a list, its whole name. Never absolute, never with "..".
        source: a file to read, a file's bytes, or why the picture cannot be had: a broken archive, say, is one item.
    """

    name: str
    relative: PurePosixPath
    source: Path | bytes | ImageError = field(repr=False)


@dataclass(frozen=True)
class Shard:
    """One of `of` parts of the work, the `index`-th, from 1: the parts share nothing and are the whole together.

    Which part a picture belongs to hangs on nothing but its `relative`, so that machines need not talk to each other.
    Archives are dealt out whole, so that each is read by one machine; only the pictures of an archive that is named
    alone are dealt out one by one.
    """

    index: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.of:
            raise ConfigError(f"A shard must be one of 1/N to N/N, not {self.index}/{self.of}: count from 1.")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The shard that "3/8" means. Raises ConfigError when the text is no such thing."""
        index, slash, of = text.partition("/")
        if not (slash and index.isdecimal() and of.isdecimal()):
            raise ConfigError(f"A shard must be given as i/N, the i-th of N parts, such as 3/8, not {text!r}.")
        return cls(int(index), int(of))

    def has(self, relative: PurePosixPath) -> bool:
        """Whether what lies there belongs to this part."""
        digest = blake2b(str(relative).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.of == self.index - 1


def list_items(
    named: Iterable[str | Path],
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    shard: Shard | None = None,
    lines: Lines | None = None,
    watched: Callable[[str], bool] | None = None,
) -> Iterator[Item]:
    """Everything to caption, in the order given; what lies in a folder in the order of names (see `walk`).

    Two items have one name only if something was named twice, by a list or by a folder around it. A saved data set, and
    in a folder an archive, is one thing: nothing else in the one is looked at, the other may hold no picture.

    Args:
        named: files, taken whatever they are called; folders, searched to the bottom for pictures and archives;
            tar archives; Parquet files; folders that `datasets` saved; and "-" for a list on standard input, one path
            a line or with a NUL after each (`find -print0`), which the list itself tells. A path of the list may be any
            of the above, and the name of an `Item` in an archive. Blank lines are nothing.
        include, exclude: patterns as `Globs` tells, for paths below what was named, and for files named by
            themselves.
        shard: the part of the whole that is wanted; `None` for all.
        lines: what "-" reads; `None` for standard input.
        watched: for what is looked at again and again: says whether an archive, by its path, is to be read this time;
            and what is named may be missing or hold nothing yet.

    Raises:
        DataError: before the first item, when something named does not exist, or a folder named holds no picture.
            Whatever is wrong later, or with a path of the list, is an item whose source is the error.
    """
    paths = list(dict.fromkeys(os.fspath(Path(each)) for each in named))
    globs = Globs(tuple(include), tuple(exclude))
    for path in paths:
        if path != _STANDARD_INPUT and watched is None:
            _check(path, globs)
    listing = _Listing(globs, shard, watched)
    return chain.from_iterable(
        listing.listed(cast(Lines, sys.stdin.buffer) if lines is None else lines)
        if path == _STANDARD_INPUT
        else listing.named(path, alone=len(paths) == 1)
        for path in paths
        if watched is None or os.path.exists(path)
    )


def item_again(name: str) -> Item:
    """The item of this name as it is now; one that cannot be had any more says so."""
    if os.path.exists(name):
        return Item(name, _harmless(name), Path(name))
    return Item(name, _harmless(name), _source_or_error(name))


def read_source(name: str) -> bytes:
    """The bytes of the picture that an `Item` of this name stands for, as they are now.

    Raises ImageError (kind "missing") when there is none any more, and for what else cannot be read.
    """
    if not os.path.exists(name):
        for archive in map(str, PurePosixPath(name).parents):
            if kind_of_file(archive) == "tar" and os.path.isfile(archive):
                return read_tar_picture(archive, name.removeprefix(f"{archive}/"))
        table, _, row = name.rpartition("#")
        if row.isdecimal():
            if kind_of_file(table) == "table" and os.path.isfile(table):
                return read_parquet_row(table, int(row))
            if is_saved_dataset(table):
                return read_saved_row(table, "", int(row))
            folder, _, split = table.rpartition("#")
            if is_saved_dataset(folder):
                return read_saved_row(folder, split, int(row))
    return read_file(name)


def _check(path: str, globs: Globs) -> None:
    """Raise DataError if there is nothing of this name, or a folder without anything to caption."""
    if not os.path.exists(path):
        raise DataError(f"A picture to caption must exist, but there is no {printable(path)}; check the name.")
    if os.path.isdir(path) and next(walk(path, globs), None) is None:
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        chosen = " that the patterns leave" if globs.include or globs.exclude else ""
        raise DataError(f"A folder to caption must hold pictures ({known}){chosen}, but {printable(path)} holds none.")


class _Listing:
    """The items of one thing after another, by the same patterns and for the same shard."""

    def __init__(self, globs: Globs, shard: Shard | None, watched: Callable[[str], bool] | None) -> None:
        self._globs = globs
        self._shard = shard
        self._watched = watched

    def named(self, path: str, *, alone: bool) -> Iterator[Item]:
        """Everything to caption in something that is there: a file, a folder, an archive."""
        if os.path.isdir(path):
            yield from self._folder(path, alone=alone)
            return
        place = PurePosixPath(os.path.basename(path)) if alone else _harmless(path)
        kind = kind_of_file(path)
        if kind in ("tar", "table"):
            yield from self._archive(path, kind, place, below="", alone=alone)
        elif self._globs.wants(path) and self._has(place):
            yield Item(path, place, Path(path))

    def listed(self, lines: Lines) -> Iterator[Item]:
        """Everything to caption in the things on a list; what is wrong with one of them is an item."""
        for path in _paths(lines):
            place = _harmless(path)
            if os.path.exists(path):
                try:
                    _check(path, self._globs)
                except DataError as error:
                    if self._has(place):
                        yield Item(path, place, ImageError(str(error), kind="missing"))
                else:
                    yield from self.named(path, alone=False)
            elif self._globs.wants(path) and self._has(place):
                yield Item(path, place, _source_or_error(path))

    def _folder(self, path: str, *, alone: bool) -> Iterator[Item]:
        root = PurePosixPath() if alone else _harmless(path)
        for below, kind in walk(path, self._globs):
            name, place = join(path, below), root / below
            if isinstance(kind, ImageError):
                if self._has(place):
                    yield Item(name, place, kind)
            elif kind != "picture":
                yield from self._archive(name, kind, place, below=below, alone=alone and not below)
            elif self._has(place):
                yield Item(name, place, Path(name))

    def _archive(self, path: str, kind: Kind, place: PurePosixPath, *, below: str, alone: bool) -> Iterator[Item]:
        """The pictures in an archive or table that lies `below` a folder, or ("") was named itself."""
        if not self._globs.worth_opening(kind, below or path) or not (alone or self._has(place)):
            return
        if self._watched is not None and not self._watched(path):
            return
        root = PurePosixPath() if alone else place
        whole = self._globs.includes(below or path)

        def wanted(inside: str) -> bool:
            inner = f"{below}/{inside}" if below else inside
            chosen = not self._globs.leaves_out(inner) if whole else self._globs.wants(inner)
            # Rows have no names that a pattern could match.
            return (kind != "tar" or chosen) and (not alone or self._has(root / inside.replace("#", "/")))

        pictures, mark = _READERS[kind]
        try:
            for inside, source in pictures(path, wanted):
                if inside:
                    yield Item(path + mark + inside, root / inside.replace("#", "/"), source)
                elif self._has(place):
                    yield Item(path, place, source)
        except DataError as error:
            # In a folder an archive may well hold other things.
            if not below and self._has(place):
                yield Item(path, place, ImageError(str(error), kind="not a picture"))

    def _has(self, place: PurePosixPath) -> bool:
        return self._shard is None or self._shard.has(place)


def _harmless(path: str) -> PurePosixPath:
    """A path without what leads out of the folder that it is put below."""
    return PurePosixPath(*(part for part in PurePosixPath(path).parts if part != ".." and not part.startswith("/")))


def _source_or_error(name: str) -> bytes | ImageError:
    try:
        return read_source(name)
    except ImageError as error:
        return error


def _paths(lines: Lines) -> Iterator[str]:
    """The paths on a list, one a line, or with a NUL after each if there is one in the first piece of the list.

    A list of lines may begin with a byte order mark, as Windows' editors write it, and be UTF-16, as PowerShell writes
    it; between NULs every byte is a name's.
    """
    pieces = iter(lambda: lines.read1(_LONGEST_LINE), b"")
    first = next(pieces, b"")
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        texts = codecs.iterdecode(chain([first], pieces), "utf-16", errors="replace")
        pieces = (text.encode() for text in texts)
        first = next(pieces, b"")
    if b"\0" in first:
        entries = _split(chain([first], pieces), b"\0")
    else:
        first = first.removeprefix(b"\xef\xbb\xbf")
        entries = (line.removesuffix(b"\r") for line in _split(chain([first], pieces), b"\n"))
    return (os.fspath(Path(os.fsdecode(entry))) for entry in entries if entry.strip())


def _split(pieces: Iterable[bytes], separator: bytes) -> Iterator[bytes]:
    begun = b""
    for piece in pieces:
        *whole, begun = (begun + piece).split(separator)
        yield from whole
        if len(begun) > _LONGEST_LINE:  # no path: it will be told that there is no such file
            yield begun
            begun = b""
    yield begun
