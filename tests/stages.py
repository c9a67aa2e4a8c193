"""Stand-ins for decoding and for the network, so that what is tested is the run alone: no PyTorch, no processes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from captioner.data.decoding import Decoded
from captioner.data.listing import Item
from captioner.data.preprocessing import Pixels
from captioner.errors import ImageError
from captioner.inference.caption import Candidate, Caption


def items(count: int) -> Iterator[Item]:
    """`0.png`, `1.png` and so on; every seventh is broken."""
    for number in range(count):
        yield Item(f"pictures/{number}.png", PurePosixPath(f"{number}.png"), Path(f"pictures/{number}.png"))


class Decoding:
    """A picture's pixels are all its number; every seventh, from 3 on, is broken."""

    def __init__(self) -> None:
        self.taken = 0

    def decode(self, sources: Iterable[Item]) -> Generator[tuple[Item, Decoded], None, None]:
        for item in sources:
            self.taken += 1
            number = int(Path(item.name).stem)
            digest = hashlib.sha256(item.name.encode()).hexdigest()[:16]
            if number % 7 == 3:
                yield item, Decoded(ImageError(f"{item.name} is broken.", kind="damaged"), digest)
            else:
                yield item, Decoded(np.full((3, 2, 2), number % 251, dtype=np.uint8), digest)


class Describing:
    """Says the number; `seconds` is what each batch takes."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.batches: list[int] = []
        self._seconds = seconds

    def encode(self, pictures: Sequence[Pixels], *, filled_to: int = 0) -> list[int]:
        self.batches.append(max(len(pictures), filled_to))
        time.sleep(self._seconds)
        return [int(picture[0, 0, 0]) for picture in pictures]

    def describe(self, encoded: list[int]) -> list[Caption]:
        return [
            Caption((Candidate(f"Number {number}.", -1.5, ("number", str(number))),), confidence=number / 251)
            for number in encoded
        ]
