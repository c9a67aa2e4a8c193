"""Many pictures: one answer for each, in their order, whatever happens to them."""

from __future__ import annotations

import itertools
import pathlib
import threading
import tracemalloc
from collections.abc import Iterable, Sequence

import pytest

from captioner.data.listing import Item
from captioner.inference.bulk import Captioned, Stages, caption_all, caption_items
from tests.stages import Decoding, Describing, items


class Memory:
    """A destination that keeps answers in a list."""

    def __init__(self, done: Iterable[str] = ()) -> None:
        self.answers: list[Captioned] = []
        self._done = set(done)

    def done(self, item: Item) -> bool:
        return item.name in self._done

    def write(self, batch: Sequence[Captioned]) -> Sequence[Captioned]:
        self.answers += batch
        return batch


def run(count: int, **options) -> list[Captioned]:
    settings = {"decoding": Decoding(), "describing": Describing(), "batch_size": 4, "filled": True, **options}
    return list(itertools.chain.from_iterable(caption_items(items(count), **settings)))


def told(answers: Iterable[Captioned]) -> list[tuple[str, str | None]]:
    return [(answer.item.name, answer.caption.text) for answer in answers]


@pytest.mark.parametrize("count", [0, 1, 4, 5, 50])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 64])
def test_every_item_has_one_answer_in_its_place(count: int, batch_size: int) -> None:
    assert told(run(count, batch_size=batch_size)) == [
        (f"pictures/{number}.png", None if number % 7 == 3 else f"Number {number}.") for number in range(count)
    ]


def test_what_is_broken_says_why() -> None:
    broken = run(4)[3]
    assert broken.caption.error == "pictures/3.png is broken."
    assert broken.caption.error_kind == "damaged"
    assert broken.digest is not None


def test_broken_pictures_take_no_place_in_a_batch() -> None:
    describing = Describing()
    run(14, describing=describing, batch_size=4)
    assert describing.batches == [4, 4, 4]  # twelve good ones


def test_filled_batches_are_all_of_one_size() -> None:
    describing = Describing()
    run(6, describing=describing, batch_size=4)
    assert describing.batches == [4, 4]
    describing = Describing()
    run(6, describing=describing, batch_size=4, filled=False)
    assert describing.batches == [4, 1]


IN_FLIGHT = 7
"""Batches: one that was given, one in each of three stages, and one that waits after each."""


def test_items_are_asked_for_only_as_they_are_needed() -> None:
    decoding = Decoding()
    answers = caption_items(items(10**9), decoding=decoding, describing=Describing(), batch_size=4, filled=True)
    next(answers)
    answers.close()
    assert decoding.taken <= IN_FLIGHT * 5  # every fifth is broken


def test_closing_leaves_no_thread() -> None:
    before = threading.active_count()
    answers = caption_items(items(10**9), decoding=Decoding(), describing=Describing(), batch_size=4, filled=True)
    next(answers)
    answers.close()
    assert threading.active_count() == before


def test_a_stop_finishes_what_is_in_the_stages_and_no_more() -> None:
    asked = threading.Event()
    answers = []
    for batch in caption_items(
        items(10**9), decoding=Decoding(), describing=Describing(), batch_size=4, filled=True, stop=asked.is_set
    ):
        answers += batch
        asked.set()
    assert told(answers) == told(run(len(answers)))
    assert len(answers) <= IN_FLIGHT * 5


def test_what_a_stage_raises_reaches_the_caller() -> None:
    class Exhausted(Describing):
        def describe(self, encoded):
            raise MemoryError("no more")

    with pytest.raises(MemoryError, match="no more"):
        run(20, describing=Exhausted())


def test_what_is_done_is_not_done_again() -> None:
    memory = Memory(done=["pictures/0.png", "pictures/5.png"])
    skipped = []
    settings = {"decoding": Decoding(), "describing": Describing(), "batch_size": 4, "filled": True}
    list(caption_all(items(8), memory, skipped=skipped.append, **settings))
    assert [answer.item.name for answer in memory.answers] == [
        f"pictures/{number}.png" for number in (1, 2, 3, 4, 6, 7)
    ]
    assert [item.name for item in skipped] == ["pictures/0.png", "pictures/5.png"]


def test_a_limit_counts_what_is_done_now() -> None:
    memory = Memory(done=["pictures/0.png"])
    settings = {"decoding": Decoding(), "describing": Describing(), "batch_size": 4, "filled": True}
    list(caption_all(items(100), memory, limit=3, **settings))
    assert [answer.item.name for answer in memory.answers] == [f"pictures/{number}.png" for number in (1, 2, 3)]


def test_a_batch_is_written_before_it_is_told_of() -> None:
    memory = Memory()
    settings = {"decoding": Decoding(), "describing": Describing(), "batch_size": 4, "filled": True}
    for batch in caption_all(items(20), memory, **settings):
        assert memory.answers[-len(batch) :] == list(batch)


def test_memory_does_not_grow_with_the_pictures() -> None:
    # The table of interned strings, where pathlib keeps names, doubles now and then.
    but_names = tracemalloc.Filter(inclusive=False, filename_pattern=pathlib.__file__)
    taken = []
    tracemalloc.start()
    try:
        answers = caption_items(items(6_000), decoding=Decoding(), describing=Describing(), batch_size=64, filled=True)
        for number, _ in enumerate(answers):
            if number in (10, 80):
                traces = tracemalloc.take_snapshot().filter_traces([but_names]).traces
                taken.append(sum(trace.size for trace in traces))
    finally:
        tracemalloc.stop()
    assert taken[1] - taken[0] < 50_000  # bytes, over 4,480 pictures; one record alone is 200


def test_each_stage_knows_how_long_it_was_busy() -> None:
    stages = Stages()
    run(8, describing=Describing(seconds=0.02), stages=stages)
    assert stages.encode >= 0.04
    assert stages.decode > 0
    assert stages.search > 0
