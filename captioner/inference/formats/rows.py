"""Records as other programs can take them: valid Unicode throughout, names that can be read back exactly."""

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import quote, unquote_to_bytes

Row = dict[str, Any]

Records = Callable[[], Iterator[Row]]
"""Reads the records of a journal from the beginning, one at a time, each time it is called."""

T = TypeVar("T")

_SCHEME = "file:"


def as_text(name: str) -> str:
    """A picture's name as valid Unicode, from which `as_name` tells the name again.

    Nearly every name stays as it is. One whose bytes are not UTF-8, or that begins with `file:`, becomes `file:` and
    its bytes percent-encoded.
    """
    if _is_unicode(name) and not name.startswith(_SCHEME):
        return name
    try:
        return _SCHEME + quote(os.fsencode(name))
    except UnicodeEncodeError:  # a name from another system, which no file can have here
        return _SCHEME + quote(name.encode("utf-8", "surrogatepass"))


def as_name(text: str) -> str:
    """The name that `as_text` told, as this system's functions take it."""
    return os.fsdecode(unquote_to_bytes(text.removeprefix(_SCHEME))) if text.startswith(_SCHEME) else text


def plain(record: Row) -> Row:
    """A record with its path as `as_text` tells it, and whatever else is not Unicode in escapes (`\\udcff`)."""
    return {name: as_text(value) if name == "path" else _escaped(value) for name, value in record.items()}


def without_nulls(value: Any) -> Any:
    """A record without the keys that have no value, in it and in what it holds.

    `datasets` takes the type of a column from the first rows it sees: where they hold null, a number in a later row
    ends the loading, and where they lack the key, it does not.
    """
    if isinstance(value, dict):
        return {key: without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [without_nulls(each) for each in value]
    return value


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items, `size` at a time; the last batch may be smaller, none is empty."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _escaped(each) for key, each in value.items()}
    return [_escaped(each) for each in value] if isinstance(value, list) else value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
