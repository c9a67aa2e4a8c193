"""What the reader of a format is given, and what makes a format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from captioner.data.rows import Rows


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are called; None and an empty tuple: found by their usual names."""

    image: str | None = None
    captions: tuple[str, ...] = ()
    split: str | None = None


@dataclass(frozen=True)
class Place:
    """Where a collection lies, and what cannot be seen from it.

    `path` is a folder or one file of a collection; `images` is the folder that picture names start from, where it is
    not the collection's own; `encoding` is that of text without a byte order mark. With `resplit` the splits that the
    collection names do not matter, so that one nobody knows is no fault.
    """

    path: Path
    images: Path | None = None
    columns: Columns = Columns()
    encoding: str = "utf-8"
    resplit: bool = False

    @property
    def folder(self) -> Path:
        """The folder of the collection."""
        return self.path.parent if self.path.is_file() else self.path

    @property
    def picture_root(self) -> Path:
        """The folder that holds all pictures, at whatever depth."""
        return self.images or self.folder


class Format(NamedTuple):
    """One way to lay out a captioned collection.

    `rows` raises DataError when the place lacks what the format cannot do without.
    """

    name: str
    telltale: str
    """What it is known by, to be read after "is known by"."""
    recognises: Callable[[Place], bool]
    rows: Callable[[Place], Rows]
    has_columns: bool = False
    """Whether `Place.columns` means anything in it."""
