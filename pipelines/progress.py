"""How far a long run is: on a terminal a bar that moves, in a log a line now and then."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import timedelta

_SECONDS_BETWEEN_LINES = 30.0
_SECONDS_OF_RATE = 20.0


class RunProgress:
    """Counts pictures as they are answered, and tells about them on standard error. A context manager."""

    def __init__(self, *, total: Callable[[], int | None] | None, limit: int | None = None, shown: bool) -> None:
        """`total` counts all pictures of the run, however long that takes; None: nobody can know.

        At most `limit` of them will be answered, those done before not counted; None: all. How far the run is is told
        only if it is to be `shown`.
        """
        self.captioned = 0
        self.skipped = 0
        self.errors: Counter[str] = Counter()
        self._began = self._told = time.monotonic()
        self._recent: list[tuple[float, int]] = [(self._began, 0)]
        self._shown = shown
        self._limit = limit
        self._total: int | None = None
        if total is not None:
            threading.Thread(target=self._count, args=[total], name="counting", daemon=True).start()
        self._bar = _bar() if shown and sys.stderr.isatty() else None
        self._task = None if self._bar is None else self._bar.add_task("Beginning", total=None)

    def __enter__(self) -> "RunProgress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def answered(self) -> int:
        """How many pictures this run has dealt with, whether they could be captioned or not."""
        return self.captioned + self.errors.total()

    def skip(self) -> None:
        """A picture was done before."""
        self.skipped += 1

    def add(self, error_kinds: Iterable[str | None]) -> None:
        """Pictures were answered: None for each that has its caption."""
        for kind in error_kinds:
            if kind is None:
                self.captioned += 1
            else:
                self.errors[kind] += 1
        self._recent.append((time.monotonic(), self.answered))
        while self._recent[-1][0] - self._recent[0][0] > _SECONDS_OF_RATE and len(self._recent) > 2:
            self._recent.pop(0)
        self._tell()

    def say(self, sentence: str) -> None:
        """Tell something in passing."""
        if self._bar is None:
            print(f"captioner: {sentence}", file=sys.stderr)
        else:
            self._bar.console.print(f"captioner: {sentence}", markup=False, highlight=False, soft_wrap=True)

    def summary(self) -> str:
        """The whole run in a sentence."""
        seconds = time.monotonic() - self._began
        sentence = f"{self.captioned:,} pictures captioned" if self.captioned != 1 else "1 picture captioned"
        if self.errors:
            sentence += f", {self._failures()}"
        sentence += f", in {_duration(seconds)}"
        if self.answered > 1:
            sentence += f" ({self.answered / seconds:.1f} a second)"
        if self.skipped:
            sentence += f"; {self.skipped:,} were done before"
        return f"{sentence}."

    def _tell(self) -> None:
        now = time.monotonic()
        if self._bar is not None:
            assert self._task is not None, "a bar has its task"
            done, left = self.answered + self.skipped, self._left()
            total = None if left is None else done + left
            self._bar.update(self._task, completed=done, total=total, description=self._state())
        elif self._shown and now - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = now
            self.say(self._state())

    def _state(self) -> str:
        (began, before), (now, answered) = self._recent[0], self._recent[-1]
        rate = (answered - before) / max(now - began, 1e-9)
        parts = [f"{self.answered + self.skipped:,} done"]
        if (left := self._left()) is not None:
            parts += [f"{left:,} left", f"{rate:.1f} a second", f"{_duration(left / max(rate, 1e-9))} to go"]
        else:
            parts.append(f"{rate:.1f} a second")
        if self.errors:
            parts.append(self._failures())
        return ", ".join(parts)

    def _left(self) -> int | None:
        """How many pictures are still to be answered; None while that is not known."""
        if self._total is None:
            return None
        left = max(0, self._total - self.answered - self.skipped)
        return left if self._limit is None else min(left, self._limit - self.answered)

    def _failures(self) -> str:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.errors.most_common())
        return f"{self.errors.total():,} not ({kinds})"

    def _count(self, total: Callable[[], int | None]) -> None:
        self._total = total()


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(min(seconds, 10**9))))


def _bar():  # type: ignore[no-untyped-def]  # rich is imported only where there is a terminal
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    return Progress(BarColumn(bar_width=24), TextColumn("{task.description}"), console=Console(stderr=True))
