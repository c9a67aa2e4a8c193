"""The desk: who is answered when, with whom, and that nobody's answer depends on it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from app.desk import TOGETHER, Asked, Desk
from app.turns import Turns
from captioner.errors import BusyError, CaptionerError, ConfigError, ImageError
from captioner.inference.captioner import Captioner
from captioner.inference.explanation import Explanation
from captioner.text.steering import Steering
from tests.conftest import tiny_model

# --- turns ----------------------------------------------------------------------------------------------


class Slow:
    """Answers in capitals, but only when it is let go on; notes what it was asked together."""

    def __init__(self) -> None:
        self.turns: list[tuple[str, str]] = []
        self.began = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)

    def __call__(self, wish: str, things: Sequence[str]) -> list[str]:
        self.turns.append((wish, "".join(things)))
        self.began.release()
        assert self.go_on.acquire(timeout=20)
        if "!" in things:
            raise RuntimeError("a fault of ours")
        return [thing.upper() for thing in things]


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def turns(slow: Slow) -> Iterator[Turns[str, str, str]]:
    turns: Turns[str, str, str] = Turns(slow, together=3, threads=1)
    yield turns
    slow.go_on.release(100)
    turns.close()


@pytest.fixture
def visitors() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as pool:
        yield pool


def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.002)


def in_order(
    turns: Turns[str, str, str], visitors: ThreadPoolExecutor, *questions: tuple[str, str]
) -> list[Future[list[str]]]:
    """Ask while the thread is busy with the first, so that all others wait in the order given."""
    asked = []
    for number, (wish, things) in enumerate(questions):
        asked.append(visitors.submit(turns.ask, wish, things))
        until(lambda waiting=number: len(turns._line) == waiting and len(turns._answer.turns) == 1)  # type: ignore[attr-defined, misc]
    return asked


def test_what_waits_is_answered_together_and_each_gets_its_own(
    turns: Turns[str, str, str], slow: Slow, visitors: ThreadPoolExecutor
) -> None:
    asked = in_order(turns, visitors, ("w", "a"), ("w", "b"), ("w", "c"), ("w", "d"), ("w", "e"))
    slow.go_on.release(100)
    assert [each.result(20) for each in asked] == [["A"], ["B"], ["C"], ["D"], ["E"]]
    assert slow.turns == [("w", "a"), ("w", "bcd"), ("w", "e")]


def test_other_wishes_are_not_answered_together_and_keep_their_place(
    turns: Turns[str, str, str], slow: Slow, visitors: ThreadPoolExecutor
) -> None:
    in_order(turns, visitors, ("w", "a"), ("w", "b"), ("x", "c"), ("w", "d"), ("x", "e"))
    slow.go_on.release(100)
    until(lambda: len(slow.turns) == 3)
    assert slow.turns == [("w", "a"), ("w", "bd"), ("x", "ce")]


def test_who_brings_many_lets_others_go_first_after_each_turn(
    turns: Turns[str, str, str], slow: Slow, visitors: ThreadPoolExecutor
) -> None:
    many, *_, last = in_order(turns, visitors, ("m", "abcdefgh"), ("s", "x"), ("s", "y"))
    slow.go_on.release(100)
    assert last.result(20) == ["Y"]
    assert many.result(20) == list("ABCDEFGH")
    assert slow.turns == [("m", "abc"), ("s", "xy"), ("m", "def"), ("m", "gh")]


def test_many_small_questions_do_not_keep_a_large_one_from_its_turn(
    turns: Turns[str, str, str], slow: Slow, visitors: ThreadPoolExecutor
) -> None:
    asked = in_order(turns, visitors, ("m", "abcdef"), *[("s", "x")] * 3)
    slow.go_on.release()
    until(lambda: len(slow.turns) == 2)
    late = [visitors.submit(turns.ask, "s", "z") for _ in range(3)]
    until(lambda: len(turns._line) == 4)
    slow.go_on.release(100)
    assert [each.result(20) for each in [asked[0], *late]] == [list("ABCDEF"), *[["Z"]] * 3]
    assert slow.turns == [("m", "abc"), ("s", "xxx"), ("m", "def"), ("s", "zzz")]


def test_a_fault_reaches_those_who_were_answered_together_and_the_next_are_answered(
    turns: Turns[str, str, str], slow: Slow, visitors: ThreadPoolExecutor
) -> None:
    first, harmed, too, well = in_order(turns, visitors, ("w", "a"), ("x", "!"), ("x", "b"), ("w", "c"))
    slow.go_on.release(100)
    for each in (harmed, too):
        with pytest.raises(RuntimeError, match="a fault of ours"):
            each.result(20)
    assert (first.result(20), well.result(20)) == (["A"], ["C"])


def test_nothing_asked_is_nothing_answered(turns: Turns[str, str, str]) -> None:
    assert turns.ask("w", "") == []


def test_closing_answers_what_is_begun_and_refuses_the_rest(slow: Slow, visitors: ThreadPoolExecutor) -> None:
    turns: Turns[str, str, str] = Turns(slow, together=3, threads=2)
    begun = visitors.submit(turns.ask, "w", "a")
    long = visitors.submit(turns.ask, "x", "abcd")
    until(lambda: len(slow.turns) == 2)
    waits = visitors.submit(turns.ask, "w", "b")
    until(lambda: len(turns._line) == 1)
    closing = visitors.submit(turns.close)
    for refused in (waits, visitors.submit(turns.ask, "w", "c")):
        with pytest.raises(CaptionerError, match="being closed"):
            refused.result(20)
    slow.go_on.release(100)
    closing.result(20)
    assert begun.result(20) == ["A"]
    with pytest.raises(CaptionerError, match="being closed"):
        long.result(20)


# --- the desk -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return Captioner(tiny_model())


@pytest.fixture
def desk(captioner: Captioner) -> Iterator[Desk]:
    with Desk({"m": captioner}, waiting=6) as desk:
        yield desk


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    paths = []
    for number in range(6):
        paths.append(folder / f"{number}.png")
        Image.fromarray(rng.integers(0, 256, (30 + number, 40, 3), dtype=np.uint8)).save(paths[-1])
    return paths


@pytest.fixture
def asked(captioner: Captioner) -> Asked:
    return Asked("m", captioner.search, candidates=2)


def held(desk: Desk, captioner: Captioner, monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, Mock]:
    """Let no search begin before the event is set."""
    event, search = threading.Event(), captioner.model.search

    def late(*given: Any, **named: Any) -> Any:
        assert event.wait(20)
        return search(*given, **named)

    watched = Mock(side_effect=late)
    monkeypatch.setattr(captioner.model, "search", watched)
    return event, watched


def all_at_once(
    desk: Desk, asked: Asked, paths: list[Path], visitors: ThreadPoolExecutor, search: Mock
) -> list[Future[Explanation]]:
    """Six questions, when each of the two threads is held in a search for one and the other four wait."""
    answers = []
    for number, path in enumerate(paths):
        answers.append(visitors.submit(desk.explain, path, asked))
        until(lambda asked=number + 1: search.call_count + len(desk._turns._line) == asked)  # type: ignore[misc]
    return answers


def test_answers_are_the_same_alone_and_in_company_and_company_saves_searches(
    desk: Desk,
    captioner: Captioner,
    asked: Asked,
    paths: list[Path],
    visitors: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = [desk.explain(path, asked) for path in paths]
    event, search = held(desk, captioner, monkeypatch)
    together = all_at_once(desk, asked, paths, visitors, search)
    event.set()
    for mine, ours in zip(alone, together, strict=True):
        assert ours.result(20).as_json() == mine.as_json()
        assert ours.result(20).caption == mine.caption
    assert search.call_count == 3
    assert [len(call.args[0]) for call in search.call_args_list] == [TOGETHER] * 3
    with_probabilities = [desk.describe(path, asked) for path in paths]
    assert with_probabilities == [each.caption for each in alone]
    for caption, explanation in zip(with_probabilities, alone, strict=True):
        assert caption.word_probabilities == tuple(word.probability for word in explanation.words)
    assert desk.caption(paths, asked) == [replace(each, word_probabilities=None) for each in with_probabilities]


def test_a_wish_that_cannot_be_granted_reaches_only_who_asked(desk: Desk, asked: Asked, paths: list[Path]) -> None:
    with pytest.raises(ConfigError, match="gryphon"):
        desk.explain(paths[0], replace(asked, steering=Steering(require=("gryphon",))))
    with pytest.raises(ConfigError, match="A model must be one of m"):
        desk.explain(paths[0], replace(asked, model="other"))
    assert desk.explain(paths[0], asked).text


def test_who_is_one_too_many_is_told_that_the_page_is_busy_and_a_moment_later_is_answered(
    captioner: Captioner,
    desk: Desk,
    asked: Asked,
    paths: list[Path],
    visitors: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    event, search = held(desk, captioner, monkeypatch)
    answered = all_at_once(desk, asked, paths, visitors, search)
    with pytest.raises(BusyError, match=r"at most 6 questions at a time.*try again in a moment"):
        desk.explain(paths[0], asked)
    begun = visitors.submit(desk.caption, paths[:1], asked)
    event.set()
    assert all(each.result(20).text for each in answered)
    assert begun.result(20)[0].text
    assert desk.explain(paths[0], asked).text


def test_what_cannot_be_read_is_named_as_its_sender_knows_it(desk: Desk, asked: Asked, paths: list[Path]) -> None:
    letter = paths[0].with_name("letter.jpg")
    letter.write_text("Dear reader, this is no picture.")
    for ask in (lambda: desk.explain(letter, asked), lambda: desk.view(letter)):
        with pytest.raises(ImageError, match=r"^letter\.jpg must be a JPEG") as told:
            ask()
        assert str(letter.parent) not in str(told.value)
    first, second = desk.caption([letter, paths[0]], asked)
    assert first.error is not None
    assert first.error.startswith("letter.jpg must be")
    assert first.error_kind == "not a picture"
    assert second == replace(desk.describe(paths[0], asked), word_probabilities=None)


def test_pictures_are_never_decoded_in_the_page_itself(
    desk: Desk, asked: Asked, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("PIL.Image.open", Mock(side_effect=AssertionError("the page decodes")))
    assert desk.explain(paths[0], asked).text
    assert desk.view(paths[0]).size == (40, 30)


def test_a_reader_that_dies_is_replaced(desk: Desk, asked: Asked, paths: list[Path]) -> None:
    before = desk.explain(paths[0], asked)
    [reads] = [process for decoders in desk._readers._all for process in decoders._processes]
    os.kill(reads._process.pid, signal.SIGKILL)
    until(reads.has_ended)
    assert desk.explain(paths[0], asked).as_json() == before.as_json()


@pytest.mark.parametrize("size", [(700, 300), (30, 2000), (1, 1)])
def test_a_view_has_the_shape_of_its_picture_and_fits(desk: Desk, size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "shape.png"
    left = Image.new("RGB", size, (200, 10, 10))
    left.paste((10, 10, 200), (size[0] // 2, 0, *size))
    left.save(path)
    view = desk.view(path)
    scale = min(1, 900 / max(size))
    assert view.size == tuple(max(1, round(side * scale)) for side in size)
    if size[0] > 1:
        assert np.abs(np.array(view.getpixel((0, 0))) - (200, 10, 10)).max() < 3
        assert np.abs(np.array(view.getpixel((view.width - 1, 0))) - (10, 10, 200)).max() < 3


def test_a_closed_desk_answers_nobody_and_leaves_no_process_and_no_thread(
    captioner: Captioner, asked: Asked, paths: list[Path]
) -> None:
    with Desk({"m": captioner}) as desk:
        desk.explain(paths[0], asked)
        [reads] = [process for decoders in desk._readers._all for process in decoders._processes]
        threads = desk._turns._threads
    assert reads.has_ended()
    assert not any(thread.is_alive() for thread in threads)
    with pytest.raises(CaptionerError):
        desk.explain(paths[0], asked)


def test_a_desk_that_nobody_holds_closes_itself(captioner: Captioner, asked: Asked, paths: list[Path]) -> None:
    desk = Desk({"m": captioner})
    desk.explain(paths[0], asked)
    threads = desk._turns._threads
    del desk
    until(lambda: not any(thread.is_alive() for thread in threads))
