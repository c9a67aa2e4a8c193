"""Flickr8k: `name.jpg#0<TAB>caption` lines, and per split one file that lists its pictures.

Hodosh, Young and Hockenmaier (2013), "Framing image description as a ranking task". The test list may be missing;
pictures in no list are dropped. Names such as `name.jpg.1`, which the original caption file holds for one picture, are
mended where `name.jpg` exists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from captioner.data.formats import texts
from captioner.data.formats.pictures import Pictures
from captioner.data.formats.place import Format, Place
from captioner.data.rows import Dropped, Row, Rows
from captioner.errors import DataError

_TOKENS = "Flickr8k.token.txt"
_LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "validation": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
# The archive that everyone has spells its own name wrong.
_PICTURE_FOLDERS = ("images", "Flicker8k_Dataset", "Flickr8k_Dataset", "Images", ".")


def rows(place: Place) -> Rows:
    """Every picture that a split list names."""
    texts_folder = _texts(place.folder)
    if texts_folder is None:
        raise DataError(
            f"A flickr8k folder must hold {_TOKENS}, itself or in Flickr8k_text/, but {place.folder} does not: check "
            "the path."
        )
    pictures = _pictures(place)
    captions: dict[str, list[str]] = {}
    for found in caption_lines(texts_folder / _TOKENS, place.encoding):
        if isinstance(found, Dropped):
            yield found
        else:
            name, caption = found
            captions.setdefault(_mended(name, pictures), []).append(caption)

    listed = set()
    for split, name in _split_lists(texts_folder, place.encoding):
        listed.add(name)
        path = pictures.find(name)
        if name not in captions:
            yield Dropped("picture", name, "listed in a split but has no captions")
        elif isinstance(path, Dropped):
            yield path
        else:
            yield Row(split, name, pictures[path], tuple(captions[name]))
    for name in sorted(captions.keys() - listed):
        yield Dropped("picture", name, "in no split list", fault=False)


def caption_lines(file: Path, encoding: str) -> Iterator[tuple[str, str] | Dropped]:
    """(picture name, caption) of every line `name.jpg#0<TAB>caption`, each line once."""
    seen = set()
    for number, line in enumerate(texts.lines(file, encoding), start=1):
        if not line.strip():
            continue
        place = f"{file.name}, line {number}"
        parts = re.fullmatch(r"([^\t]+)#(\d+)\t(.*)", line)
        if texts.undecodable(line):
            yield Dropped("caption", place, texts.NOT_DECODED)
        elif parts is None:
            yield Dropped("caption", place, texts.MALFORMED)
        # Only the same line twice is a fault: two people may well have written the same caption.
        elif parts.groups() in seen:
            yield Dropped("caption", place, "line given twice")
        else:
            seen.add(parts.groups())
            yield parts[1], parts[3]


def _texts(folder: Path) -> Path | None:
    """The folder that holds the caption file, or None."""
    places = (folder, folder / "Flickr8k_text")
    return next((place for place in places if (place / _TOKENS).is_file()), None)


def _pictures(place: Place) -> Pictures:
    folders = [place.images] if place.images else [place.folder / name for name in _PICTURE_FOLDERS]
    for folder in folders:
        if folder.is_dir() and any(pictures := Pictures(folder)):
            return pictures
    raise DataError(
        f"A flickr8k folder must hold its pictures in images/, Flicker8k_Dataset/ or itself, but {place.picture_root} "
        "holds none: unpack them there, or name their folder with --images."
    )


def _mended(name: str, pictures: Pictures) -> str:
    """`name.jpg` for `name.jpg.1`, where only the first is a picture."""
    mended = re.sub(r"\.\d+$", "", name)
    missing = mended != name and isinstance(pictures.find(name), Dropped)
    return mended if missing and isinstance(pictures.find(mended), str) else name


def _split_lists(folder: Path, encoding: str) -> Iterator[tuple[str, str]]:
    """(split, picture name) for every name of every split list, each name once per list."""
    lists = {split: folder / name for split, name in _LISTS.items() if (folder / name).is_file()}
    if not lists:
        raise DataError(
            f"A flickr8k folder must hold at least one split list ({', '.join(_LISTS.values())}), "
            f"but {folder} holds none: put one beside {_TOKENS}."
        )
    for split, file in lists.items():
        names = (line.strip() for line in texts.lines(file, encoding))
        yield from ((split, name) for name in dict.fromkeys(names) if name)


FORMAT = Format(
    "flickr8k",
    telltale=f"its file {_TOKENS}, in the folder itself or in Flickr8k_text/",
    recognises=lambda place: _texts(place.folder) is not None and (place.path.is_dir() or place.path.name == _TOKENS),
    rows=rows,
)
