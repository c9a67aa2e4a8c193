"""Many pictures of one visitor: which they are, what was said of each, and what was corrected by hand."""

from __future__ import annotations

import math
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

from captioner.data.listing import Item
from captioner.errors import ImageError
from captioner.inference.bulk import Captioned
from captioner.inference.caption import Caption
from captioner.inference.records import Record, RecordStyle

LONGEST_CAPTION = 1000
"""In letters; what is corrected by hand is cut there."""


@dataclass
class Picture:
    """One picture: a file in the batch's folder, or why there is none."""

    name: str
    """The visitor's name for it, the only one of its kind in the batch; `holiday.zip/beach.jpg` in an archive."""
    source: Path | ImageError
    done: bool = False
    """Whether it needs no captioning any more."""
    caption: Caption | None = None
    """What the model said last, or why nothing; None as long as nobody asked it."""
    made_by: Record | None = None
    """How that came about, as records tell it."""
    digest: str | None = None
    """As in `captioner.inference.bulk.Captioned`."""
    thumbnail: Path | None = None
    edited: str | None = None
    """The caption that a person wrote."""

    @property
    def text(self) -> str | None:
        """The caption as it stands; None if there is none."""
        return self.edited or (self.caption.text if self.caption else None)

    @property
    def failed(self) -> bool:
        """Whether it could not be captioned."""
        return self.caption is not None and self.caption.error is not None

    def record(self) -> Record:
        """What `captioner caption` writes of it, once the model was asked.

        A caption written by hand has no confidence, and its origin says `edited`.
        """
        assert self.caption is not None
        assert self.made_by is not None
        captioned = Captioned(Item(self.name, PurePosixPath(self.name), self.source), self.caption, self.digest)
        record = RecordStyle(self.made_by).record(captioned)
        if self.edited is None:
            return record
        by_hand = {"made_by": {**self.made_by, "edited": True}, "confidence": None}
        return {**record, "caption": self.edited, **by_hand}


@dataclass
class Batch:
    """Pictures in the order they came, in a folder of their own.

    One thread at a time may caption them; others may add pictures and edit captions meanwhile.
    """

    folder: Path
    room: Callable[[], float] = lambda: math.inf
    """Says how many more bytes may be kept, of all visitors' files."""
    pictures: list[Picture] = field(default_factory=list)
    wanted: bool = False
    """Whether captions are wanted; whoever captions ends after the pictures at hand when they are no more."""
    discarded: bool = False
    """Whether the visitor wants nothing of it any more."""
    downloading: threading.Lock = field(default_factory=threading.Lock)
    """Held while a download is written, in the place of the one before."""
    _captioning: threading.Lock = field(default_factory=threading.Lock)

    @property
    def done(self) -> int:
        """How many need no captioning any more."""
        return sum(picture.done for picture in self.pictures)

    @property
    def failed(self) -> int:
        """How many could not be captioned."""
        return sum(picture.failed for picture in self.pictures)

    def begin(self) -> bool:
        """Take the right to caption; False if another thread has it. Whoever took it calls `end`."""
        # One that is about to end is waited for: it may have seen fewer pictures.
        return self._captioning.acquire(timeout=1)

    def end(self) -> None:
        """Let others caption."""
        self._captioning.release()

    def undone(self, most: int) -> list[Picture]:
        """The first of the pictures that are to be captioned."""
        return list(islice((picture for picture in self.pictures if not picture.done), most))

    def forget(self) -> None:
        """Let every picture be captioned anew, but for those whose caption was corrected."""
        for picture in self.pictures:
            picture.done = picture.edited is not None

    def edit(self, place: int, text: str) -> None:
        """Correct the caption of a picture that has one; its own, or none, takes the correction back."""
        if 0 <= place < len(self.pictures) and (picture := self.pictures[place]).text is not None:
            assert picture.caption is not None
            text = " ".join(text.split())[:LONGEST_CAPTION]
            picture.edited = text if text and text != picture.caption.text else None

    def records(self) -> list[Record]:
        """The records of all that the model was asked about, in the order they came."""
        return [picture.record() for picture in self.pictures if picture.caption is not None]

    def discard(self) -> None:
        """Stop, and delete the files."""
        self.wanted, self.discarded = False, True
        shutil.rmtree(self.folder, ignore_errors=True)
