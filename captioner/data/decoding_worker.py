"""What runs inside a process that decodes pictures for others, so that only it runs out of time or memory, or dies.

The kernel stops it: a timer of processor time for each picture, which ends the process even in the middle of a
decoder written in C, and a limit on its memory. `captioner.data.decoding` starts these processes and outlives them.
"""

import hashlib
import itertools
import json
import os
import signal
import sys
from pathlib import Path

from PIL import AvifImagePlugin

from captioner.data.decoding_desk import HEADER, Desk
from captioner.data.images import read_file
from captioner.data.limits import out_of_memory
from captioner.data.preprocessing import Preprocessing
from captioner.errors import ImageError


def main() -> None:
    """Decode the pictures that the standard input announces, until it ends. The settings are the second argument."""
    settings = json.loads(sys.argv[2])
    # Whoever started this process decides when it ends: Ctrl-C and a job system's signals may reach it as well.
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    replies = os.dup(1)
    preprocessing = Preprocessing.from_json(settings)
    desks = [Desk(file, size=preprocessing.size) for file in settings["desks"]]
    # Its threads would each take memory and processor time of their own; there is one process per processor.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    # What decoders written in C have to say about broken pictures is of no use to anybody.
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    _limit_memory(settings["megabytes"] * 1_000_000)
    os.write(replies, HEADER.pack(0, 0))
    for desk in itertools.cycle(desks):
        header = os.read(0, HEADER.size)
        if len(header) < HEADER.size:
            return
        signal.setitimer(signal.ITIMER_PROF, settings["seconds"])
        answer = _answer(desk, header, preprocessing)
        signal.setitimer(signal.ITIMER_PROF, 0)
        os.write(replies, answer)


def _answer(desk: Desk, header: bytes, preprocessing: Preprocessing) -> bytes:
    """Do what lies on the desk; the header of the reply."""
    name, source = desk.take_request(header)
    try:
        data = source if isinstance(source, bytes) else read_file(source, name=name)
        desk.put_digest(hashlib.sha256(data).digest())
        picture = preprocessing.open(data, name=name)
        return desk.put_pixels(preprocessing.pixels(picture), picture.size)
    except ImageError as error:
        return desk.put_error(error)
    except MemoryError:
        return desk.put_error(out_of_memory(name))


def _limit_memory(extra: int) -> None:
    """Refuse this process more than `extra` bytes above what it has now; where the system cannot tell, do nothing."""
    import resource  # there is none on Windows, where this process never runs

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        # Its sixth number: pages that are private and writable, which are what RLIMIT_DATA counts.
        pages = int(Path("/proc/self/statm").read_text().split()[5])
    except (OSError, IndexError, ValueError):
        return
    most = pages * resource.getpagesize() + extra
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
