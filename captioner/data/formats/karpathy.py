"""The split files of Karpathy: one JSON with pictures, their splits and their sentences.

Karpathy and Fei-Fei (2015), "Deep visual-semantic alignments": `dataset_flickr8k.json`, `dataset_flickr30k.json` and
`dataset_coco.json`. `restval`, the rest of COCO's validation pictures, belongs to train.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from captioner.data.formats import texts
from captioner.data.formats.cells import captions_in, text_in
from captioner.data.formats.pictures import Pictures
from captioner.data.formats.place import Format, Place
from captioner.data.rows import Dropped, Row, Rows, split_named
from captioner.errors import DataError


def rows(place: Place) -> Rows:
    """Every picture of the split file."""
    files = _split_files(place.path)
    if len(files) > 1:
        raise DataError(
            f"A karpathy collection is one JSON file and its pictures, but {place.path} holds "
            f"{' and '.join(file.name for file in files)}: name the one that is meant."
        )
    document = texts.json_document(files[0], place.encoding) if files else None
    if not isinstance(document, dict) or not isinstance(document.get("images"), list):
        raise DataError(
            f"A karpathy collection must hold one JSON file with a list images, such as dataset_coco.json, but "
            f"{place.path} does not: check the path."
        )
    pictures = Pictures(place.picture_root)
    used = set()
    for number, image in enumerate(document["images"]):
        told = image if isinstance(image, dict) else {}
        name, split = text_in(told.get("filename")), text_in(told.get("split"))
        if name is None or split is None:
            yield Dropped("picture", f"entry {number}", "entry without a file name or a split")
            continue
        path = pictures.find(name, near=text_in(told.get("filepath")) or "")
        if isinstance(path, str):
            used.add(path)
        if split_named(split) is None and not place.resplit:
            yield Dropped("picture", name, "unknown split", split)
        elif isinstance(path, Dropped):
            yield path
        else:
            yield Row(split_named(split), path, pictures[path], _sentences(told.get("sentences")))
    yield from pictures.unused(used)


def _sentences(value: Any) -> tuple[str, ...]:
    """The sentences as they were written, or where only words are kept, those."""
    if not isinstance(value, list):
        return ()
    sentences: list[str] = []
    for sentence in value:
        words = sentence.get("tokens") if isinstance(sentence, dict) else None
        written = captions_in(sentence)
        sentences += written or ([" ".join(map(str, words))] if isinstance(words, list) else [])
    return tuple(sentences)


def _split_files(path: Path) -> list[Path]:
    return [file for file in ([path] if path.is_file() else sorted(path.glob("*.json"))) if _is_split_file(file)]


def _is_split_file(file: Path) -> bool:
    try:
        document = texts.json_document(file)
    except DataError:
        return False
    images = document.get("images") if isinstance(document, dict) else None
    return isinstance(images, list) and bool(images) and isinstance(images[0], dict) and "sentences" in images[0]


FORMAT = Format(
    "karpathy",
    telltale="a JSON file with images that have sentences and a split, such as dataset_coco.json",
    recognises=lambda place: (place.path.is_dir() or place.path.suffix == ".json") and bool(_split_files(place.path)),
    rows=rows,
)
