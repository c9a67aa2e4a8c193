"""What a format tells of a collection: its captioned pictures, and what it has to leave out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SPLITS = ("train", "validation", "test")

_SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "trainset", "restval"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "devel", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "testset"), "test"),
}


@dataclass(frozen=True)
class Row:
    """One captioned picture as a format tells it, before any check.

    `split` is one of SPLITS, or None where the collection does not say. `image` is the file or its bytes; `captions`
    may still hold anything that can stand in a text file.
    """

    split: str | None
    image_id: str
    image: Path | bytes
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Dropped:
    """One picture or one caption that is left out, and why.

    `reason` is one of few, so that reasons can be counted; `detail` may say more about this one.
    `fault` is False where nothing is wrong: the collection itself does not use the picture.
    """

    unit: Literal["picture", "caption"]
    name: str
    reason: str
    detail: str = ""
    fault: bool = True


Rows = Iterator[Row | Dropped]


def split_named(name: str) -> str | None:
    """The split that people call `name`, such as `val` or `dev`; None for any other word."""
    return _SPLIT_NAMES.get(name.strip().lower())
