"""A contestant: a task in a fresh process of its own, held to so many processors, that runs a lap when it is told to.

    with Contestant("peers:blip", threads=2, pictures=paths) as blip:
        lap = blip.lap(batch_size=8)

The task is a function of a module of this folder. It is called once with the settings, untimed, and gives the
function that runs a lap; settings, arguments and answers are JSON. Between laps the process only waits, so that
contestants of one section can take turns.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple, Self

from captioner.errors import CaptionerError


class Lap(NamedTuple):
    """One lap."""

    seconds: float
    """On the clock."""
    processor_seconds: float
    """Of the process, all its threads together."""
    answer: Any


class Contestant:
    """The parent's end of the process; use it in a `with` block, which ends it."""

    def __init__(self, task: str, *, threads: int, **settings: Any) -> None:
        """Returns when the task is ready. Raises CaptionerError with its sentence when it cannot be."""
        self._task = task
        with on_processors(threads):
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"captioner.{__name__.removeprefix('captioner.')}", task, str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=held(threads),
                text=True,
            )
        try:
            self._ask(settings)
        except BaseException:
            self.close()
            raise

    def lap(self, **arguments: Any) -> Lap:
        """Run one lap. Raises CaptionerError when the process fails."""
        return Lap(**self._ask(arguments))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _ask(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(arguments) + "\n")
            self._process.stdin.flush()
            reply = json.loads(self._process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError) as error:
            raise CaptionerError(f"The process that times {self._task} ended; standard error says why.") from error
        if isinstance(reply, str):
            raise CaptionerError(reply)
        answer: dict[str, Any] = reply
        return answer


def held(threads: int) -> dict[str, str]:
    """The environment of a process that may use so many threads, and no network."""
    return {
        **os.environ,
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }


@contextmanager
def on_processors(threads: int) -> Iterator[None]:
    """Programs started in here are held to the first so many processors that this one may use, where Linux runs."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(ours)[:threads])  # of this thread, and what it starts inherits it
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)


def _serve(task: str, threads: int) -> None:
    """The child's end: one line of JSON in, one out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is no reply
    import torch

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # random weights make numbers so small that processors turn slow
    module, name = task.split(":")
    lap: Callable[..., Any] | None = None
    for line in sys.stdin:
        arguments = json.loads(line)
        try:
            if lap is None:
                lap = getattr(import_module(f".{module}", __package__), name)(**arguments)
                reply: Any = {}
            else:
                reply = _timed(lap, arguments)
        except CaptionerError as error:
            reply = str(error)
        print(json.dumps(reply), file=replies, flush=True)


def _timed(lap: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    began, processor_began = time.perf_counter(), time.process_time()
    answer = lap(**arguments)
    seconds, processor_seconds = time.perf_counter() - began, time.process_time() - processor_began
    return Lap(seconds, processor_seconds, answer)._asdict()


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
