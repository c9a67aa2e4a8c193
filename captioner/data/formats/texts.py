"""Text files as people have them: byte order marks, foreign line ends, letters that do not decode, careless quotes.

A byte that does not decode stays in the text as a lone surrogate; `undecodable` finds it, so that one bad letter costs
one caption and not the file.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from captioner.data.rows import Dropped
from captioner.errors import DataError

NOT_DECODED = "not text of the expected encoding"
MALFORMED = "malformed line"

_MARKS = {  # longest first: that of UTF-32 begins like that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
# A quoted field over more lines than this has lost its closing quotation mark.
_MOST_LINES = 20


def _encoding(start: bytes, told: str, name: str) -> str:
    """That of a text that begins so: its mark's, or else what is told. Raises DataError if nobody knows that."""
    encoding = next((marked for mark, marked in _MARKS.items() if start.startswith(mark)), told)
    try:
        " ".encode(encoding)  # which raises for codecs that encode no text, too
    except LookupError as error:
        raise DataError(
            f"The encoding of {name} must be one that Python knows, such as utf-8 or cp1252, not {encoding!r}."
        ) from error
    return encoding


def undecodable(text: str) -> bool:
    """Whether letters of the text could not be decoded."""
    return _LONE_SURROGATE.search(text) is not None


def opened(file: Path, encoding: str, newline: str) -> TextIO:
    """The file as text, its byte order mark believed and taken off. Raises DataError for an unknown encoding."""
    with file.open("rb") as raw:
        encoding = _encoding(raw.read(4), encoding, file.name)
    # Only codecs that leave ASCII bytes alone can keep what does not decode; others put U+FFFD.
    errors = "surrogateescape" if codecs.lookup(encoding).name.startswith("utf-8") else "replace"
    return file.open(encoding=encoding, errors=errors, newline=newline)


def decoded(content: bytes, encoding: str, name: str) -> str:
    """The text of a file called `name`, likewise. Raises UnicodeDecodeError where it is in another encoding."""
    return content.decode(_encoding(content[:4], encoding, name))


def lines(file: Path, encoding: str = "utf-8") -> Iterator[str]:
    """The lines of a text file, without their ends."""
    with opened(file, encoding, newline="\n") as text:
        for number, line in enumerate(text):
            if number or line.endswith("\n"):
                yield line.rstrip("\r\n")
            else:  # the only one, unless it has the line ends of old Macs
                yield from line.rstrip("\r").split("\r")


def json_document(file: Path, encoding: str = "utf-8") -> Any:
    """What a JSON file holds. Raises DataError when it is no JSON."""
    try:
        with opened(file, encoding, newline="\n") as text:
            return json.load(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} must be JSON, but it is not ({error}): write it again.") from error


def json_lines(file: Path, encoding: str = "utf-8") -> Iterator[tuple[str, dict[str, Any]] | Dropped]:
    """(place, object) of every line that holds a JSON object; blank lines are passed over."""
    for number, line in enumerate(lines(file, encoding), start=1):
        if not line.strip():
            continue
        place = f"{file.name}, line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        yield (place, value) if isinstance(value, dict) else Dropped("caption", place, MALFORMED)


def header(file: Path, encoding: str = "utf-8") -> list[str]:
    """The column names of a table of separated values; empty for an empty file."""
    with opened(file, encoding, newline="") as text:
        return _head(_records(text, _separator(text, file))) or []


def records(file: Path, encoding: str = "utf-8") -> Iterator[tuple[str, dict[str, Any]] | Dropped]:
    """(place, fields by column) of every row of a table of separated values.

    The separator is the commonest of comma, semicolon, tab and bar in the header, or what Excel's `sep=` line says.
    Where the last field holds separators that nobody quoted, they are taken as its text.
    """
    with opened(file, encoding, newline="") as text:
        separator = _separator(text, file)
        found = _records(text, separator)
        names = _head(found)
        if names is None:
            return
        for place, fields in found:
            if fields is None or len(fields) < len(names):
                yield Dropped("caption", f"{file.name}, {place}", MALFORMED)
            else:
                last = f"{separator} ".join(fields[len(names) - 1 :])
                whole = (*fields[: len(names) - 1], last)
                yield f"{file.name}, {place}", dict(zip(names, whole, strict=True))


def _head(rows: Iterator[tuple[str, list[str] | None]]) -> list[str] | None:
    """The names in the first of the rows, told apart as pandas does it: `caption`, `caption.1`, ...; None without."""
    names = next(rows, ("", None))[1]
    if names is None:
        return None
    times = Counter[str]()
    told = []
    for name in names:
        told.append(f"{name}.{times[name]}" if times[name] else name)
        times[name] += 1
    return told


def _separator(text: TextIO, file: Path) -> str:
    """What separates the fields; leaves the file at its header."""
    first = text.readline()
    told = re.fullmatch(r'"?sep=([,;\t|])"?\s*', first)
    if told:
        return told[1]
    text.seek(0)
    return "\t" if file.suffix.lower() == ".tsv" else max(",;\t|", key=first.count)


def _records(text: TextIO, separator: str) -> Iterator[tuple[str, list[str] | None]]:
    """(place, fields) of every row but empty ones, outer blanks off; None for fields that cannot be told apart."""
    reader = csv.reader(text, delimiter=separator, skipinitialspace=True)
    while True:
        before = reader.line_num
        fields: list[str] | None = None
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            pass
        place = f"line {before + 1}"
        if reader.line_num - before > _MOST_LINES:
            yield f"{place} to {reader.line_num}", None
        elif fields != []:
            yield place, None if fields is None else [field.strip() for field in fields]
