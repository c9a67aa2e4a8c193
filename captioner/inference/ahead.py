"""Stages of work that overlap: each goes on in a thread of its own while the next is busy with what it made."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Made = TypeVar("Made")


@dataclass(frozen=True)
class _Raised:
    """What a stage ended with instead of an item."""

    error: BaseException


class _Done:
    """Nothing comes any more."""


@dataclass(frozen=True)
class _Item(Generic[Made]):
    value: Made


def ahead(stage: Iterator[Made], items: int) -> Generator[Made, None, None]:
    """The same items in the same order, made in a thread that runs up to `items` of them ahead.

    What the stage raises is raised here, in its place. Closing this closes the stage, after the item it is busy
    with: no thread is left behind.
    """
    made: queue.Queue[_Item[Made] | _Raised | _Done] = queue.Queue(maxsize=items)
    unwanted = threading.Event()

    def offer(what: _Item[Made] | _Raised | _Done) -> None:
        while not unwanted.is_set():
            try:
                made.put(what, timeout=0.1)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            for value in stage:
                offer(_Item(value))
                if unwanted.is_set():
                    break
            offer(_Done())
        except BaseException as error:  # whatever it is, the thread that wants the items must learn of it
            offer(_Raised(error))
        finally:
            if isinstance(stage, Generator):
                stage.close()

    thread = threading.Thread(target=work, name=f"ahead of {getattr(stage, '__name__', 'a stage')}", daemon=True)
    thread.start()
    try:
        while not isinstance(what := made.get(), _Done):
            if isinstance(what, _Raised):
                raise what.error
            yield what.value
    finally:
        unwanted.set()
        thread.join()
