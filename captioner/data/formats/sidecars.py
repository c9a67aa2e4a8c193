"""Pictures with their captions beside them: `dog.jpg` and `dog.txt` (or `dog.caption`, or `dog.jpg.txt`).

Every line of a sidecar is a caption. Pictures in `train/`, `validation/` or `test/` belong to that split.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from captioner.data.formats import texts
from captioner.data.formats.pictures import Pictures, split_of_path
from captioner.data.formats.place import Format, Place
from captioner.data.rows import Dropped, Row, Rows

_SUFFIXES = (".txt", ".caption")


def rows(place: Place) -> Rows:
    """Every picture that has a sidecar; text files that no picture goes with are told."""
    pictures = Pictures(place.picture_root)
    used, sidecars = set(), set()
    for relative in pictures:
        sidecar = _sidecar(pictures[relative])
        if sidecar is None:
            continue
        used.add(relative)
        sidecars.add(sidecar)
        captions = []
        for number, line in enumerate(texts.lines(sidecar, place.encoding), start=1):
            if texts.undecodable(line):
                yield Dropped("caption", f"{sidecar.name}, line {number}", texts.NOT_DECODED)
            elif line.strip():
                captions.append(line)
        yield Row(split_of_path(relative), relative, pictures[relative], tuple(captions))
    yield from pictures.unused(used)
    for file in sorted(file for suffix in _SUFFIXES for file in pictures.root.rglob(f"*{suffix}")):
        below = file.relative_to(pictures.root)
        if sidecars and file not in sidecars and not any(part.startswith(".") for part in below.parts):
            yield Dropped("picture", below.as_posix(), "text file without a picture", fault=False)


def _sidecar(picture: Path) -> Path | None:
    return next((file for file in _names(picture) if file.is_file()), None)


def _names(picture: Path) -> Iterator[Path]:
    for suffix in _SUFFIXES:
        yield picture.with_suffix(suffix)
        yield picture.with_name(picture.name + suffix)


def _recognises(place: Place) -> bool:
    if not place.path.is_dir():
        return False
    pictures = Pictures(place.path)
    return any(_sidecar(pictures[relative]) for relative in pictures)


FORMAT = Format(
    "sidecars",
    telltale="a text file of the same name beside a picture, such as dog.txt beside dog.jpg",
    recognises=_recognises,
    rows=rows,
)
