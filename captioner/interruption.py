"""Being asked to stop: Ctrl-C and SIGTERM as a question that long work answers between two steps."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """A function that tells whether someone has asked the process to stop since the block began.

    The first Ctrl-C only asks; a second one raises KeyboardInterrupt at once, as ever. Outside the main thread, where
    signals cannot be received, the answer is always no.
    """
    received: list[int] = []

    def receive(number: int, _frame: object) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def asked() -> bool:
        return bool(received)

    try:
        before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread
        yield asked
        return
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
