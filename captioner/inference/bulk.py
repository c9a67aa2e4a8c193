"""Many pictures: finding them, and one record for each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from captioner.data.images import IMAGE_SUFFIXES
from captioner.errors import DataError
from captioner.inference.caption import Caption


def find_pictures(paths: Iterable[Path]) -> Iterator[Path]:
    """The pictures named, and those in the folders named and below, in the order of their names.

    A file that is named is taken whatever it is called. Raises DataError when a path does not exist or a folder
    holds no picture.
    """
    for path in paths:
        if os.path.isdir(path):  # unlike Path's own, False for a name that no file can have
            found = False
            for picture in _pictures_below(path):
                found = True
                yield picture
            if not found:
                known = ", ".join(sorted(IMAGE_SUFFIXES))
                raise DataError(f"A folder to caption must hold pictures ({known}), but {path} holds none.")
        elif os.path.exists(path):
            yield path
        else:
            raise DataError(f"A picture to caption must exist, but there is no {path}; check the name.")


def as_record(path: Path, caption: Caption, *, model: str, words: bool = False) -> dict[str, Any]:
    """The JSON object that stands for one picture; its keys are the same whether it could be captioned or not.

    With `words` it also lists the words of the caption with their confidences.
    """
    return {
        "path": str(path),
        "caption": caption.text,
        "confidence": _rounded(caption.confidence),
        "uncertain": caption.uncertain,
        "candidates": [
            {"text": candidate.text, "log_probability": round(candidate.log_probability, 4)}
            for candidate in caption.candidates
        ],
        "error": caption.error,
        "model": model,
    } | ({"words": _words(caption)} if words else {})


def _words(caption: Caption) -> list[dict[str, Any]]:
    said = caption.candidates[0].words if caption.candidates else ()
    told = caption.word_confidences or (None,) * len(said)
    return [{"word": word, "confidence": _rounded(each)} for word, each in zip(said, told, strict=True)]


def _rounded(confidence: float | None) -> float | None:
    return None if confidence is None else round(confidence, 4)


def _pictures_below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if Path(name).suffix.lower() in IMAGE_SUFFIXES:
                yield Path(parent) / name
