"""A page in a process of its own: started, timed, weighed and ended."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from captioner.errors import DataError

_PROGRAM = "from captioner.cli import main; main()"


class ServedPage:
    """`captioner demo --public` on a free port of this machine; a context manager that ends it."""

    def __init__(self, model: Path | None = None) -> None:
        """Returns when it can be asked. Raises DataError when it cannot be started."""
        self._folder = tempfile.TemporaryDirectory(prefix="captioner-load-")
        self._complaints = Path(self._folder.name) / "complaints.txt"
        options = [] if model is None else ["--model", str(model)]
        self.began = time.perf_counter()
        with self._complaints.open("wb") as complaints:
            self._program = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, "demo", "--public", *options],
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                env={name: value for name, value in os.environ.items() if name != "CAPTIONER_AUTH"},
            )
        assert self._program.stdout is not None
        found = re.match(r"The page is at (http://\S+/) ", self._program.stdout.readline())
        if found is None:
            complaints = " ".join(self.complaints().split()) or "without a word"
            self.end()
            raise DataError(
                f"A page must start to be asked, but it ended ({complaints}); start captioner demo and see."
            )
        self.address = found[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()

    def end(self) -> None:
        """End it, if it has not ended."""
        self._program.terminate()
        assert self._program.stdout is not None
        self._program.stdout.close()
        self._program.wait()
        self._folder.cleanup()

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._program.poll() is None

    def complaints(self) -> str:
        """What it has written on standard error."""
        return self._complaints.read_text(errors="replace")

    def megabytes(self) -> tuple[float, float]:
        """Of memory that is its own (RSS), and of it with the processes that it has started. Needs Linux."""
        families: dict[int, list[int]] = {}
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(status.read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has ended since
                continue
            families.setdefault(parent, []).append(int(status.parent.name))
        members, all_of_them = [self._program.pid], []
        while members:
            all_of_them.append(members.pop())
            members += families.get(all_of_them[-1], [])
        return megabytes(self._program.pid), sum(map(megabytes, all_of_them))


def megabytes(process: int) -> float:
    """Of memory that a process has to itself and shares (RSS); 0 when there is no such process. Needs Linux."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
