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


def rounds(listed: "Callable[..., Iterator[Item]]", stop: Callable[[], bool]) -> "Iterator[Iterator[Item]]":
    """What is there now, then again and again what has arrived since, until `stop` says yes.

    `listed` is `list_items` but for its argument `watched`.
    """
    arrivals = _Arrivals()
    while not stop():
        yield (item for item in listed(watched=arrivals.has_new_archive) if arrivals.has_new(item))
        heard = time.monotonic() + _SECONDS_BETWEEN_ROUNDS
        while not stop() and time.monotonic() < heard:
            time.sleep(0.1)


class _Arrivals:
    """What has been seen so far; what is still being written is seen in a later round."""

    def __init__(self) -> None:
        self._pictures: set[str] = set()
        self._archives: dict[str, tuple[int, int]] = {}

    def has_new(self, item: "Item") -> bool:
        """Whether a picture was not there before."""
        if item.name in self._pictures or (isinstance(item.source, Path) and _is_being_written(item.source)):
            return False
        self._pictures.add(item.name)
        return True

    def has_new_archive(self, path: str) -> bool:
        """Whether an archive was not there before, or was another."""
        try:
            now = os.stat(path)
        except OSError:  # gone again
            return False
        state = (now.st_mtime_ns, now.st_size)
        if self._archives.get(path) == state or _is_being_written(Path(path)):
            return False
        self._archives[path] = state
        return True


def _is_being_written(path: Path) -> bool:
    try:
        return abs(time.time() - path.stat().st_mtime) < _SECONDS_UNTIL_SETTLED
    except OSError:  # gone again; its record will say so
        return False
