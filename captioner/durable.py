"""Files that are written whole or not at all, and files that only grow and outlive a killed process.

`whole_file` writes beside the file and renames, so that whoever reads sees the old content or the new, never a
part. `Growing` appends whole lines; a line torn by a crash is cut off when it is opened again. Both ask the
operating system to put what they wrote on the disk before they call it written. An `OSError` comes out as a
DataError: one sentence that names the file and the cause.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from captioner.errors import DataError

try:
    import fcntl
except ImportError:  # no such locks on this system: two runs on one file are the user's own care
    fcntl = None  # type: ignore[assignment]

UNFINISHED = ".unfinished"
"""How the names of files end that are still being written; whoever lists a folder passes over them."""


class BusyError(DataError):
    """Another process writes to the same file."""


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to that becomes `path` when the block ends, and vanishes if the block raises.

    Raises DataError when it cannot be written, or another process is writing it; `path` is then as it was.
    """
    unfinished = _unfinished(path)
    with told(path):
        handle = _begin(unfinished, path)
    try:
        with told(path):
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.replace(unfinished, path)
            _sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        raise


def write_whole(path: Path, content: bytes | str) -> None:
    """Make `content` (a string as UTF-8) what `path` holds. Raises DataError as `whole_file` does."""
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


class Growing:
    """A file of lines that only grows, with one writer at a time. Close it, or use it in a `with` block."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        """Open or begin the file; `fresh` empties it.

        A last line without its end gets it if it is a JSON object, since editors leave the end out; any other was torn
        by a crash, and is cut off.

        Raises DataError when the file cannot be written, or another process is writing to it.
        """
        self.path = path
        with told(path):
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            with told(path):
                _lock(self._handle, path, path)
                if fresh:
                    os.ftruncate(self._handle, 0)
                else:
                    self._mend_last_line()
                os.fsync(self._handle)
                _sync_folder(path.parent)
        except BaseException:
            os.close(self._handle)
            raise

    def append(self, lines: bytes) -> None:
        """Add whole lines; when this returns they are on the disk. Raises DataError; nothing is half written then."""
        assert not lines or lines.endswith(b"\n"), "only whole lines are appended"
        with told(self.path):
            before = os.fstat(self._handle).st_size
            try:
                rest = memoryview(lines)
                while rest:
                    rest = rest[os.write(self._handle, rest) :]
                os.fsync(self._handle)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._handle, before)
                raise

    def close(self) -> None:
        """Let others write to it."""
        os.close(self._handle)

    def __enter__(self) -> Growing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _mend_last_line(self) -> None:
        end = self._end_of_last_line()
        rest = os.pread(self._handle, os.fstat(self._handle).st_size - end, end)
        if _is_object(rest):
            os.write(self._handle, b"\n")
        else:
            os.ftruncate(self._handle, end)

    def _end_of_last_line(self) -> int:
        """How many bytes of the file are whole lines."""
        end = os.fstat(self._handle).st_size
        while end:
            start = max(0, end - 65536)
            found = os.pread(self._handle, end - start, start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
        return 0


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """A block that only one process and thread at a time is in, for those that name the same lock file; others wait.

    Raises DataError when the file cannot be made.
    """
    with told(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_being_written(path: Path) -> bool:
    """Whether a living process has the `Growing` file open; always no where there are no locks."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        _lock(handle, path, path)
    except BusyError:
        return True
    except OSError:  # file systems of other machines may know no locks of files opened to be read
        return False
    finally:
        os.close(handle)
    return False


def _unfinished(path: Path) -> Path:
    """Where a file stands while it is written: beside it, hidden, its name cut to what a name may be long."""
    return path.with_name(f".{os.fsdecode(os.fsencode(path.name)[:240])}{UNFINISHED}")


def _begin(unfinished: Path, path: Path) -> int:
    """A new file open for writing; one that a killed process left is taken away first.

    Raises DataError when another process is writing it.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    try:
        handle = os.open(unfinished, flags, 0o666)
    except FileExistsError:
        try:
            _take_away(unfinished, path)
            handle = os.open(unfinished, flags, 0o666)
        except (FileNotFoundError, FileExistsError):  # another process has just ended writing it, or begun
            raise _busy(path) from None
    try:
        _lock(handle, unfinished, path)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _take_away(left: Path, path: Path) -> None:
    """Delete what a killed process left; whoever still writes it holds the lock."""
    handle = os.open(left, os.O_RDONLY)
    try:
        _lock(handle, left, path)
        os.unlink(left)
    finally:
        os.close(handle)


def _lock(handle: int, file: Path, path: Path) -> None:
    """Keep other processes from writing to `file` until `handle` is closed, by this process's death if not before.

    Raises BusyError, which names `path`, when another process holds it, or has put another file in its place since it
    was opened.
    """
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        still_there = os.path.samestat(os.fstat(handle), file.stat())
    except (BlockingIOError, FileNotFoundError) as error:
        raise _busy(path) from error
    if not still_there:
        raise _busy(path)


def _busy(path: Path) -> BusyError:
    return BusyError(
        f"Only one process at a time can write to {path}, but another does; wait for it, or choose another --out."
    )


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Any OSError within becomes a DataError: the sentence that says why `path` cannot be written, and what to do."""
    try:
        yield
    except OSError as error:
        remedies = {
            errno.ENOSPC: "make room on the disk",
            errno.EDQUOT: "make room in the quota",
            errno.EFBIG: "raise the limit on the size of files",
            errno.EROFS: "choose a place that can be written to",
            errno.EACCES: "allow this user to write there",
            errno.EPERM: "allow this user to write there",
        }
        remedy = remedies.get(error.errno or 0, "check the path and the disk")
        raise DataError(f"{path} cannot be written ({error.strerror or error}); {remedy}, then go on.") from error


def _sync_folder(folder: Path) -> None:
    """Put a rename on the disk; some systems and file systems know no such thing."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
