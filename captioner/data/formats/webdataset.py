"""WebDataset shards: tar files whose members of one name belong together, `000.jpg` with `000.txt` or `000.json`.

The split is read from the names of shards and folders (`train-0001.tar`, `val/0001.tar`).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from captioner.data.archives import Sample, tar_samples
from captioner.data.formats.cells import captions_in
from captioner.data.formats.place import Format, Place
from captioner.data.formats.texts import NOT_DECODED, decoded
from captioner.data.images import IMAGE_SUFFIXES
from captioner.data.rows import Dropped, Row, Rows, split_named
from captioner.errors import DataError, ImageError

_SUFFIXES = (".tar", ".tar.gz", ".tgz")
_TEXTS = ("txt", "caption", "text")


def rows(place: Place) -> Rows:
    """Every sample of all shards that has a picture; a shard that breaks off gives what it holds until there."""
    shards = _shards(place.path)
    if not shards:
        raise DataError(f"A webdataset collection must hold tar files, but {place.path} holds none: check the path.")
    decoded(b"", place.encoding, place.path.name)  # an encoding that nobody knows is no shard's fault
    for shard in shards:
        below = shard.relative_to(place.folder).as_posix()
        words = re.findall(r"[a-z]+", below.lower())
        split = next(filter(None, map(split_named, words)), None)
        try:
            for sample in tar_samples(shard):
                yield from _rows_of(sample, below, split, place.encoding)
        except DataError as error:
            yield Dropped("picture", below, "shard damaged", str(error))


def _rows_of(sample: Sample, shard: str, split: str | None, encoding: str) -> Rows:
    name = f"{shard}/{sample.key}"
    picture = _picture(sample)
    if picture is None:
        yield Dropped("picture", name, "sample without a picture")
        return
    content = sample.files[picture]
    if isinstance(content, ImageError):
        yield Dropped("picture", name, "picture unreadable", str(content))
        return
    captions: list[str] = []
    for suffix in (*_TEXTS, "json"):
        text = sample.files.get(suffix)
        if not isinstance(text, bytes) or captions:
            continue
        try:
            told = decoded(text, encoding, f"{name}.{suffix}")
            captions += captions_in(json.loads(told)) if suffix == "json" else filter(str.strip, told.splitlines())
        except UnicodeDecodeError:
            yield Dropped("caption", f"{name}.{suffix}", NOT_DECODED)
        except (ValueError, RecursionError):
            yield Dropped("caption", f"{name}.{suffix}", "malformed JSON")
    yield Row(split, name, content, tuple(captions))


def _picture(sample: Sample) -> str | None:
    """The suffix of the sample's picture: `jpg` goes before `mask.png`, whichever comes first."""
    pictures = [suffix for suffix in sample.files if f".{suffix.rpartition('.')[2]}" in IMAGE_SUFFIXES]
    return min(pictures, key=lambda suffix: suffix.count("."), default=None)


def _shards(path: Path) -> list[Path]:
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return [file for file in files if file.is_file() and file.name.lower().endswith(_SUFFIXES)]


def _recognises(place: Place) -> bool:
    """Whether the first sample of the first shard is a picture with something beside it."""
    try:
        first = next((sample for shard in _shards(place.path)[:1] for sample in tar_samples(shard)), None)
    except DataError:
        return True  # which the reader will tell
    return first is not None and _picture(first) is not None and len(first.files) > 1


FORMAT = Format(
    "webdataset",
    telltale="tar files with pictures and texts of the same name",
    recognises=_recognises,
    rows=rows,
)
