"""What the cells of a table hold, whoever wrote it: which column is which, captions, pictures, splits."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from captioner.data.formats.place import Columns
from captioner.errors import DataError

# In this order: the first that a table has is taken.
IMAGE_NAMES = (
    *("image", "images", "file_name", "filename", "file", "filepath", "file_path", "path", "image_path", "img_path"),
    *("image_file", "image_name", "image_filename", "img", "picture", "photo", "jpg", "jpeg", "png", "webp"),
    "image_id",
)
CAPTION_NAMES = (
    *("captions", "caption", "texts", "text", "sentences", "sentence", "descriptions", "description"),
    *("comments", "comment", "alt_texts", "alt_text", "raw", "txt", "prompt"),
)
SPLIT_NAMES = ("split", "set", "partition", "subset")
# caption_0, caption_1, ... each hold one of several captions; pandas writes caption.1 for a second column `caption`.
_NUMBERED = re.compile(r"(.+?)(?:[._]?(\d{1,2}))?")
# A list written into one cell; longer ones are nobody's captions.
_LONGEST_LIST = 100_000


class Found(NamedTuple):
    """The columns of one table that matter."""

    image: str
    captions: tuple[str, ...]
    split: str | None


def find_columns(names: Iterable[str], told: Columns, where: str) -> Found:
    """Which columns of a table hold picture, captions and split: those `told`, else those with the usual names.

    Raises DataError when there is no such column.
    """
    by_name = {_plain(name): name for name in reversed(list(names))}
    image = _column(by_name, told.image, IMAGE_NAMES)
    if image is None:
        raise _without("the pictures", "--image-column", IMAGE_NAMES, by_name, where)
    captions = [by_name[_plain(name)] for name in told.captions if _plain(name) in by_name]
    if not told.captions:
        captions = _caption_columns(by_name)
    if not captions or len(captions) < len(told.captions):
        raise _without("the captions", "--caption-column", CAPTION_NAMES, by_name, where)
    split = _column(by_name, told.split, SPLIT_NAMES)
    if split is None and told.split is not None:
        raise _without("the splits", "--split-column", SPLIT_NAMES, by_name, where)
    return Found(image, tuple(captions), split)


def _caption_columns(by_name: Mapping[str, str]) -> list[str]:
    """The columns with the first of the usual names that there is, as it is or with a number."""
    found: dict[str, list[tuple[int, str]]] = {}
    for plain, name in by_name.items():
        if match := _NUMBERED.fullmatch(plain):
            found.setdefault(match[1], []).append((int(match[2] or -1), name))
    usual = next((usual for usual in CAPTION_NAMES if usual in found), None)
    return [] if usual is None else [name for _, name in sorted(found[usual])]


def _without(what: str, option: str, usual: tuple[str, ...], by_name: Mapping[str, str], where: str) -> DataError:
    columns = ", ".join(reversed(list(by_name.values()))) or "no column at all"
    return DataError(
        f"A table of captions must have a column with {what}, such as {', '.join(usual[:3])}, but {where} has "
        f"{columns}: name the right one with {option}, or mend the head of the table."
    )


def has_columns(names: Iterable[str], told: Columns) -> bool:
    """Whether `find_columns` finds what it needs."""
    try:
        find_columns(names, told, "")
    except DataError:
        return False
    return True


def captions_in(value: Any) -> tuple[str, ...]:
    """The captions a cell holds: a text, a list of texts, a list written as text, or objects with a text each."""
    if isinstance(value, str):
        listed = _written_list(value)
        return (value,) if listed is None else captions_in(listed)
    if isinstance(value, Mapping):
        return next((captions_in(value[name]) for name in CAPTION_NAMES if name in value), ())
    if isinstance(value, list | tuple):
        return tuple(caption for item in value if not isinstance(item, list) for caption in captions_in(item))
    return ()


def text_in(value: Any) -> str | None:
    """What a cell holds as text, such as a name or a number; None for anything else, and for nothing."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value).strip() or None
    return None


def picture_in(value: Any) -> str | bytes | None:
    """The picture a cell holds: its name, or its bytes, as they are or beside their path; None if there is none."""
    if isinstance(value, Mapping):
        content = value.get("bytes")
        return content if isinstance(content, bytes) and content else text_in(value.get("path"))
    if isinstance(value, list) and len(value) == 1:
        return picture_in(value[0])
    return value if isinstance(value, bytes) else text_in(value)


def _column(by_name: Mapping[str, str], told: str | None, usual: Iterable[str]) -> str | None:
    wanted = usual if told is None else (_plain(told),)
    return next((by_name[name] for name in wanted if name in by_name), None)


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _written_list(text: str) -> list[Any] | None:
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]") and len(text) < _LONGEST_LIST):
        return None
    # The way of JSON, and the way of Python, which pandas writes into CSV.
    readers: tuple[Callable[[str], Any], ...] = (json.loads, ast.literal_eval)
    for read in readers:
        try:
            value = read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return value if isinstance(value, list) else None
    return None
