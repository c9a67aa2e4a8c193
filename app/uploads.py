"""What visitors have sent, in one private folder: how much of it there is, and when it goes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import gradio as gr
from gradio.utils import get_upload_folder

from .limits import Limits

NO_LONGER_KEPT = "The picture must still be here, but it is no longer kept; choose it again."
"""What visitors are told of an upload that was deleted, as all are after a while."""

_LOGGER = logging.getLogger(__name__)

FILE = "file="
"""What comes before a file's path in the address that Gradio serves it under."""

_MEGABYTE = 1_000_000
# Of what Gradio keeps: that much later we delete, so that it finds all the files it knows of, and that often we look.
_LATER = 1.2
_BETWEEN_SWEEPS = 0.1
# To count ten thousand uploads takes a processor 0.13 seconds.
_SECONDS_COUNTED = 10


def gradio_keeps(limits: Limits) -> int:
    """Seconds after which Gradio may delete, so that nothing is there any more when our last sweep is done."""
    return round(limits.kept_seconds / (_LATER + _BETWEEN_SWEEPS))


class Upload(NamedTuple):
    """A file that came."""

    path: Path
    name: str
    """As the visitor's browser called it; anybody may have written it."""


def uploads(payload: Any) -> list[Upload]:
    """The files that came, which Gradio has already found to be uploaded ones."""
    came = payload.root if hasattr(payload, "root") else [payload] if payload is not None else []
    if any(file.path is None for file in came):
        raise gr.Error(
            "Pictures must come as files, but one came inside its address; upload it.", print_exception=False
        )
    return [Upload(Path(file.path), file.orig_name or Path(file.path).name) for file in came]


def uploads_here(limits: Limits) -> Uploads:
    """Those of the page that runs in this process."""
    return Uploads(Path(get_upload_folder()), limits)


class Uploads:
    """Gradio's folder of uploads and of what it copies for display."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder = folder.resolve()
        self.limits = limits
        self._kept = gradio_keeps(limits)
        self._allowed = limits.stored_megabytes * _MEGABYTE
        self._between_sweeps = _BETWEEN_SWEEPS * self._kept
        self._coming = 0
        self._counted = 0
        """Bytes that were stored when they were last counted, and all that came since; counting reads the folder."""
        self._count_anew = -math.inf
        """When they are counted again at the latest, by `time.monotonic`."""

    def holds(self, path: str) -> bool:
        """Whether a path, as written, leads into the folder and nowhere else."""
        parts = Path(path).parts
        return "\0" not in path and ".." not in parts and Path(path).is_relative_to(self.folder)

    async def find(self, address: str, cache_dir: str) -> str:
        """The uploaded file that an address on this page names, found without a request.

        Takes the place of Gradio's function that fetches. Raises gradio.Error when the address names none.
        """
        path = unquote(urlsplit(address).path.partition(FILE)[2])
        if self.holds(path) and Path(path).is_file():
            return path
        raise gr.Error("A picture must be sent as a file; no address is looked up.", print_exception=False)

    def have_room(self, length: int) -> bool:
        """Whether so many more bytes may come, beside those that are stored or awaited.

        Of what is half there, that half counts twice, and what came twice may, too: then the folder is looked through
        before anybody is turned away. What the page itself put there is counted after some seconds.
        """
        if length > self._allowed:
            return False
        now = time.monotonic()
        if now >= self._count_anew or self._counted + self._coming + length > self._allowed:
            self._counted, self._count_anew = self._stored(), now + _SECONDS_COUNTED
        return self._counted + self._coming + length <= self._allowed

    def room(self) -> int:
        """How many more bytes the page itself may put there; the folder is looked through each time."""
        return max(0, self._allowed - self._coming - self._stored())

    @contextlib.contextmanager
    def awaited(self, length: int) -> Iterator[None]:
        """As long as the context lasts, nobody else gets the room for so many bytes."""
        self._coming += length
        try:
            yield
        finally:
            self._coming -= length
            self._counted += length

    def sweep(self) -> None:
        """Delete what came longer ago than 1.2 times what Gradio keeps, and folders that have been empty as long.

        Gradio's own `delete_cache` leaves behind each file's folder, and what a broken connection brought.
        """
        latest = time.time() - _LATER * self._kept
        for folder, _, names in os.walk(self.folder, topdown=False):
            for path in [*(Path(folder) / name for name in names), Path(folder)]:
                with contextlib.suppress(OSError):  # gone, or a folder that holds something
                    # The time of the last change of a file's place, since copies keep the age of their contents.
                    if path != self.folder and path.lstat().st_ctime < latest:
                        path.rmdir() if path.is_dir() else path.unlink()
        self._count_anew = -math.inf

    @contextlib.asynccontextmanager
    async def swept(self, _app: object) -> AsyncIterator[None]:
        """As long as the context lasts, nothing is kept longer than it may be."""

        async def sweep_on() -> None:
            while True:
                await asyncio.sleep(self._between_sweeps)
                try:
                    await asyncio.to_thread(self.sweep)
                except Exception:  # what went wrong once must not keep everything for ever
                    _LOGGER.exception("The uploads could not be swept.")

        sweeping = asyncio.create_task(sweep_on())
        try:
            yield
        finally:
            sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sweeping

    def _stored(self) -> int:
        """How many bytes the folder's files have, each counted once under however many names."""
        sizes: dict[tuple[int, int], int] = {}
        waiting = [str(self.folder)]
        while waiting:
            with contextlib.suppress(FileNotFoundError), os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                        continue
                    with contextlib.suppress(FileNotFoundError):  # swept while we count
                        told = entry.stat(follow_symlinks=False)
                        sizes[told.st_dev, told.st_ino] = told.st_size
        return sum(sizes.values())
