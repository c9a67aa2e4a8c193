"""Flickr30k: `results_20130124.token`, lines of `name.jpg#0<TAB>caption`, or `results.csv`, fields between bars.

Young, Lai, Hodosh and Hockenmaier (2014), "From image descriptions to visual denotations". It names no splits; those
that papers use are in the Karpathy split file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from captioner.data.formats import texts
from captioner.data.formats.flickr8k import caption_lines
from captioner.data.formats.pictures import Pictures
from captioner.data.formats.place import Format, Place
from captioner.data.rows import Dropped, Row, Rows
from captioner.errors import DataError

_TOKENS = "results_20130124.token"
_BARS = "results.csv"


def rows(place: Place) -> Rows:
    """Every captioned picture, in no split."""
    file = _captions_file(place.path)
    if file is None:
        raise DataError(
            f"A flickr30k folder must hold {_TOKENS} or {_BARS}, but {place.path} does not: check the path."
        )
    pictures = Pictures(place.picture_root)
    found = _barred(file, place.encoding) if file.suffix == ".csv" else caption_lines(file, place.encoding)
    captions: dict[str, list[str]] = {}
    for line in found:
        if isinstance(line, Dropped):
            yield line
        else:
            captions.setdefault(line[0], []).append(line[1])
    used = set()
    for name, of_picture in captions.items():
        path = pictures.find(name)
        if isinstance(path, Dropped):
            yield path
        else:
            used.add(path)
            yield Row(None, path, pictures[path], tuple(of_picture))
    yield from pictures.unused(used)


def _captions_file(path: Path) -> Path | None:
    if path.is_file():
        return path
    places = (path / folder / name for folder in (".", "flickr30k_images") for name in (_TOKENS, _BARS))
    return next((file for file in places if file.is_file()), None)


def _barred(file: Path, encoding: str) -> Iterator[tuple[str, str] | Dropped]:
    """(picture name, caption) of every row `name.jpg| 0| caption`."""
    seen = set()
    for record in texts.records(file, encoding):
        if isinstance(record, Dropped):
            yield record
            continue
        place, cells = record
        fields = tuple(cells.values())
        if len(fields) < 3:
            yield Dropped("caption", place, texts.MALFORMED)
        elif fields in seen:
            yield Dropped("caption", place, "line given twice")
        else:
            seen.add(fields)
            yield fields[0], fields[2]


def _recognises(place: Place) -> bool:
    file = _captions_file(place.path)
    if file is None or file.name not in (_TOKENS, _BARS):
        return False
    return file.name == _TOKENS or [name.strip() for name in texts.header(file)][:2] == ["image_name", "comment_number"]


FORMAT = Format(
    "flickr30k",
    telltale=f"its file {_TOKENS}, or {_BARS} with bars between the fields",
    recognises=_recognises,
    rows=rows,
)
