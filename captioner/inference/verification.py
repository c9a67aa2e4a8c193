"""Captioning again from records: which pictures have changed since, and which captions would be different now."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

from captioner.data.listing import Item, item_again
from captioner.inference.bulk import Captioned, Decoding, Describing, caption_items
from captioner.inference.records import Record

Encoded = TypeVar("Encoded")

Verdict = Literal["same", "gone", "picture changed", "caption changed", "numbers changed", "error changed"]
"""What became of a record: nothing; its picture cannot be read any more; the picture's file is another; the same file
gets another caption; the same caption, with another probability or confidence; what could not be captioned can be, or
the other way about."""

_CLOSE = 1e-3
"""Two runs on different machines may differ in the last digits."""


@dataclass(frozen=True)
class Verified:
    """One record and what became of it."""

    record: Record
    verdict: Verdict
    detail: str = ""
    """What is there now, where that differs."""


def verify(
    records: Iterable[Record],
    *,
    decoding: Decoding,
    describing: Describing[Encoded],
    batch_size: int,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Verified]:
    """Caption the picture of every record again, and compare.

    All records must have been made with the settings that `describing` has. In order, a batch at a time; when `stop`
    says yes, what is at hand still comes.
    """
    waiting: deque[Record] = deque()

    def items() -> Iterator[Item]:
        for record in records:
            waiting.append(record)
            yield item_again(record["path"])

    answers = caption_items(
        items(), decoding=decoding, describing=describing, batch_size=batch_size, filled=True, stop=stop
    )
    with contextlib.closing(answers):
        for captioned in itertools.chain.from_iterable(answers):
            yield _compare(waiting.popleft(), captioned)


def _compare(record: Record, now: Captioned) -> Verified:
    found_before, found_now = bool(record["candidates"]), bool(now.caption.candidates)
    told = now.caption.text or now.caption.error or ""
    if record["digest"] is not None and now.digest is None:
        return Verified(record, "gone", told)
    if record["digest"] is not None and now.digest != record["digest"]:
        return Verified(record, "picture changed", told)
    if found_before != found_now:
        return Verified(record, "error changed", told)
    if not found_now:
        return Verified(record, "same")
    before, first = record["candidates"][0], now.caption.candidates[0]
    if before["text"] != first.text:
        return Verified(record, "caption changed", first.text)
    numbers = [
        ("log-probability", before["log_probability"], first.log_probability),
        ("confidence", record["confidence"] or 0.0, now.caption.confidence or 0.0),
    ]
    differ = [f"{name} {then:.3f}, now {today:.3f}" for name, then, today in numbers if abs(then - today) >= _CLOSE]
    return Verified(record, "numbers changed", "; ".join(differ)) if differ else Verified(record, "same")
