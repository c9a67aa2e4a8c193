"""Pictures with their captions beside them: `dog.jpg` and `dog.txt` (or `dog.caption`, or `dog.jpg.txt`).

Every line of a sidecar is a caption. Pictures in `train/`, `validation/` or `test/` belong to that split.
"""

from __future__ import annotations

from pathlib import Path

from captioner.data.formats import texts
from captioner.data.formats.pictures import Pictures, as_compared, split_of_path
from captioner.data.formats.place import Format, Place
from captioner.data.rows import Dropped, Row, Rows

_SUFFIXES = (".txt", ".caption")


def rows(place: Place) -> Rows:
    """Every picture that has a sidecar; text files that no picture goes with are told."""
    pictures = Pictures(place.picture_root)
    sidecars = _Sidecars()
    used, read = set(), set()
    for relative in pictures:
        sidecar = sidecars.of(pictures[relative])
        if sidecar is None:
            continue
        used.add(relative)
        read.add(sidecar)
        captions = []
        for number, line in enumerate(texts.lines(sidecar, place.encoding), start=1):
            if texts.undecodable(line):
                yield Dropped("caption", f"{sidecar.name}, line {number}", texts.NOT_DECODED)
            elif line.strip():
                captions.append(line)
        yield Row(split_of_path(relative), relative, pictures[relative], tuple(captions))
    yield from pictures.unused(used)
    for file in sorted(file for file in pictures.root.rglob("*") if file.suffix.lower() in _SUFFIXES):
        below = file.relative_to(pictures.root)
        if read and file not in read and not any(part.startswith(".") for part in below.parts):
            yield Dropped("picture", below.as_posix(), "text file without a picture", fault=False)


class _Sidecars:
    """The text files that lie beside pictures; each folder is looked into once."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, Path]] = {}

    def of(self, picture: Path) -> Path | None:
        """The sidecar of a picture: one that has its whole name goes before one that another may share."""
        if picture.parent not in self._folders:
            self._folders[picture.parent] = _text_files(picture.parent)
        here = self._folders[picture.parent]
        names = (as_compared(name + suffix) for name in (picture.name, picture.stem) for suffix in _SUFFIXES)
        return next((here[name] for name in names if name in here), None)


def _text_files(folder: Path) -> dict[str, Path]:
    """The text files of a folder by their names as they are compared; capitals in a suffix do not count."""
    found = (file for file in sorted(folder.iterdir(), reverse=True) if file.suffix.lower() in _SUFFIXES)
    return {as_compared(file.stem + file.suffix.lower()): file for file in found if file.is_file()}


def _recognises(place: Place) -> bool:
    if not place.path.is_dir():
        return False
    pictures, sidecars = Pictures(place.path), _Sidecars()
    return any(sidecars.of(pictures[relative]) for relative in pictures)


FORMAT = Format(
    "sidecars",
    telltale="a text file of the same name beside a picture, such as dog.txt beside dog.jpg",
    recognises=_recognises,
    rows=rows,
)
