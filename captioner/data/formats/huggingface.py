"""Data sets of Hugging Face: a folder that `datasets` saved, or one of the hub by its name, read as a stream.

The hub is asked only when somebody names it (`hub_rows`); nothing of it is kept but what is prepared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets

from captioner.data.folders import is_saved_dataset
from captioner.data.formats.pictures import Pictures
from captioner.data.formats.place import Columns, Format, Place
from captioner.data.formats.tables import Gathered, Record
from captioner.data.rows import Dropped, Rows, split_named
from captioner.errors import DataError


def rows(place: Place) -> Rows:
    """Every row of a folder that `save_to_disk` of `datasets` wrote; rows that hold but a path need `images`."""
    try:
        saved = datasets.load_from_disk(str(place.path))
    except Exception as error:  # whatever json, pyarrow or datasets make of a damaged folder
        raise DataError(
            f"A saved data set must be whole, but {place.path} is not ({error}): save it again with save_to_disk."
        ) from error
    yield from _rows_of(saved, place, str(place.path))


def hub_rows(name: str, columns: Columns, *, resplit: bool = False) -> Rows:
    """Every row of a data set of the hub, `user/name` or `user/name:configuration`; `resplit` as in `Place`.

    Raises DataError when there is no network, no such data set, or it has no pictures with captions.
    """
    repository, _, configuration = name.partition(":")
    try:
        streamed = datasets.load_dataset(repository, configuration or None, streaming=True)
        yield from _rows_of(streamed, Place(Path(), columns=columns, resplit=resplit), f"hf:{name}")
    except (DataError, GeneratorExit):
        raise
    except Exception as error:  # a network can fail in more ways than anyone lists
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"hf:{name} must be a data set that the Hugging Face hub has and this machine can reach, but reading it "
            f"failed ({reason}): check the name and the network, or download it and name its folder."
        ) from error


def _rows_of(loaded: Any, place: Place, where: str) -> Rows:
    """The rows of one data set or of a dictionary of them by split."""
    parts = loaded if isinstance(loaded, Mapping) else {"": loaded}
    for name, part in parts.items():
        # A data set that has but one part calls it train, whatever it holds.
        split = split_named(name) if len(parts) > 1 else None
        if len(parts) > 1 and split is None and not place.resplit:
            yield Dropped("picture", f"all of {name}", "unknown split", fault=False)
            continue
        gathered = Gathered(Pictures(place.images) if place.images else None, resplit=place.resplit)
        yield from gathered.add(_records(part, f"{where}, {name}"), place.columns, label=name or "row", split=split)
        yield from gathered.rows()


def _records(part: Any, where: str) -> Iterator[Record]:
    """The rows of one split, pictures as the bytes of their files."""
    for column, feature in (part.features or {}).items():
        if isinstance(feature, datasets.Image):
            part = part.cast_column(column, datasets.Image(decode=False))
    for number, cells in enumerate(part):
        yield f"{where}, row {number}", cells


FORMAT = Format(
    "huggingface",
    telltale="dataset_dict.json or dataset_info.json, which save_to_disk of datasets writes",
    recognises=lambda place: is_saved_dataset(str(place.path)),
    rows=rows,
    has_columns=True,
)
