"""Every row looked at once: its captions checked, its picture opened, its content and its look noted.

Pictures are read and decoded a few at a time. Those that are no files of their own (rows of tables, members of
archives) are set aside in one file on the disk until they are written, so that none has to stay in memory.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self

from captioner.data.captions import Limits, check
from captioner.data.images import read_file, read_image
from captioner.data.likeness import Look, look
from captioner.data.rows import Dropped, Row, Rows
from captioner.errors import ImageError

# Pictures in memory at one time.
_ROWS_AT_ONCE = 64
# Enough for a look; a JPEG is decoded faster at an eighth of its size, and a broken one fails all the same.
_AT_LEAST = 32

_REASONS = {
    "missing": "picture file missing",
    "not a picture": "file is no picture",
    "too large": "picture too large",
    "damaged": "picture damaged",
}


class Span(NamedTuple):
    """Where a picture lies in the file of those set aside."""

    offset: int
    length: int


@dataclass(frozen=True)
class Seen:
    """A picture that opens, with captions that say something."""

    split: str | None
    image_id: str
    source: Path | Span
    captions: tuple[str, ...]
    digest: bytes
    """SHA-256 of the file's content."""
    look: Look


@dataclass
class Account:
    """What was left out and what was mended on the way, in the order of the rows."""

    losses: list[Dropped] = field(default_factory=list)
    mended: Counter[str] = field(default_factory=Counter)


class Aside:
    """A file of pictures set aside, each read again by its span. Use it in a `with` block; it is gone afterwards."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("w+b")
        self._end = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def put(self, content: bytes) -> Span:
        """Append a picture."""
        with self._lock:
            span = Span(self._end, len(content))
            self._file.seek(self._end)
            self._file.write(content)
            self._end += len(content)
        return span

    def read(self, source: Path | Span) -> bytes:
        """The content of a picture, set aside or in a file. Raises OSError."""
        if isinstance(source, Path):
            return source.read_bytes()
        with self._lock:
            self._file.seek(source.offset)
            return self._file.read(source.length)


def inspect(
    rows: Rows, aside: Aside, *, limits: Limits, account: Account, done: Callable[[int], None]
) -> Iterator[Seen]:
    """Every row that can be used, in order; what cannot goes to the account. `done` is told how many were looked at."""
    captioned = _captioned(rows, limits, account)
    looked_at = 0
    with ThreadPoolExecutor() as pool:
        while chunk := list(islice(captioned, _ROWS_AT_ONCE)):
            for outcome in pool.map(lambda row: _open(row, aside), chunk):
                if isinstance(outcome, Dropped):
                    account.losses.append(outcome)
                else:
                    yield outcome
            looked_at += len(chunk)
            done(looked_at)


def _captioned(rows: Rows, limits: Limits, account: Account) -> Iterator[Row]:
    """The rows that have a caption of use, names and captions fit to be stored."""
    for row in rows:
        if isinstance(row, Dropped):
            account.losses.append(replace(row, name=_storable(row.name), detail=_storable(row.detail)))
            continue
        name = _storable(row.image_id)
        checked = check(row.captions, limits)
        account.losses += [Dropped("caption", name, reason, _storable(said)) for reason, said in checked.faults]
        account.mended.update(checked.mended)
        if checked.kept:
            yield replace(row, image_id=name, captions=tuple(checked.kept))
        else:
            account.losses.append(Dropped("picture", name, "no captions"))


def _open(row: Row, aside: Aside) -> Seen | Dropped:
    try:
        content = _content(row.image)
        if not content:
            return Dropped("picture", row.image_id, "picture file empty")
        seen = look(read_image(content, at_least=_AT_LEAST))
    except ImageError as error:
        return Dropped("picture", row.image_id, _REASONS.get(error.kind, "picture unreadable"), str(error))
    except OSError as error:
        return Dropped("picture", row.image_id, "picture unreadable", error.strerror or str(error))
    source = row.image if isinstance(row.image, Path) else aside.put(content)
    return Seen(row.split, row.image_id, source, row.captions, hashlib.sha256(content).digest(), seen)


def _content(image: bytes | Path) -> bytes:
    """What a picture's file holds, be it nothing. Raises ImageError."""
    if isinstance(image, bytes):
        return image
    empty = image.is_file() and image.stat().st_size == 0
    return b"" if empty else read_file(image)


def _storable(text: str) -> str:
    """The text with whatever is no letter in any encoding (half a surrogate pair) spelt out."""
    return text.encode("utf-8", "backslashreplace").decode()
