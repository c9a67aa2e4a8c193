"""A fault at every call that changes the file system, in turn: a full disk, one failing call, or a death.

SQLite's way of testing ("How SQLite Is Tested", anomaly testing): let call number N go wrong, for N = 1, 2, 3 and so
on, until the code passes untouched. Everything happens in this process, so it takes milliseconds:

    for fault in every_fault("death"):
        ...                     # lay out what was there before
        with fault:
            ...                 # the code that must survive
        ...                     # look at what is there now; `fault.struck` tells whether anything went wrong

After the block `fault.raised` is the CaptionerError that came out of it, if one did. Any other exception goes
through: a bare OSError is no sentence fit for a user.
"""

from __future__ import annotations

import builtins
import errno
import io
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Literal
from unittest import mock

from captioner.errors import CaptionerError

Kind = Literal["full", "error", "death"]
"""`full`: from call N on nothing more fits on the disk. `error`: call N alone fails. `death`: the process dies before
call N, or in the middle of it when it writes; whatever it would have done then, cleaning up included, is not done."""

_TAKE_SPACE = ("mkdir", "link", "symlink", "write", "fsync")
_TAKE_NONE = ("replace", "rename", "unlink", "remove", "rmdir", "ftruncate", "truncate")


class Killed(BaseException):
    """Stands for the death of the process."""


def every_fault(kind: Kind) -> Iterator[Fault]:
    """Faults to enter one after the other, at call 1, 2, 3 and so on; the last one does not strike any more."""
    for number in itertools.count(1):
        fault = Fault(kind, number)
        yield fault
        if not fault.struck:
            assert number > 1, "the code changes nothing on the disk, so no fault can strike it"
            return


class Fault:
    """One fault, at one call. A context manager."""

    def __init__(self, kind: Kind, number: int) -> None:
        self.struck = False
        self.raised: CaptionerError | None = None
        self._kind = kind
        self._calls_left = number
        self._patches = ExitStack()

    def __enter__(self) -> Fault:
        for name in (*_TAKE_SPACE, *_TAKE_NONE):
            self._patches.enter_context(mock.patch.object(os, name, self._faulty(getattr(os, name), name)))
        self._patches.enter_context(mock.patch.object(os, "open", self._open_handle(os.open)))
        opened = self._open_file(io.open)
        self._patches.enter_context(mock.patch.object(io, "open", opened))
        self._patches.enter_context(mock.patch.object(builtins, "open", opened))
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        self._patches.close()
        if isinstance(error, CaptionerError):
            self.raised = error
            assert self.struck, f"nothing went wrong, and yet: {error}"
        return isinstance(error, CaptionerError | Killed)

    @property
    def dead(self) -> bool:
        """Whether the process counts as dead."""
        return self.struck and self._kind == "death"

    def due(self, *, takes_space: bool = True) -> bool:
        """Whether this call goes wrong."""
        if self._kind == "full" and not takes_space:
            return False
        self._calls_left -= 1
        if self._calls_left == 0:
            self.struck = True
            return True
        return self.struck and self._kind != "error"

    def strike(self) -> None:
        """What goes wrong."""
        if self._kind == "death":
            raise Killed
        number = errno.ENOSPC if self._kind == "full" else errno.EIO
        raise OSError(number, os.strerror(number))

    def write(self, real: Callable[[bytes], int], data: bytes) -> int:
        """A write that may go wrong, and is torn then."""
        if self.dead:
            return len(data)  # a buffer that is emptied when its file is closed: that never happened
        if self.due():
            if len(data) > 1:
                real(data[: len(data) // 2])
            self.strike()
        return real(data)

    def _faulty(self, real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if name == "write":
                return self.write(lambda data: real(args[0], data), args[1])
            if self.due(takes_space=name in _TAKE_SPACE):
                self.strike()
            return real(*args, **options)

        return call

    def _open_handle(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(path: Any, flags: int, *args: Any, **options: Any) -> int:
            if flags & (os.O_CREAT | os.O_TRUNC) and self.due():
                self.strike()
            return real(path, flags, *args, **options)

        return call

    def _open_file(self, real: Callable[..., Any]) -> Callable[..., Any]:
        fault = self

        class FaultyFile(io.FileIO):
            def write(self, data: Any) -> int:
                return fault.write(super().write, bytes(data))

        def call(
            file: Any,
            mode: str = "r",
            buffering: int = -1,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
            closefd: bool = True,
            opener: Any = None,
        ) -> Any:
            if not set(mode) & set("wxa+"):
                return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
            if not isinstance(file, int) and self.due():
                self.strike()
            raw = FaultyFile(file, mode.replace("b", "").replace("t", ""), closefd, opener)
            if buffering == 0:
                return raw
            buffer = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffer if "b" in mode else io.TextIOWrapper(buffer, encoding, errors, newline)

        return call
