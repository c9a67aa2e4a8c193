"""Many pictures: listed, decoded, encoded, searched, all at once, and one answer for each, in their order.

Whatever happens to a picture, an answer comes for it: a caption, or why there is none. Nothing here knows where
pictures come from or where answers go, nor does it import PyTorch.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from captioner.data.decoding import Decoded
from captioner.data.listing import Item
from captioner.data.preprocessing import Pixels
from captioner.errors import ImageError
from captioner.inference.ahead import ahead
from captioner.inference.caption import Caption

Encoded = TypeVar("Encoded")
Made = TypeVar("Made")

_BATCHES_AHEAD = 1
_ITEMS_IN_A_BATCH = 4
"""A batch is closed, however few of its pictures could be decoded, at so many times its size in items."""


@dataclass(frozen=True)
class Captioned:
    """One picture, answered."""

    item: Item
    caption: Caption
    digest: str | None
    """The beginning of the SHA-256 of its file; None where it could not be read."""


@dataclass
class Stages:
    """Seconds that each stage was busy, for pictures that went all the way."""

    decode: float = 0.0
    """Waiting for the processes that decode: more than nothing only where they are the slowest."""
    encode: float = 0.0
    search: float = 0.0
    write: float = 0.0


class Decoding(Protocol):
    """What is needed of `captioner.data.decoding.Decoders`."""

    def decode(self, sources: Iterable[Item]) -> Generator[tuple[Item, Decoded], None, None]:
        """Each item with its pixels or its error, in order, lazily."""
        ...


class Destination(Protocol):
    """What is needed of a place where answers go; `captioner.inference.destinations` has some."""

    def done(self, item: Item) -> bool:
        """Whether this picture needs no answer any more. Asked once for each, in order."""
        ...

    def write(self, batch: Sequence[Captioned]) -> Sequence[Captioned]:
        """Put answers where they belong; when this returns they are on the disk. Raises DataError.

        Gives them back, with an error for those that could not be put there.
        """
        ...


class Describing(Protocol[Encoded]):
    """What is needed of `captioner.inference.describer.Describer`."""

    def encode(self, pictures: Sequence[Pixels], *, filled_to: int = 0) -> Encoded:
        """At least one picture -> what the CNN makes of them."""
        ...

    def describe(self, encoded: Encoded) -> list[Caption]:
        """A caption for each picture."""
        ...


@dataclass
class _Batch(Generic[Encoded]):
    """Items that go through the stages together."""

    items: list[tuple[Item, Decoded]] = field(default_factory=list)
    pictures: list[Pixels] = field(default_factory=list)
    encoded: Encoded | None = None


def caption_all(
    items: Iterable[Item],
    destination: Destination,
    *,
    decoding: Decoding,
    describing: Describing[Encoded],
    batch_size: int,
    filled: bool,
    limit: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    stages: Stages | None = None,
    skipped: Callable[[Item], None] = lambda item: None,
) -> Generator[Sequence[Captioned], None, None]:
    """Answer every item that `destination` has no answer for, at most `limit` of them, and write the answers there.

    Yields each batch once it is written. The other arguments are those of `caption_items`. Raises DataError when
    answers cannot be written.
    """

    stages = stages or Stages()

    def wanted() -> Iterator[Item]:
        for item in items:
            if destination.done(item):
                skipped(item)
            else:
                yield item

    answers = caption_items(
        itertools.islice(wanted(), limit),
        decoding=decoding,
        describing=describing,
        batch_size=batch_size,
        filled=filled,
        stop=stop,
        stages=stages,
    )
    with contextlib.closing(answers):
        for batch in answers:
            began = time.perf_counter()
            written = destination.write(batch)
            stages.write += time.perf_counter() - began
            yield written


def caption_items(
    items: Iterable[Item],
    *,
    decoding: Decoding,
    describing: Describing[Encoded],
    batch_size: int,
    filled: bool,
    stop: Callable[[], bool] = lambda: False,
    stages: Stages | None = None,
) -> Generator[list[Captioned], None, None]:
    """The answers, a batch at a time, in the order of `items`; no item is asked for long before it is needed.

    `filled` batches are all of one size, so that an answer does not depend, even in its last digit, on which pictures
    came with it. When `stop` begins to say yes, what is in the stages still comes, and no more. Closing the
    generator ends its threads.
    """
    stages = stages or Stages()
    filled_to = batch_size if filled else 0
    with contextlib.ExitStack() as started:  # and closed in turn, the last first

        def closed(stage: Generator[Made, None, None]) -> Generator[Made, None, None]:
            return started.enter_context(contextlib.closing(stage))

        decoded = closed(decoding.decode(items))
        batches: Iterator[_Batch[Encoded]] = closed(ahead(_batches(decoded, batch_size, stop), _BATCHES_AHEAD))
        encoded = closed(ahead(_encoded(batches, describing, filled_to, stages), _BATCHES_AHEAD))
        yield from closed(ahead(_described(encoded, describing, stages), _BATCHES_AHEAD))


def _batches(
    decoded: Iterator[tuple[Item, Decoded]], batch_size: int, stop: Callable[[], bool]
) -> Iterator[_Batch[Encoded]]:
    batch: _Batch[Encoded] = _Batch()
    while not stop() and (pair := next(decoded, None)) is not None:
        batch.items.append(pair)
        if not isinstance(pair[1].pixels, ImageError):
            batch.pictures.append(pair[1].pixels)
        if len(batch.pictures) == batch_size or len(batch.items) == _ITEMS_IN_A_BATCH * batch_size:
            yield batch
            batch = _Batch()
    if batch.items and not stop():
        yield batch


def _encoded(
    batches: Iterator[_Batch[Encoded]], describing: Describing[Encoded], filled_to: int, stages: Stages
) -> Iterator[_Batch[Encoded]]:
    began = time.perf_counter()
    for batch in batches:
        decoded = time.perf_counter()
        if batch.pictures:
            batch.encoded = describing.encode(batch.pictures, filled_to=filled_to)
        stages.decode += decoded - began
        stages.encode += time.perf_counter() - decoded
        yield batch
        began = time.perf_counter()


def _described(
    batches: Iterator[_Batch[Encoded]], describing: Describing[Encoded], stages: Stages
) -> Iterator[list[Captioned]]:
    for batch in batches:
        began = time.perf_counter()
        captions = iter([] if batch.encoded is None else describing.describe(batch.encoded))
        stages.search += time.perf_counter() - began
        yield [Captioned(item, _caption(decoded, captions), decoded.digest) for item, decoded in batch.items]


def _caption(decoded: Decoded, captions: Iterator[Caption]) -> Caption:
    if isinstance(decoded.pixels, ImageError):
        return Caption(error=str(decoded.pixels), error_kind=decoded.pixels.kind)
    return next(captions)
