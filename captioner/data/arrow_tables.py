"""Pictures in the rows of tables: Parquet files, and folders that `datasets` saved; one also again by its row.

The column of pictures is a struct with `bytes` and perhaps `path`, as Hugging Face data sets have it, or plain bytes.
Of several such columns it is the one with a usual name (`image`, `img`, `jpg`, ...). Rows are read a few at a time,
so that memory does not grow with the table, only with the pages its writer chose.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from captioner.data.damage import check_regular, damage_told
from captioner.data.images import printable, read_file
from captioner.data.limits import MAX_BYTES
from captioner.errors import DataError, ImageError

_USUAL_NAMES: Final = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes")
_ROWS_AT_ONCE: Final = 16
# Rather than read that many rows for nothing, a table is opened again further on.
_ROWS_AHEAD: Final = 256

_PARQUET: Final = "Parquet file"
_SAVED: Final = "saved data set"

Picture = bytes | Path | ImageError


def parquet_pictures(path: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, Picture]]:
    """The pictures of a Parquet file whose row, "0", "1", ..., is `wanted`: the row and the picture.

    A picture is its bytes; the file that the row names instead, relative to the table; or why there is none. Where
    the table is damaged it ends with one more pair, of an empty row and the reason. Raises DataError when the
    table has no column of pictures.
    """
    try:
        for number, picture in _parquet_rows(path, start=0):
            if wanted(str(number)):
                yield str(number), picture
    except ImageError as error:
        yield "", error


def saved_pictures(folder: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, Picture]]:
    """The pictures of a folder that `datasets` saved, as `parquet_pictures`; a row of a split is "train#0".

    Raises DataError when a split has no column of pictures.
    """
    try:
        for row, picture in _saved_rows(folder):
            if wanted(row):
                yield row, picture
    except ImageError as error:
        yield "", error


def read_parquet_row(path: str, row: int) -> bytes:
    """The picture in one row of a Parquet file. Raises ImageError when there is none, or it cannot be had.

    Rows that are asked for in their order are read in one pass.
    """
    with _reading_lock, _no_column_is_missing():
        picture = _Reading.at(path, row).take(row)
    return _as_bytes(picture)


def read_saved_row(folder: str, split: str, row: int) -> bytes:
    """The picture in one row of a folder that `datasets` saved; the split is "" where there are none.

    Raises ImageError when there is none, or it cannot be had.
    """
    name = f"{folder}#{split}#{row}" if split else f"{folder}#{row}"
    with damage_told(folder, _SAVED), _no_column_is_missing():
        dataset = _saved_once(folder, os.stat(folder).st_mtime_ns).get(split)
        if dataset is None or row >= len(dataset):
            raise _no_such_row(name)
        column = _picture_column(folder, dataset.features.arrow_schema)
        cell = dataset.with_format("arrow").select_columns(column)[row : row + 1][column][0]
        picture = _picture(cell.as_py(), name=name, beside=folder)
    return _as_bytes(picture)


class _Reading:
    """One pass over the rows of a Parquet file, and how far it has come."""

    last: "_Reading | None" = None

    def __init__(self, path: str, identity: tuple[str, int], start: int) -> None:
        self._path = path
        self._identity = identity
        self._next = start
        self._rows = _parquet_rows(path, start=start)

    @classmethod
    def at(cls, path: str, row: int) -> "_Reading":
        """The last pass, if it has a row of this file before it; else a new one, which begins there."""
        with damage_told(path, _PARQUET):
            identity = path, os.stat(path).st_mtime_ns
        last = cls.last
        if last is None or last._identity != identity or not last._next <= row < last._next + _ROWS_AHEAD:
            cls.last = last = cls(path, identity, row)
        return last

    def take(self, row: int) -> Picture:
        """The picture in a row ahead. Raises ImageError when there are fewer rows, or the table is damaged."""
        for number, picture in self._rows:
            self._next = number + 1
            if number == row:
                return picture
        raise _no_such_row(f"{self._path}#{row}")


# A pass is for one thread at a time.
_reading_lock = threading.Lock()


@contextlib.contextmanager
def _no_column_is_missing() -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise ImageError(str(error), kind="missing") from error


def _parquet_rows(path: str, *, start: int) -> Iterator[tuple[int, Picture]]:
    """The rows of a Parquet file from `start` on. Raises ImageError where it is damaged, DataError as above."""
    import pyarrow.parquet

    with damage_told(path, _PARQUET):
        check_regular(path)
        # Not buffered ahead: a row group may be larger than the memory.
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
            column = _picture_column(path, file.schema_arrow)
            groups = list(range(file.metadata.num_row_groups))
            number = 0
            while groups and number + file.metadata.row_group(groups[0]).num_rows <= start:
                number += file.metadata.row_group(groups.pop(0)).num_rows
            for batch in file.iter_batches(_ROWS_AT_ONCE, row_groups=groups, columns=[column], use_threads=False):
                for cell in batch.column(0):
                    if number >= start:
                        yield number, _picture(cell.as_py(), name=f"{path}#{number}", beside=os.path.dirname(path))
                    number += 1


def _saved_rows(folder: str) -> Iterator[tuple[str, Picture]]:
    """The rows of a folder that `datasets` saved. Raises ImageError where it is damaged, DataError as above."""
    with damage_told(folder, _SAVED):
        for split, dataset in _saved(folder).items():
            column = _picture_column(folder, dataset.features.arrow_schema)
            number = 0
            for batch in dataset.with_format("arrow").select_columns(column).iter(_ROWS_AT_ONCE):
                for cell in batch[column]:
                    row = f"{split}#{number}" if split else str(number)
                    yield row, _picture(cell.as_py(), name=f"{folder}#{row}", beside=folder)
                    number += 1


def _saved(folder: str) -> dict[str, Any]:
    """The data sets of a folder that `datasets` saved, by their splits, or by "" when there are none."""
    import datasets

    saved = datasets.load_from_disk(folder)
    return dict(saved) if isinstance(saved, datasets.DatasetDict) else {"": saved}


@lru_cache(maxsize=1)
def _saved_once(folder: str, written: int) -> dict[str, Any]:
    """As `_saved`, once for a folder `written` at that time."""
    return _saved(folder)


def _picture_column(path: str, schema: Any) -> str:
    """The name of the column that holds the pictures. Raises DataError when there is none, or no telling which."""
    fitting = [field.name for field in schema if _holds_bytes(field.type)]
    usual = [name for wanted in _USUAL_NAMES for name in fitting if name.lower() == wanted]
    if usual or len(fitting) == 1:
        return str((usual or fitting)[0])
    raise DataError(
        f"A table to caption must have one column of pictures, called image, that holds their bytes, but "
        f"{printable(path)} has {', '.join(map(printable, schema.names)) or 'no columns'}; rename the right one."
    )


def _holds_bytes(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        position = kind.get_field_index("bytes")
        return position >= 0 and _holds_bytes(kind.field(position).type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _picture(cell: bytes | dict[str, Any] | None, *, name: str, beside: str) -> Picture:
    """The picture in a cell; a path that it gives instead is relative to the folder `beside`."""
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    path = cell.get("path") if isinstance(cell, dict) else None
    if content is None:
        if isinstance(path, str) and path:
            return Path(beside, path)
        return ImageError(
            f"{printable(name)} must hold a picture, but the row is empty; fill it or leave it out.", kind="missing"
        )
    if len(content) > MAX_BYTES:
        return ImageError(
            f"{printable(name)} must have at most {MAX_BYTES // 1_000_000} MB, but it has "
            f"{len(content) / 1_000_000:.0f} MB; save it smaller.",
            kind="too large",
        )
    return content


def _as_bytes(picture: Picture) -> bytes:
    if isinstance(picture, ImageError):
        raise picture
    return read_file(picture) if isinstance(picture, Path) else picture


def _no_such_row(name: str) -> ImageError:
    return ImageError(f"{printable(name)} must exist, but the table has no such row; check it.", kind="missing")
