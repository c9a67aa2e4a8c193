"""Where captioned pictures come from: a folder of any known format, the Hugging Face hub, or the built-in drawings.

A format is one file in `formats/` that yields a `Row` for every picture it can caption and a `Dropped` for everything
it cannot; `collection.build` then checks all rows alike. To add a format, write its file and name it in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

from captioner.data.formats import (
    coco,
    flickr8k,
    flickr30k,
    huggingface,
    karpathy,
    metadata,
    sidecars,
    tables,
    webdataset,
)
from captioner.data.formats.place import Columns, Format, Place
from captioner.data.rows import SPLITS, Row, Rows
from captioner.data.shapes import draw
from captioner.errors import DataError

# In the order in which a folder is asked: what has a telltale of its own goes before what many folders look like.
_ORDER: tuple[Format, ...] = (
    huggingface.FORMAT,
    flickr8k.FORMAT,
    flickr30k.FORMAT,
    karpathy.FORMAT,
    coco.FORMAT,
    metadata.FORMAT,
    tables.FORMAT,
    webdataset.FORMAT,
    sidecars.FORMAT,
)
FORMATS = {known.name: known for known in _ORDER}

# Their files look like tables too.
_CONTAINED = {flickr30k.FORMAT.name: (tables.FORMAT.name,), metadata.FORMAT.name: (tables.FORMAT.name,)}


def recognise(place: Place) -> str:
    """The format of a folder or file of captioned pictures, a key of `FORMATS`.

    Raises DataError when it is not there or of no known format, or when only the columns of its tables are unknown.
    """
    if not place.path.exists():
        raise DataError(
            f"A collection must be a folder of captioned pictures, a file that names them, hf:USER/NAME or the word "
            f"`shapes`, but {place.path} is not there: check the path."
        )
    for name, known in FORMATS.items():
        if known.recognises(place):
            return name
    if place.path.is_dir():
        tables.refuse_columns(place)
    told = "; ".join(f"{name} is known by {known.telltale}" for name, known in FORMATS.items())
    raise DataError(f"{place.path} holds no collection of a known format: {told}.")


def others(place: Place, name: str) -> list[str]:
    """The formats that a place recognised as `name` could be read in as well, with other captions."""
    after = list(FORMATS)[list(FORMATS).index(name) + 1 :]
    return [other for other in after if other not in _CONTAINED.get(name, ()) and FORMATS[other].recognises(place)]


def read_rows(place: Place, format_name: str | None = None) -> Rows:
    """All rows of a collection, in the format named or else recognised.

    Raises DataError when the format is unknown, has no columns though some are named, or needs what the place lacks.
    """
    name = recognise(place) if format_name is None else format_name
    if name not in FORMATS:
        raise DataError(f"A collection's format must be one of {', '.join(FORMATS)}, not {name!r}.")
    if place.columns != Columns() and not FORMATS[name].has_columns:
        raise DataError(f"Columns can be named in tables, but {place.path} is read in the format {name}: name none.")
    return FORMATS[name].rows(place)


def shapes_rows(counts: dict[str, int], *, size: int, seed: int) -> Iterator[Row]:
    """The built-in drawn collection: `counts[split]` drawings of `size` x `size` pixels per split.

    No drawing of one split is drawn again in another. Raises DataError as `draw` does.
    """
    for position, split in enumerate(SPLITS):
        # Every split of every seed has a seed of its own.
        drawings = draw(counts.get(split, 0), seed=len(SPLITS) * seed + position, size=size)
        for number, drawing in enumerate(drawings):
            content = BytesIO()
            drawing.image.save(content, format="PNG")
            yield Row(split, f"{split}-{number:06}.png", content.getvalue(), drawing.captions)
