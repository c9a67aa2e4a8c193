"""Being asked to stop: Ctrl-C and SIGTERM as a question that long work answers between two steps."""

from __future__ import annotations

import contextlib
import select
import signal
from collections.abc import Callable, Iterator
from io import BufferedReader

_SECONDS_BETWEEN_LOOKS = 0.1


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


class Listening:
    """A stream that ends when someone asks to stop, though whoever writes to it says nothing and does not go away.

    Where the system cannot tell whether something has come (no file; a pipe on Windows), a read waits as ever.
    """

    def __init__(self, stream: BufferedReader, stop: Callable[[], bool]) -> None:
        self._stream = stream
        self._stop = stop
        try:
            select.select([stream], [], [], 0)
            self._can_tell = True
        except (OSError, ValueError):
            self._can_tell = False

    def read1(self, size: int, /) -> bytes:
        """What has come, up to `size` bytes; nothing at the end, and once someone has asked to stop."""
        while not self._stop():
            if not self._can_tell or select.select([self._stream], [], [], _SECONDS_BETWEEN_LOOKS)[0]:
                return self._stream.read1(size)
        return b""
