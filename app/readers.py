"""Pictures that strangers send, read by processes that may die and never by the page itself."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from queue import LifoQueue

from PIL import Image

from captioner.data.decoding import Decoders
from captioner.data.preprocessing import Pixels, Preprocessing
from captioner.errors import ImageError

_PATIENCE = 20.0
"""Seconds on the clock for one picture, of which others wait for the same process."""


@dataclass(frozen=True)
class _Upload:
    """A file under the name that its sender knows, which is all that sentences tell of where it lies."""

    source: Path

    @property
    def name(self) -> str:
        return self.source.name


class Readers:
    """A few processes for each preprocessing, started when they are needed; may be called from any thread."""

    def __init__(self, *, processes: int) -> None:
        self._processes = processes
        # The last to be given back goes first, so that another process is started only where two read at a time.
        self._free: dict[Preprocessing, LifoQueue[Decoders]] = {}
        self._all: list[Decoders] = []
        self._hiring = threading.Lock()

    def pixels(self, picture: Path, preprocessing: Preprocessing) -> Pixels:
        """A file as the encoder takes it. Raises ImageError."""
        return self._read(picture, preprocessing)[0]

    def view(self, picture: Path, *, side: int) -> Image.Image:
        """A file as people look at it: upright, RGB, and scaled down to sides of at most `side`. Raises ImageError."""
        square, (width, height) = self._read(picture, Preprocessing(side, (0.0,) * 3, (1.0,) * 3))
        scale = min(1.0, side / max(width, height))
        shape = (max(1, round(width * scale)), max(1, round(height * scale)))
        return Image.fromarray(square.transpose(1, 2, 0)).resize(shape, Image.Resampling.BICUBIC)

    def close(self) -> None:
        """End the processes; whoever waits for one is told with a CaptionerError."""
        with self._hiring:
            for decoders in self._all:
                decoders.close()

    def _read(self, picture: Path, preprocessing: Preprocessing) -> tuple[Pixels, tuple[int, int]]:
        free = self._hired(preprocessing)
        decoders = free.get()
        try:
            [(_, decoded)] = decoders.decode([_Upload(picture)])
        finally:
            free.put(decoders)
        if isinstance(decoded.pixels, ImageError):
            raise decoded.pixels
        assert decoded.shape is not None
        return decoded.pixels, decoded.shape

    def _hired(self, preprocessing: Preprocessing) -> LifoQueue[Decoders]:
        with self._hiring:
            if preprocessing not in self._free:
                hired = [Decoders(preprocessing, workers=1, patience=_PATIENCE) for _ in range(self._processes)]
                self._all += hired
                self._free[preprocessing] = LifoQueue()
                for decoders in hired:
                    self._free[preprocessing].put(decoders)
            return self._free[preprocessing]
