"""Tables: CSV, TSV, JSON lines, a JSON list or Parquet, with a picture and one or more captions in every row.

Rows of one picture are put together. A picture is a path, or in Parquet and in data sets its bytes. Columns are found
by their usual names (`cells.IMAGE_NAMES`, `cells.CAPTION_NAMES`, `cells.SPLIT_NAMES`) unless they are told. A file
named `train.csv` or lying in `test/` says by its name to which split its rows belong. Also the comma-separated variant
of Flickr8k and Flickr30k: `captions.txt` that begins with `image,caption`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from captioner.data.formats import texts
from captioner.data.formats.cells import Found, captions_in, find_columns, has_columns, picture_in, text_in
from captioner.data.formats.pictures import Pictures, split_of_path
from captioner.data.formats.place import Columns, Format, Place
from captioner.data.rows import Dropped, Row, Rows, split_named
from captioner.errors import DataError

_JSON_LINES = (".jsonl", ".ndjson")
SUFFIXES = (".csv", ".tsv", ".parquet", ".json", *_JSON_LINES)
_ROWS_AT_ONCE = 32

Record = tuple[str, Mapping[str, Any]]
"""Where a row stands, and its cells by column."""


def rows(place: Place) -> Rows:
    """Every row of all tables of the folder, or of the one file."""
    files = [place.path] if place.path.is_file() else _tables(place)
    if not files:
        raise DataError(
            f"A collection of the format table must hold a CSV, TSV, JSONL, JSON or Parquet file with a picture and a "
            f"caption in every row, but {place.path} holds none: name the columns, or the file itself."
        )
    pictures = Pictures(place.picture_root)
    gathered = Gathered(pictures, resplit=place.resplit)
    for file in files:
        found, below = records(file, place.encoding), file.relative_to(place.folder)
        yield from gathered.add(found, place.columns, label=below.with_suffix("").as_posix(), split=_split_of(below))
    yield from gathered.rows()


class Gathered:
    """Rows of tables, put together by picture.

    `add` gives at once what holds its own bytes and what is left out; `rows` gives the rest when all is read. Without
    `pictures` only what holds its own bytes is found.
    """

    def __init__(self, pictures: Pictures | None, *, resplit: bool) -> None:
        self._pictures = pictures
        self._resplit = resplit
        self._captions: dict[tuple[str | None, str], list[str]] = {}
        self._lost: set[str] = set()

    def add(
        self, found: Iterable[Record | Dropped], columns: Columns, *, label: str, split: str | None, near: str = ""
    ) -> Rows:
        """Take the rows of the table called `label`.

        `split` is that of rows that name none, `near` the folder that its picture names start in. Raises DataError
        when no row has the columns.
        """
        here: Found | None = None
        missing: DataError | None = None
        names: tuple[str, ...] = ()
        unnamed: dict[bytes, str] = {}
        seen: set[tuple[str | None, str, tuple[str, ...]]] = set()
        for number, record in enumerate(found):
            if isinstance(record, Dropped):
                yield record
                continue
            place, cells = record
            if tuple(cells) != names:  # lines of JSON may differ
                names = tuple(cells)
                try:
                    here = find_columns(cells, columns, place)
                except DataError as error:
                    missing = missing or error
            if here is None:
                yield Dropped("caption", place, "row without the columns")
                continue
            name, captions = picture_in(cells.get(here.image)), _captions(cells, here)
            own, unknown = (None, None) if self._resplit else _own_split(cells, here.split, split)
            if name is None:
                yield Dropped("caption", place, "names no picture")
            elif unknown is not None:
                yield Dropped("picture", name if isinstance(name, str) else place, "unknown split", unknown)
            elif isinstance(name, bytes):
                image_id = text_in(cells.get("image_id"))
                if image_id is None:  # the same picture has the same name again: a row may hold one of its captions
                    image_id = unnamed.setdefault(hashlib.sha256(name).digest(), f"{label}-{number:06}")
                yield Row(own, image_id, name, captions)
            elif len(captions) == 1 and (own, name, captions) in seen:
                yield Dropped("caption", place, "line given twice")
            else:
                seen.add((own, name, captions))
                yield from self._put(name, own, captions, near)
        if here is None and missing is not None:
            raise missing

    def _put(self, name: str, split: str | None, captions: tuple[str, ...], near: str) -> Iterator[Dropped]:
        if self._pictures is None:
            path: str | Dropped = Dropped("picture", name, "picture not in the data set")
        else:
            path = self._pictures.find(name, near=near)
        if isinstance(path, str):
            self._captions.setdefault((split, path), []).extend(captions)
        elif name not in self._lost:  # a picture is missed once, not once a caption
            self._lost.add(name)
            yield path

    def rows(self) -> Rows:
        """All pictures that lie in files, and those of the folder that no row names."""
        if self._pictures is None or not self._captions:
            return
        for (split, path), captions in self._captions.items():
            yield Row(split, path, self._pictures[path], tuple(captions))
        yield from self._pictures.unused({path for _, path in self._captions})


def records(file: Path, encoding: str = "utf-8") -> Iterator[Record | Dropped]:
    """The rows of one table of whatever kind. Raises DataError when it is damaged as a whole."""
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        return _parquet(file)
    if suffix in _JSON_LINES:
        return texts.json_lines(file, encoding)
    if suffix == ".json":
        return _json_list(file, encoding)
    return texts.records(file, encoding)


def column_names(file: Path, encoding: str = "utf-8") -> list[str]:
    """The columns of a table; none for a file that is no table."""
    try:
        if file.suffix.lower() == ".parquet":
            return list(parquet.read_schema(file).names)
        if file.suffix.lower() == ".json" and not _begins_a_list(file):
            return []  # Other documents, such as COCO's, may be huge.
        if file.suffix.lower() in (*_JSON_LINES, ".json"):
            first = next((record for record in records(file, encoding) if not isinstance(record, Dropped)), None)
            return list(first[1]) if first else []
        return texts.header(file, encoding)
    except (DataError, OSError, pyarrow.ArrowException):
        return []


def _own_split(cells: Mapping[str, Any], column: str | None, of_file: str | None) -> tuple[str | None, str | None]:
    """(split of a row, a split's name that nobody knows)."""
    told = None if column is None else text_in(cells.get(column))
    if told is None:
        return of_file, None
    split = split_named(told)
    return (split, None) if split is not None else (None, told)


def _captions(cells: Mapping[str, Any], columns: Found) -> tuple[str, ...]:
    return tuple(caption for name in columns.captions for caption in captions_in(cells.get(name)))


def _parquet(file: Path) -> Iterator[Record]:
    try:
        with parquet.ParquetFile(file) as table:
            number = 0
            for batch in table.iter_batches(batch_size=_ROWS_AT_ONCE):
                for cells in batch.to_pylist():
                    yield f"{file.name}, row {number}", cells
                    number += 1
    # Not pyarrow's own errors only: some broken files raise what Python raises.
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{file} must be a whole Parquet file, but it is not ({reason}): copy it again.") from error


def _begins_a_list(file: Path) -> bool:
    with texts.opened(file, "utf-8", newline="\n") as text:
        return text.read(64).lstrip().startswith("[")


def _json_list(file: Path, encoding: str) -> Iterator[Record | Dropped]:
    document = texts.json_document(file, encoding)
    if not isinstance(document, list):
        raise DataError(f"{file} must hold a list of objects, each a picture and its captions, but it holds none.")
    for number, cells in enumerate(document):
        place = f"{file.name}, entry {number}"
        yield (place, cells) if isinstance(cells, dict) else Dropped("caption", place, texts.MALFORMED)


def refuse_columns(place: Place) -> None:
    """Raise DataError when a folder has tables, but none with the columns that captions need."""
    named = [(file, column_names(file, place.encoding)) for file in _files(place.folder)]
    tables = [(file, names) for file, names in named if len(names) > 1]
    if tables and not _tables(place):
        file, names = tables[0]
        find_columns(names, place.columns, file.name)


def _tables(place: Place) -> list[Path]:
    """The tables that have a column of pictures and one of captions."""
    return [file for file in _files(place.folder) if has_columns(column_names(file, place.encoding), place.columns)]


def _files(folder: Path) -> list[Path]:
    """What may be a table, in the folder and in its `data` and split folders."""
    places = [folder, *(sub for sub in sorted(folder.iterdir()) if sub.is_dir() and _may_hold_tables(sub.name))]
    return [file for place in places for file in sorted(place.iterdir()) if file.is_file() and _is_table(file)]


def _may_hold_tables(name: str) -> bool:
    return name in ("data", "annotations") or split_named(name) is not None


def _is_table(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES or file.name == "captions.txt"


def _split_of(below: Path) -> str | None:
    """The split that a table's name says, such as `train.csv` or `test-00000-of-00002.parquet`, or its folder's."""
    words = re.findall(r"[a-z]+", below.stem.lower())
    named = next(filter(None, map(split_named, words)), None)
    return named or split_of_path(below.as_posix())


FORMAT = Format(
    "table",
    telltale="a CSV, TSV, JSONL, JSON or Parquet file (or captions.txt) with a column such as image or file_name and "
    "one such as caption",
    recognises=lambda place: bool(_tables(place)) if place.path.is_dir() else _is_table(place.path),
    rows=rows,
    has_columns=True,
)
