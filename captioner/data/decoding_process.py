"""A process that decodes pictures, seen from outside: starting it, handing it pictures, and learning how it ended."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from captioner.data.decoding_desk import HEADER, Desk, nameless_file
from captioner.data.images import printable
from captioner.data.preprocessing import Pixels, Preprocessing
from captioner.errors import ImageError

DESKS = 2
"""A process has a second picture before it while it decodes the first, so that it need not wait for us."""

# It imports from where we do, and from nowhere else: a folder of pictures is no place to import from.
_PROGRAM = """
import json, sys
sys.path = json.loads(sys.argv[1])
from captioner.data.decoding_worker import main
main()
"""


@dataclass(frozen=True)
class Limits:
    """What one picture may cost, and how long a process serves."""

    seconds: float
    """Of processor time for one picture, reading and decoding; the kernel ends the process that exceeds it."""
    megabytes: int
    """Of memory above what a fresh process has."""
    patience: float
    """Seconds on the clock for one picture, because a disk that hangs uses no processor time."""
    pictures: int
    """After so many a process is replaced, and with it whatever the decoders have left in its memory."""


@dataclass(frozen=True)
class Decoded:
    """What became of one picture."""

    pixels: Pixels | ImageError
    """As `Preprocessing.read` gives them, or why there are none."""
    digest: str | None
    """The first 16 hexadecimal digits of the SHA-256 of the picture's file; None if it could not be read."""
    shape: tuple[int, int] | None = None
    """Width and height of the picture before it became a square, upright, in pixels; of a large JPEG, which is decoded
    at a fraction of its size, that fraction's. None where there are no pixels."""


@dataclass(eq=False)
class Task:
    """One picture to decode; `decoded` is None until it is."""

    name: str
    source: Path | bytes
    decoded: Decoded | None = None


class DecodingProcess:
    """A process and the tasks it was given, first come, first served. Raises OSError when there can be none."""

    def __init__(self, preprocessing: Preprocessing, limits: Limits) -> None:
        self.tasks: deque[Task] = deque()
        self.sent = 0
        self.is_ready = False
        self.deadline = 0.0
        """When the first task must be answered, on the monotonic clock."""
        self.complaint = ""
        """Why it ended before it was ready, in a few words."""
        self._received = 0
        self._limits = limits
        self._is_overdue = False
        with contextlib.ExitStack() as undo:
            self._complaints = undo.enter_context(tempfile.TemporaryFile())
            self._desks = []
            for _ in range(DESKS):
                self._desks.append(Desk(nameless_file(), size=preprocessing.size))
                undo.callback(os.close, self._desks[-1].file)
            self._process = self._start(preprocessing)
            self._close_files = undo.pop_all().close

    def _start(self, preprocessing: Preprocessing) -> subprocess.Popen[bytes]:
        files = [desk.file for desk in self._desks]
        settings = {
            "size": preprocessing.size,
            "mean": preprocessing.mean,
            "std": preprocessing.std,
            "seconds": self._limits.seconds,
            "megabytes": self._limits.megabytes,
            "desks": files,
        }
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, json.dumps([str(path) for path in sys.path]), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            bufsize=0,
            pass_fds=files,
            process_group=0,  # Ctrl-C on a terminal is for us alone
            env=os.environ | {"OMP_NUM_THREADS": "1"},  # NumPy would keep memory for threads that have nothing to do
        )

    @property
    def replies(self) -> int:
        """The descriptor that can be read when there is an answer, or the process has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def send(self, task: Task) -> None:
        """Hand over a task, when fewer than `DESKS` are. Raises BrokenPipeError when the process has ended."""
        assert self._process.stdin is not None
        header = self._desks[self.sent % DESKS].put_request(task.name, task.source)
        self._process.stdin.write(header)
        self.sent += 1
        if not self.tasks:
            self.deadline = time.monotonic() + self._limits.patience
        self.tasks.append(task)

    def receive(self) -> bool:
        """Take back what is ready; False when the process has ended or talks nonsense."""
        header = os.read(self.replies, HEADER.size)
        if len(header) < HEADER.size:
            return False
        if header == HEADER.pack(0, 0):
            self.is_ready = True
            return True
        desk = self._desks[self._received % DESKS]
        try:
            pixels, shape = desk.take_reply(header)
            decoded = Decoded(pixels, desk.digest(), shape)
        except ValueError:
            return False
        self._received += 1
        self.tasks.popleft().decoded = decoded
        self.deadline = time.monotonic() + self._limits.patience
        return True

    def has_ended(self) -> bool:
        """Whether the process is no more."""
        return self._process.poll() is not None

    def give_up(self) -> None:
        """Note that its first task has taken too long on the clock; `fail` then says so."""
        self._is_overdue = True

    def fail(self) -> None:
        """End it, if it has not ended: the task it was at is lost and says why, those behind it are left.

        Of a process that was never ready all tasks are left, and `complaint` says why it was not.
        """
        self.kill()
        self._reap()
        if not self.is_ready:
            self.complaint = self._complaint()
        elif self.tasks:
            digest = self._desks[self._received % DESKS].digest()
            task = self.tasks.popleft()
            task.decoded = Decoded(self._obituary(task.name), digest)
        self.end()

    def kill(self) -> None:
        """End it; may be called from another thread."""
        self._process.kill()

    def end(self) -> None:
        """End it and let go of all that belongs to it."""
        self.kill()
        self._reap()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._close_files()

    def _reap(self) -> None:
        # Only a disk that hangs keeps a killed process alive; it ends when the disk answers.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1)

    def _obituary(self, name: str) -> ImageError:
        name, code = printable(name), self._process.returncode
        if self._is_overdue:
            return ImageError(
                f"{name} must be read and decoded within {self._limits.patience:g} seconds, but it was not; "
                "look whether its disk answers.",
                kind="too slow",
            )
        if code == -signal.SIGPROF:
            return ImageError(
                f"{name} must be decoded within {self._limits.seconds:g} seconds of processor time, but it took "
                "longer; save it again in another program, or leave it out.",
                kind="too slow",
            )
        how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        return ImageError(
            f"{name} must be decoded without harm, but the process at work on it died ({how}); leave it out.",
            kind="died",
        )

    def _complaint(self) -> str:
        if self._is_overdue:
            return f"it was silent for {self._limits.patience:g} seconds"
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {self._process.returncode}")
