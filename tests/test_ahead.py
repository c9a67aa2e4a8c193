import itertools
import threading
import time

import pytest

from captioner.inference.ahead import ahead


def test_everything_comes_in_order():
    assert list(ahead(iter(range(100)), 3)) == list(range(100))


def test_the_stage_runs_ahead_but_only_so_far():
    made = []
    stage = ahead((made.append(number) or number for number in itertools.count()), 3)
    next(stage)
    deadline = time.monotonic() + 5
    while len(made) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert made == [0, 1, 2, 3, 4]  # one taken, three waiting, one in hand
    stage.close()


def test_two_stages_overlap():
    """Two that wait for each other can only both be over if they run at the same time."""
    meeting = threading.Barrier(2, timeout=5)

    def first():
        yield 0
        meeting.wait()
        yield 1

    stage = ahead(first(), 1)
    next(stage)
    meeting.wait()
    assert next(stage) == 1
    stage.close()


def test_what_a_stage_raises_is_raised_in_its_place():
    def stage():
        yield 1
        raise ValueError("broken")

    taken = ahead(stage(), 5)
    assert next(taken) == 1
    with pytest.raises(ValueError, match="broken"):
        next(taken)


def test_closing_closes_the_stage_and_leaves_no_thread():
    closed = []

    def stage():
        try:
            yield from itertools.count()
        finally:
            closed.append(True)

    before = threading.active_count()
    taken = ahead(ahead(stage(), 2), 2)
    next(taken)
    taken.close()
    assert closed == [True]
    assert threading.active_count() == before
