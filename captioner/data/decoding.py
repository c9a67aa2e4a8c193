"""Guarded decoding: pictures are read and decoded in processes that may run out of time or memory, or die.

`Decoders` starts them, hands them pictures and takes back pixels. Whatever a picture does to its process costs that
picture alone: it comes back as an `ImageError`, and a new process takes over.
"""

import hashlib
import os
import selectors
import signal
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

from captioner.data.decoding_desk import DIGEST_BYTES
from captioner.data.decoding_process import DESKS, Decoded, DecodingProcess, Limits, Task
from captioner.data.images import printable, read_file
from captioner.data.limits import check_weight
from captioner.data.preprocessing import Preprocessing
from captioner.errors import CaptionerError, ConfigError, ImageError

__all__ = ["Decoded", "Decoders", "Source"]

_CAN_GUARD = os.name == "posix" and hasattr(signal, "setitimer") and hasattr(os, "preadv")

# So many processes in a row may end before they are ready.
_STARTS = 3
# Pictures that come as bytes lie in memory while they wait; one more than this is taken.
_MOST_BYTES_AHEAD = 256_000_000


class Source(Protocol):
    """What is needed of an item here."""

    @property
    def name(self) -> str:
        """What sentences call it."""
        ...

    @property
    def source(self) -> Path | bytes | ImageError:
        """A file to read, a file's bytes, or why there is neither."""
        ...


T = TypeVar("T", bound=Source)


class Decoders:
    """Processes that decode pictures, started when there is something to do, the first on request earlier.

    A context manager that ends them.

    Where the system has no POSIX processes, timers and files to share (Windows), pictures are decoded in this
    process, one after the other, and only the limits of `captioner.data.limits` hold. Memory is limited on Linux.

    Args:
        preprocessing: what becomes of a decoded picture.
        workers: how many processes there are at most.
        seconds: of processor time for one picture, reading and decoding; the kernel ends the process that exceeds it.
        megabytes: of memory for one picture, above what a fresh process has.
        patience: seconds on the clock for one picture, because a disk that hangs uses no processor time.
        pictures: after so many a process is replaced, and with it whatever the decoders have left in its memory.
        ahead: what `ahead` is at first.

    Raises ConfigError when a number is too small.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        *,
        workers: int,
        seconds: float = 2.0,
        megabytes: int = 512,
        patience: float = 60.0,
        pictures: int = 5000,
        ahead: int = 64,
    ) -> None:
        if min(workers, megabytes, pictures, ahead) < 1 or min(seconds, patience) <= 0:
            raise ConfigError(
                "Decoding needs at least one worker, picture and megabyte, and some time, but "
                f"{workers=}, {seconds=}, {megabytes=}, {patience=}, {pictures=}, {ahead=} came."
            )
        self._preprocessing = preprocessing
        self._limits = Limits(seconds, megabytes, patience, pictures)
        self._most_processes = workers
        self.ahead = ahead
        """How many pictures are taken from the sources before the first of them has been asked for."""
        self._processes: list[DecodingProcess] = []
        self._waiting: deque[Task] = deque()
        self._failed_starts = 0
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()  # around what `close` touches from another thread
        self._decoding = self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the first process already, so that it is ready when the first picture comes.

        Raises CaptionerError when no process can be started.
        """
        if _CAN_GUARD and not self._processes:
            self._start()

    def close(self) -> None:
        """End every process now. A `decode` that goes on in another thread ends with a CaptionerError."""
        with self._lock:
            self._closed = True
            for process in self._processes:
                process.kill()  # which wakes the thread that waits for it
            if not self._decoding:
                self._end_all()

    def decode(self, sources: Iterable[T]) -> Generator[tuple[T, Decoded], None, None]:
        """Each source with what became of it, in order, while later ones are being decoded.

        May be called again once it has ended or was closed, and from any thread, but not twice at a time.
        Raises CaptionerError when no process can be started.
        """
        with self._lock:
            if self._closed or self._decoding:
                raise CaptionerError("Decoders decode one sequence at a time, and none once closed; make others.")
            self._decoding = True
        self._failed_starts = 0
        try:
            yield from self._decode(sources)
        finally:
            for process in [process for process in self._processes if process.tasks]:
                self._end(process)
            self._waiting.clear()
            with self._lock:
                self._decoding = False
                if self._closed:
                    self._end_all()

    def _decode(self, sources: Iterable[T]) -> Iterator[tuple[T, Decoded]]:
        remaining = iter(sources)
        taken: deque[tuple[T, Task]] = deque()
        held, exhausted = 0, False
        while True:
            while not exhausted and len(taken) < self.ahead and held < _MOST_BYTES_AHEAD:
                item = next(remaining, None)
                if item is None:
                    exhausted = True
                else:
                    taken.append((item, self._accept(item)))
                    held += _bytes_held(item)
                    self._hand_out()
            if not taken:
                return
            while (decoded := taken[0][1].decoded) is None:
                self._wait()
            item, _ = taken.popleft()
            held -= _bytes_held(item)
            yield item, decoded

    def _accept(self, item: Source) -> Task:
        """A task that waits for a process, unless it can be answered without one."""
        if isinstance(item.source, ImageError):
            return Task(item.name, b"", Decoded(item.source, None))
        task = Task(item.name, item.source)
        try:
            if isinstance(task.source, bytes):
                check_weight(len(task.source), printable(task.name))
        except ImageError as error:
            task.decoded = Decoded(error, None)
            return task
        if _CAN_GUARD:
            self._waiting.append(task)
        else:
            task.decoded = _decode_here(task, self._preprocessing)
        return task

    def _hand_out(self) -> None:
        """Give the processes as many of the waiting tasks as they will take."""
        while self._waiting and (process := self._free_process()):
            task = self._waiting.popleft()
            try:
                process.send(task)
            except BrokenPipeError:  # it has just ended
                self._waiting.appendleft(task)
                self._bury(process)

    def _free_process(self) -> DecodingProcess | None:
        """A process without work, else a new one, else one that takes another task; None when all have enough."""
        for process in [process for process in self._processes if not process.tasks and process.has_ended()]:
            self._bury(process)
        serving = [process for process in self._processes if process.sent < self._limits.pictures]
        laziest = min(serving, key=lambda process: len(process.tasks), default=None)
        if (laziest is None or laziest.tasks) and len(serving) < self._most_processes and (new := self._start()):
            return new
        return laziest if laziest is not None and len(laziest.tasks) < DESKS else None

    def _start(self) -> DecodingProcess | None:
        """A new process; None when the system allows no more than there are. Raises CaptionerError if that is none."""
        try:
            process = DecodingProcess(self._preprocessing, self._limits)
        except OSError as error:
            if not self._processes:
                raise _cannot_start(error.strerror or str(error)) from error
            self._most_processes = len(self._processes)
            return None
        with self._lock:
            self._processes.append(process)
            if self._closed:
                process.kill()
        self._selector.register(process.replies, selectors.EVENT_READ, process)
        return process

    def _wait(self) -> None:
        """Wait until a process has something to say, or one has been silent for too long."""
        now = time.monotonic()
        deadline = min(process.deadline for process in self._processes if process.tasks)
        for key, _ in self._selector.select(max(0.0, deadline - now)):
            process: DecodingProcess = key.data
            if not process.receive():
                self._bury(process)
                continue
            self._failed_starts = 0
            if not process.tasks and process.sent >= self._limits.pictures:
                self._end(process)
        for process in [process for process in self._processes if process.tasks and process.deadline < now]:
            process.give_up()
            self._bury(process)
        if self._closed:
            raise CaptionerError("The decoders were closed while pictures were still to be decoded; make others.")
        self._hand_out()

    def _bury(self, process: DecodingProcess) -> None:
        """End a process and account for its tasks: the one it was at is lost, those behind it wait again."""
        self._forget(process)
        process.fail()
        self._waiting.extendleft(reversed(process.tasks))
        if not process.is_ready and not self._closed:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS:
                raise _cannot_start(process.complaint)

    def _forget(self, process: DecodingProcess) -> None:
        with self._lock:
            self._processes.remove(process)
        self._selector.unregister(process.replies)

    def _end(self, process: DecodingProcess) -> None:
        self._forget(process)
        process.end()

    def _end_all(self) -> None:
        for process in self._processes:
            process.end()
        self._processes.clear()
        self._selector.close()


def _bytes_held(item: Source) -> int:
    return len(item.source) if isinstance(item.source, bytes) else 0


def _decode_here(task: Task, preprocessing: Preprocessing) -> Decoded:
    digest = None
    try:
        data = task.source if isinstance(task.source, bytes) else read_file(task.source, name=task.name)
        digest = hashlib.sha256(data).digest()[:DIGEST_BYTES].hex()
        picture = preprocessing.open(data, name=task.name)
        return Decoded(preprocessing.pixels(picture), digest, picture.size)
    except ImageError as error:
        return Decoded(error, digest)


def _cannot_start(reason: str) -> CaptionerError:
    return CaptionerError(
        f"Processes that decode pictures must be able to start, but they cannot ({reason}); "
        "check the installation and the system's limits on processes, files and memory."
    )
