"""Folders that are looked at again and again, for pictures that arrive."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from captioner.errors import ConfigError, DataError

if TYPE_CHECKING:
    from captioner.data.listing import Item

_SECONDS_BETWEEN_ROUNDS = 2.0
_SECONDS_UNTIL_SETTLED = 1.0


def check_watchable(named: list[str]) -> None:
    """What is watched must be there from the beginning, even if it is empty. Raises ConfigError or DataError."""
    if "-" in named:
        raise ConfigError("--watch looks at folders again and again; a list on standard input can be read only once.")
    for name in named:
        if not os.path.exists(name):
            raise DataError(f"What is watched must exist, but there is no {name}; make the folder first.")


def rounds(listed: "Callable[[], Iterator[Item]]", stop: Callable[[], bool]) -> "Iterator[Iterator[Item]]":
    """What is there now, then again and again what has arrived since, until `stop` says yes."""
    seen: set[str] = set()
    while not stop():
        yield _arrived(listed, seen)
        heard = time.monotonic() + _SECONDS_BETWEEN_ROUNDS
        while not stop() and time.monotonic() < heard:
            time.sleep(0.1)


def _arrived(listed: "Callable[[], Iterator[Item]]", seen: set[str]) -> "Iterator[Item]":
    """The pictures that were not there before and are not being written any more."""
    try:
        items = listed()
    except DataError:  # a folder that holds nothing yet
        return
    for item in items:
        if item.name not in seen and not _is_being_written(item):
            seen.add(item.name)
            yield item


def _is_being_written(item: "Item") -> bool:
    try:
        return isinstance(item.source, Path) and abs(time.time() - item.source.stat().st_mtime) < _SECONDS_UNTIL_SETTLED
    except OSError:  # gone again; its record will say so
        return False
