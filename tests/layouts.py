"""Small captioned collections in every layout, written for a test."""

from __future__ import annotations

import functools
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from captioner.data.collection import Prepared, build
from captioner.data.formats.place import Columns, Place
from captioner.data.rows import Dropped, Row
from captioner.data.sources import read_rows


@functools.cache
def jpeg(seed: int) -> bytes:
    """A small JPEG, another one for every seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="JPEG")
    return content.getvalue()


def pictures(folder: Path, *names: str) -> None:
    """A picture for each name, no two alike; folders are made."""
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg(seed))


def write_json(file: Path, document: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document), encoding="utf-8")


def flickr8k(
    folder: Path, *, tokens: str | bytes | None = None, train: str = "a.jpg\nb.jpg\n", dev: str = "c.jpg\n"
) -> Path:
    """A Flickr8k folder of three pictures with two captions each, or as told."""
    pictures(folder / "images", "a.jpg", "b.jpg", "c.jpg")
    if tokens is None:
        tokens = "".join(f"{name}.jpg#{n}\tcaption {n} of {name} .\n" for name in "abc" for n in range(2))
    content = tokens if isinstance(tokens, bytes) else tokens.encode()
    (folder / "Flickr8k.token.txt").write_bytes(content)
    (folder / "Flickr_8k.trainImages.txt").write_text(train, encoding="utf-8")
    (folder / "Flickr_8k.devImages.txt").write_text(dev, encoding="utf-8")
    return folder


def read(
    path: Path, format_name: str | None = None, *, images: Path | None = None, encoding: str = "utf-8", **columns
) -> tuple[dict[str, Row], list[Dropped]]:
    """The rows of a collection by their id, and what its reader left out."""
    found = list(read_rows(Place(path, images=images, columns=Columns(**columns), encoding=encoding), format_name))
    kept = [row for row in found if isinstance(row, Row)]
    assert len({row.image_id for row in kept}) == len(kept)
    return {row.image_id: row for row in kept}, [row for row in found if isinstance(row, Dropped)]


def captions(path: Path, format_name: str | None = None, **options) -> dict[str, tuple[str | None, *tuple[str, ...]]]:
    """Of every picture its split and its captions; nothing may have been left out."""
    rows, dropped = read(path, format_name, **options)
    assert dropped == []
    return {image_id: (row.split, *row.captions) for image_id, row in rows.items()}


def reasons(dropped: list[Dropped] | tuple[Dropped, ...]) -> dict[str, list[str]]:
    """The names of what was left out, by reason."""
    by_reason: dict[str, list[str]] = {}
    for loss in dropped:
        by_reason.setdefault(loss.reason, []).append(loss.name)
    return by_reason


def prepared(folder: Path, tmp_path: Path, **options) -> Prepared:
    """The collection built of a folder."""
    working = tmp_path / "working"
    working.mkdir(exist_ok=True)
    return build(read_rows(Place(folder)), working, **options)
