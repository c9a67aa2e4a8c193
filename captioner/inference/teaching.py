"""How far a teaching is, in a file that others may read meanwhile: what it does now, how much of it is done, how long.

`captioner teach` writes it, a line whenever there is news; the page reads the last one. The file is locked as long as
the process lives, so that nobody takes a dead one for one that is at work.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from captioner.durable import Growing, is_being_written
from captioner.errors import DataError

FILE: Final = "progress.jsonl"
_SECONDS_BETWEEN_LINES = 1.0
_LONGEST_LINE = 65536

Stage = Literal["checking", "looking", "learning", "comparing", "calibrating", "done", "stopped", "failed"]


@dataclass(frozen=True)
class News:
    """What a teaching does now, or how it ended."""

    stage: Stage
    done: int = 0
    """Steps of this stage; of those of which `of` is 0 nobody knows how many there are."""
    of: int = 0
    seconds_left: float | None = None
    """At the pace so far, until this stage ends; it may end sooner."""
    sentence: str = ""
    """Why it failed."""
    process: int = 0
    """Who tells it, in the numbers of this machine."""


class Telling:
    """The file, open for one process at a time; close it, or use it in a `with` block."""

    def __init__(self, folder: Path) -> None:
        """Raises DataError when the folder cannot be written, or another process is teaching into it."""
        try:
            self._file = Growing(folder / FILE)
        except DataError as error:
            raise DataError(f"Only one process can teach into {folder} at a time, and it must be writable.") from error
        self._stage: Stage | None = None
        self._began = (0.0, 0)
        self._told = 0.0

    def tell(self, stage: Stage, *, done: int = 0, of: int = 0, sentence: str = "") -> None:
        """Write what is news: another stage at once, more of the same about once a second."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._began = stage, (now, done)
        elif now - self._told < _SECONDS_BETWEEN_LINES:
            return
        self._told = now
        began, before = self._began
        left = (now - began) / (done - before) * (of - done) if done > before else None
        news = News(stage, done, of, left, sentence, os.getpid())
        self._file.append(json.dumps(asdict(news), ensure_ascii=False).encode() + b"\n")

    def __enter__(self) -> Telling:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def latest(folder: Path) -> News | None:
    """What was told last; None when nothing was, or nothing that can be understood."""
    try:
        with (folder / FILE).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST_LINE))
            lines = file.read().split(b"\n")[:-1]  # what follows the last line's end is being written
        return News(**json.loads(lines[-1]))
    except (OSError, IndexError, ValueError, TypeError):
        return None


def is_at_work(folder: Path) -> bool:
    """Whether a living process is teaching into the folder."""
    return is_being_written(folder / FILE)
