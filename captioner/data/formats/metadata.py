"""A folder of pictures with `metadata.jsonl`, `.csv` or `.parquet`, as Hugging Face's `imagefolder` has it.

Every row names a picture by `file_name`, from where the metadata file lies, and has a `caption` or `captions`. A
metadata file in `train/`, `validation/` or `test/` belongs to that split.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from captioner.data.formats.pictures import Pictures, split_of_path
from captioner.data.formats.place import Format, Place
from captioner.data.formats.tables import Gathered, column_names, records
from captioner.data.rows import Rows
from captioner.errors import DataError

_NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")


def rows(place: Place) -> Rows:
    """Every row of all metadata files, at whatever depth."""
    files = _metadata(place.path)
    if not files:
        raise DataError(
            f"A collection of the format metadata must hold {' or '.join(_NAMES)} beside its pictures, but "
            f"{place.path} holds none: write one."
        )
    gathered = Gathered(Pictures(place.picture_root), resplit=place.resplit)
    for file in files:
        below = file.relative_to(place.folder)
        near, label = below.parent.as_posix(), below.with_suffix("").as_posix()
        columns = place.columns
        if columns.image is None and "file_name" in column_names(file, place.encoding):
            columns = replace(columns, image="file_name")
        found, split = records(file, place.encoding), split_of_path(below.as_posix())
        yield from gathered.add(found, columns, label=label, split=split, near="" if near == "." else near)
    yield from gathered.rows()


def _metadata(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.name in _NAMES else []
    return sorted(file for name in _NAMES for file in path.rglob(name) if file.is_file())


FORMAT = Format(
    "metadata",
    telltale="a file metadata.jsonl, metadata.csv or metadata.parquet beside the pictures",
    recognises=lambda place: bool(_metadata(place.path)),
    rows=rows,
    has_columns=True,
)
