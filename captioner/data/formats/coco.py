"""COCO captions: one JSON file a split, with `images` (id, file_name) and `annotations` (image_id, caption).

Lin et al. (2014), "Microsoft COCO"; Chen et al. (2015), "Microsoft COCO captions". The split is read from the file's
name (`captions_train2017.json`); pictures lie in folders such as `train2017/`, beside the file or above it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from captioner.data.formats import texts
from captioner.data.formats.cells import text_in
from captioner.data.formats.pictures import Pictures
from captioner.data.formats.place import Format, Place
from captioner.data.rows import Dropped, Row, Rows, split_named
from captioner.errors import DataError


def rows(place: Place) -> Rows:
    """Every captioned picture of all annotation files."""
    files = _files(place.path)
    if not files:
        raise DataError(
            f"A coco collection must hold a JSON file with images and annotations, itself or in annotations/, but "
            f"{place.path} does not: check the path."
        )
    pictures = Pictures(_picture_root(place))
    used: set[str] = set()
    for file in files:
        yield from _rows_of(file, place.encoding, pictures, used)
    yield from pictures.unused(used)


def is_coco(document: Any) -> bool:
    """Whether a JSON document looks like annotations of COCO's kind."""
    return isinstance(document, dict) and {"images", "annotations"} <= document.keys()


def _rows_of(file: Path, encoding: str, pictures: Pictures, used: set[str]) -> Rows:
    document = texts.json_document(file, encoding)
    for name in ("images", "annotations"):
        if not isinstance(document, dict) or not isinstance(document.get(name), list):
            raise DataError(
                f"COCO captions must have lists called images and annotations, but {file.name} has no {name}: the "
                "files called captions_* have both, those of the test pictures do not."
            )
    names: dict[str, str] = {}
    for image in document["images"]:
        yield from _take_image(image, names, file)
    captions: dict[str, list[str]] = {key: [] for key in names}
    yield from _take_annotations(document["annotations"], captions, file)
    split, folder = _split_of(file), re.sub("^captions_", "", file.stem)
    for key, name in names.items():
        path = pictures.find(name, near=folder)
        if isinstance(path, str):
            used.add(path)
        if not captions[key]:
            yield Dropped("picture", name, "nobody captioned it", fault=False)
        elif isinstance(path, Dropped):
            yield path
        else:
            yield Row(split, path, pictures[path], tuple(captions[key]))


def _take_image(image: Any, names: dict[str, str], file: Path) -> Iterator[Dropped]:
    """Note the file name of one picture under its id, which some files write as text or with a decimal point."""
    key = _key(image.get("id")) if isinstance(image, dict) else None
    name = text_in(image.get("file_name")) if isinstance(image, dict) else None
    if key is None or name is None:
        yield Dropped("picture", f"{file.name}, id {key}", "entry without an id or a file name")
    elif names.setdefault(key, name) != name:
        yield Dropped("picture", name, "id given twice", f"{key} is also {names[key]}")


def _take_annotations(annotations: list[Any], captions: dict[str, list[str]], file: Path) -> Iterator[Dropped]:
    seen = set()
    for number, annotation in enumerate(annotations):
        place = f"{file.name}, annotation {number}"
        told = annotation if isinstance(annotation, dict) else {}
        key, caption = _key(told.get("image_id")), told.get("caption")
        identity = (_key(told.get("id")), key, caption if isinstance(caption, str) else None)
        if key is None or not isinstance(caption, str):
            yield Dropped("caption", place, "entry without an image_id or a caption")
        elif key not in captions:
            yield Dropped("caption", place, "names no picture", f"image_id {key}")
        # Two people may have written the same caption: then the ids differ.
        elif identity in seen:
            yield Dropped("caption", place, "line given twice")
        else:
            seen.add(identity)
            captions[key].append(caption)


def _key(value: Any) -> str | None:
    """An id however it is written: 9, 9.0 and "9" are one."""
    text = text_in(value)
    return text and re.sub(r"^0+(?=\d)|\.0+$", "", text)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = [file for place in (path, path / "annotations") for file in sorted(place.glob("*.json"))]
    named = [file for file in files if file.name.startswith("captions_")]
    return named or [file for file in files if _holds_coco(file)]


def _holds_coco(file: Path) -> bool:
    try:
        return is_coco(texts.json_document(file))
    except DataError:
        return False


def _picture_root(place: Place) -> Path:
    """Beside the annotations; above their folder where one file inside `annotations/` was named."""
    if place.images is None and place.path.is_file() and place.folder.name == "annotations":
        return place.folder.parent
    return place.picture_root


def _split_of(file: Path) -> str | None:
    words = re.findall(r"[a-z]+", file.stem.lower())
    return next(filter(None, map(split_named, words)), None)


def _recognises(place: Place) -> bool:
    if place.path.is_dir():
        return bool(_files(place.path))
    return place.path.suffix == ".json" and _holds_coco(place.path)


FORMAT = Format(
    "coco",
    telltale="captions_*.json, or another JSON file with images and annotations, itself or in annotations/",
    recognises=_recognises,
    rows=rows,
)
