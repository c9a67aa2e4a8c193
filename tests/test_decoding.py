"""Guarded decoding: every picture is answered in its place, and what kills a decoder costs that picture alone."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from captioner.data.decoding import Decoded, Decoders
from captioner.data.decoding_desk import DIGEST_BYTES, HEADER, Desk, nameless_file
from captioner.data.decoding_process import DecodingProcess
from captioner.data.limits import MAX_BYTES, MAX_SCANS
from captioner.data.preprocessing import Preprocessing
from captioner.errors import CaptionerError, ConfigError, ImageError

PREPROCESSING = Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes and limits as only Linux shows them"),
    pytest.mark.timeout(60),
]


@dataclass(frozen=True)
class Item:
    name: str
    source: Path | bytes | ImageError


def item(path: Path | str) -> Item:
    return Item(str(path), Path(path))


def picture(seed: int = 0, *, kind: str = "PNG", side: int = 40) -> bytes:
    levels = np.random.default_rng(seed).integers(0, 256, (side, side + seed % 7, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(levels).save(file, kind)
    return file.getvalue()


def scan_bomb(*, side: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated until there are `scans`: each repaints the whole picture."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), (200, 30, 60)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * (scans - data.count(b"\xff\xda")) + data[-2:]


def kind(decoded: Decoded) -> str:
    return decoded.pixels.kind if isinstance(decoded.pixels, ImageError) else "decoded"


def kinds(decoders: Decoders, items: Iterable[Item]) -> list[str]:
    return [kind(decoded) for _, decoded in decoders.decode(items)]


def process_ids(decoders: Decoders) -> list[int]:
    return [process._process.pid for process in decoders._processes]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def is_running(process_id: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture(scope="module")
def pair() -> Iterator[Decoders]:
    """Two processes that many tests share: no test may leave them broken."""
    with Decoders(PREPROCESSING, workers=2) as decoders:
        yield decoders


@pytest.fixture
def one() -> Iterator[Decoders]:
    """One process with little time and memory, warm, and three pictures ahead."""
    with Decoders(PREPROCESSING, workers=1, seconds=0.5, megabytes=64, ahead=3) as decoders:
        assert kinds(decoders, [Item("warm", picture())]) == ["decoded"]
        yield decoders


# --- the same pixels, in order, lazily ------------------------------------------------------------------


def test_pixels_are_those_of_this_process_whether_from_files_or_bytes(pair: Decoders, tmp_path: Path) -> None:
    items, expected = [], []
    for seed, form in enumerate(["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"] * 3):
        data = picture(seed, kind=form, side=300 if form == "JPEG" else 40)
        path = tmp_path / f"{seed}.jpg"
        path.write_bytes(data)
        items += [item(path), Item(f"shard.tar/{seed}", data)]
        expected += [PREPROCESSING.read(data)] * 2
    answered = list(pair.decode(items))
    assert [answer[0] for answer in answered] == items
    for (given, decoded), pixels in zip(answered, expected, strict=True):
        np.testing.assert_array_equal(decoded.pixels, pixels)
        data = given.source if isinstance(given.source, bytes) else given.source.read_bytes()
        assert decoded.digest == hashlib.sha256(data).hexdigest()[:16]


def test_the_shape_that_the_square_hides_is_told_upright(pair: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = Image.new("RGB", (40, 10))
    plain, turned = io.BytesIO(), io.BytesIO()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    wide.save(plain, "PNG")
    wide.save(turned, "JPEG", exif=exif)
    items = [Item("a", plain.getvalue()), Item("b", turned.getvalue()), Item("c", b"none")]
    assert [decoded.shape for _, decoded in pair.decode(items)] == [(40, 10), (10, 40), None]
    monkeypatch.setattr("captioner.data.decoding._CAN_GUARD", False)
    assert [decoded.shape for _, decoded in pair.decode(items)] == [(40, 10), (10, 40), None]


def test_pixels_may_be_written_to_and_belong_to_nobody_else(pair: Decoders) -> None:
    (_, first), (_, second) = pair.decode([Item("a", picture(1)), Item("b", picture(1))])
    first.pixels[:] = 0
    np.testing.assert_array_equal(second.pixels, PREPROCESSING.read(picture(1)))


def test_a_slow_picture_does_not_lose_its_place(pair: Decoders) -> None:
    large = picture(2, side=1500)
    items = [Item(str(number), large if number % 3 == 0 else picture(number)) for number in range(12)]
    assert [answer[0] for answer in pair.decode(items)] == items


def test_no_more_is_taken_from_the_source_than_allowed() -> None:
    taken = []

    def endless() -> Iterator[Item]:
        while True:
            taken.append(len(taken))
            yield Item(str(len(taken)), picture())

    with Decoders(PREPROCESSING, workers=1, ahead=5) as decoders:
        answers = decoders.decode(endless())
        assert taken == []
        next(answers)
        assert len(taken) == 5
        next(answers)
        assert len(taken) == 6
        answers.close()


def test_pictures_given_as_bytes_are_not_heaped_up(monkeypatch: pytest.MonkeyPatch, pair: Decoders) -> None:
    monkeypatch.setattr("captioner.data.decoding._MOST_BYTES_AHEAD", 3 * len(picture(0)))
    taken = []

    def many() -> Iterator[Item]:
        for number in range(20):
            taken.append(number)
            yield Item(str(number), picture(0))

    answers = pair.decode(many())
    next(answers)
    assert len(taken) == 3
    assert len(list(answers)) == 19


def test_nothing_in_is_nothing_out_and_starts_nothing() -> None:
    with Decoders(PREPROCESSING, workers=2) as decoders:
        assert list(decoders.decode([])) == []
        broken = ImageError("a.tar must be whole, but it is not; copy it again.", kind="unreadable")
        [(_, decoded)] = decoders.decode([Item("a.tar", broken)])
        assert decoded == Decoded(broken, None)
        assert process_ids(decoders) == []


def test_one_pool_serves_many_sequences_from_any_thread(pair: Decoders) -> None:
    answered: list[str] = []

    def work() -> None:
        answered.extend(kinds(pair, [Item(str(seed), picture(seed)) for seed in range(5)]))

    for _ in range(3):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert answered == ["decoded"] * 15


def test_two_sequences_at_a_time_are_refused(pair: Decoders) -> None:
    answers = pair.decode([Item("a", picture()), Item("b", picture())])
    next(answers)
    with pytest.raises(CaptionerError, match="one sequence at a time"):
        next(pair.decode([Item("c", picture())]))
    assert len(list(answers)) == 1


@pytest.mark.parametrize("settings", [{"workers": 0}, {"workers": 1, "seconds": 0}, {"workers": 1, "ahead": 0}])
def test_settings_that_decode_nothing_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        Decoders(PREPROCESSING, **settings)


def test_without_guards_the_answers_are_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("captioner.data.decoding._CAN_GUARD", False)
    with Decoders(PREPROCESSING, workers=2) as decoders:
        items = [Item("a", picture()), item(tmp_path / "none.jpg"), Item("b", b"text")]
        answers = [decoded for _, decoded in decoders.decode(items)]
        assert process_ids(decoders) == []
    np.testing.assert_array_equal(answers[0].pixels, PREPROCESSING.read(picture()))
    assert [kind(answer) for answer in answers] == ["decoded", "missing", "not a picture"]
    assert [answer.digest is None for answer in answers] == [False, True, False]


# --- files that are none, or not for long ---------------------------------------------------------------


def test_whatever_lies_in_a_folder_is_answered_once(
    pair: Decoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good = tmp_path / "good.png"
    good.write_bytes(picture())
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    (tmp_path / "link.jpg").symlink_to(good)
    (tmp_path / "hard.jpg").hardlink_to(good)
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "cut.png").write_bytes(picture()[:-40])
    with open(tmp_path / "heavy.bmp", "wb") as file:
        file.truncate(MAX_BYTES + 1)
    expected = {
        "good.png": "decoded",
        "folder.jpg": "unreadable",
        "pipe.jpg": "unreadable",
        "zero.jpg": "unreadable",
        "dangling.jpg": "missing",
        "loop.jpg": "unreadable",
        "link.jpg": "decoded",
        "hard.jpg": "decoded",
        "empty.jpg": "damaged",
        "text.jpg": "not a picture",
        "cut.png": "damaged",
        "heavy.bmp": "too large",
        "socket.jpg": "unreadable",
        "never there.jpg": "missing",
        "x" * 300 + ".jpg": "unreadable",
        "a\0b.jpg": "unreadable",
    }
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket.jpg")
        items = [item(tmp_path / name) for name in expected]
        assert dict(zip(expected, kinds(pair, items), strict=True)) == expected


@pytest.mark.parametrize(
    "name", [b"two\nlines\t.png", b"caf\xe9.png", "emoji-\N{DOG FACE}.png".encode(), b"=cmd.png", b"-v.png", b"x" * 255]
)
def test_a_file_of_any_name_is_read_and_named(pair: Decoders, name: bytes, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(picture())
    [(given, decoded)] = pair.decode([item(path)])
    assert given.source == path
    assert kind(decoded) == "decoded"
    path.write_bytes(b"no picture")
    [(_, decoded)] = pair.decode([item(path)])
    assert str(decoded.pixels).isprintable()
    assert str(decoded.pixels).startswith(str(tmp_path))


def test_a_sentence_names_the_item_and_not_the_file(pair: Decoders, tmp_path: Path) -> None:
    items = [Item("shard.tar/7.jpg", b"no picture"), Item("given/so.jpg", tmp_path / "none.jpg")]
    sentences = [str(decoded.pixels) for _, decoded in pair.decode(items)]
    assert sentences[0].startswith("shard.tar/7.jpg must be")
    assert sentences[1].startswith("given/so.jpg must exist")


def test_a_file_that_vanishes_after_it_was_listed_is_missing(pair: Decoders, tmp_path: Path) -> None:
    def listed() -> Iterator[Item]:
        for number in range(6):
            path = tmp_path / f"{number}.png"
            path.write_bytes(picture(number))
            if number == 3:
                path.unlink()
            yield item(path)

    assert kinds(pair, listed()) == ["decoded"] * 3 + ["missing"] + ["decoded"] * 2


def test_a_file_that_grows_while_it_is_read_is_read_as_far_as_it_went(pair: Decoders, tmp_path: Path) -> None:
    path = tmp_path / "grows.jpg"
    path.write_bytes(picture(kind="JPEG"))
    grown = threading.Event()

    def grow() -> None:
        with open(path, "ab") as file:
            while not grown.is_set():
                file.write(bytes(1000))
                file.flush()

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        for _ in range(5):
            [(_, decoded)] = pair.decode([item(path)])
            np.testing.assert_array_equal(decoded.pixels, PREPROCESSING.read(picture(kind="JPEG")))
    finally:
        grown.set()
        thread.join()


def test_more_bytes_than_a_file_may_have_are_never_handed_over(pair: Decoders) -> None:
    assert kinds(pair, [Item("heavy", bytes(MAX_BYTES + 1)), Item("empty", b"")]) == ["too large", "damaged"]


# --- time, memory and death -----------------------------------------------------------------------------


def test_a_decoder_that_takes_too_long_is_stopped_within_the_c_code() -> None:
    bomb = scan_bomb(side=4000, scans=MAX_SCANS)  # which takes half a second, or longer
    named = [Item("warm", picture()), Item("bomb", bomb), Item("b", picture())]
    with Decoders(PREPROCESSING, workers=1, seconds=0.2, ahead=3) as hasty:
        answers = [decoded for _, decoded in hasty.decode(named)]
    assert [kind(answer) for answer in answers] == ["decoded", "too slow", "decoded"]
    assert "0.2 seconds of processor time" in str(answers[1].pixels)
    assert answers[1].digest == hashlib.sha256(bomb).hexdigest()[:16]


def test_one_scan_more_than_allowed_is_refused_without_decoding(one: Decoders) -> None:
    assert kinds(one, [Item("bomb", scan_bomb(side=4000, scans=MAX_SCANS + 1))]) == ["too large"]


def test_a_picture_that_needs_too_much_memory_costs_nothing_but_itself(one: Decoders) -> None:
    file = io.BytesIO()
    Image.new("RGB", (4500, 4500)).save(file, "PNG", compress_level=1)  # 81 MB once decoded
    before = process_ids(one)
    assert kinds(one, [Item("large", file.getvalue()), Item("a", picture())]) == ["too large", "decoded"]
    assert process_ids(one) == before


def test_a_dying_decoder_costs_one_picture_and_those_behind_it_are_decoded(one: Decoders) -> None:
    [first] = process_ids(one)

    def source() -> Iterator[Item]:
        os.kill(first, signal.SIGSTOP)
        yield Item("victim", picture(1))
        yield Item("behind it", picture(2))
        os.kill(first, signal.SIGKILL)
        yield Item("later", picture(3))

    answers = [decoded for _, decoded in one.decode(source())]
    assert [kind(answer) for answer in answers] == ["died", "decoded", "decoded"]
    assert "SIGKILL" in str(answers[0].pixels)
    assert str(answers[0].pixels).startswith("victim must be")
    np.testing.assert_array_equal(answers[1].pixels, PREPROCESSING.read(picture(2)))
    assert process_ids(one) != [first]


def test_a_decoder_that_dies_without_work_costs_nothing(one: Decoders) -> None:
    [first] = process_ids(one)
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert kinds(one, [Item("a", picture())]) == ["decoded"]
    assert process_ids(one) != [first]


def test_a_decoder_that_hangs_is_given_up() -> None:
    with Decoders(PREPROCESSING, workers=1, patience=1) as decoders:
        assert kinds(decoders, [Item("warm", picture())]) == ["decoded"]
        [hanging] = process_ids(decoders)
        os.kill(hanging, signal.SIGSTOP)  # as a process is that waits for a disk
        answers = [decoded for _, decoded in decoders.decode([Item("stuck", picture()), Item("next", picture())])]
        assert [kind(answer) for answer in answers] == ["too slow", "decoded"]
        assert "within 1 seconds" in str(answers[0].pixels)
        assert not is_running(hanging)


def test_time_the_consumer_takes_is_not_the_decoders_fault() -> None:
    with Decoders(PREPROCESSING, workers=1, patience=0.7) as decoders:
        answers = decoders.decode([Item(str(seed), picture(seed)) for seed in range(4)])
        got = [kind(next(answers)[1])]
        time.sleep(1)
        assert got + [kind(decoded) for _, decoded in answers] == ["decoded"] * 4


def test_processes_are_replaced_after_so_many_pictures() -> None:
    seen = []
    with Decoders(PREPROCESSING, workers=1, pictures=2, ahead=1) as decoders:
        for _, decoded in decoders.decode(Item(str(seed), picture(seed)) for seed in range(5)):
            assert kind(decoded) == "decoded"
            seen += process_ids(decoders)
    assert len(set(seen)) == 3
    assert not any(map(is_running, seen))


def test_replacing_processes_loses_no_picture_that_was_ahead() -> None:
    items = [Item(str(seed), picture(seed)) for seed in range(11)]
    with Decoders(PREPROCESSING, workers=2, pictures=3) as decoders:
        for (_, decoded), given in zip(decoders.decode(items), items, strict=True):
            np.testing.assert_array_equal(decoded.pixels, PREPROCESSING.read(given.source))


# --- starting and ending --------------------------------------------------------------------------------


def test_a_process_that_was_started_before_there_was_work_does_the_work() -> None:
    with Decoders(PREPROCESSING, workers=1) as decoders:
        decoders.start()
        decoders.start()  # once is enough
        started = process_ids(decoders)
        assert kinds(decoders, [Item("a", picture()), Item("b", picture(1))]) == ["decoded"] * 2
        assert process_ids(decoders) == started
        assert len(started) == 1


@pytest.mark.parametrize("program", ["/bin/false", "/no/such/python"])
def test_decoders_that_cannot_start_end_in_one_sentence(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = open_files()
    monkeypatch.setattr(sys, "executable", program)
    with Decoders(PREPROCESSING, workers=2) as decoders:
        for _ in range(2):  # whoever asks again is told again
            with pytest.raises(CaptionerError, match="able to start") as caught:
                list(decoders.decode([Item("a", picture())]))
            assert "\n" not in str(caught.value)
    assert open_files() == files


def test_why_a_decoder_cannot_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'cannot find the library' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with Decoders(PREPROCESSING, workers=1) as decoders, pytest.raises(CaptionerError, match="cannot find the library"):
        list(decoders.decode([Item("a", picture())]))


def test_as_many_decoders_serve_as_the_system_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def start(*arguments: object) -> DecodingProcess:
        if started:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        started.append(DecodingProcess(*arguments))  # type: ignore[arg-type]
        return started[0]

    monkeypatch.setattr("captioner.data.decoding.DecodingProcess", start)
    with Decoders(PREPROCESSING, workers=4) as decoders:
        assert kinds(decoders, [Item(str(seed), picture(seed)) for seed in range(9)]) == ["decoded"] * 9
        assert len(process_ids(decoders)) == 1


def test_closing_early_leaves_no_process_and_no_open_file() -> None:
    files = open_files()
    with Decoders(PREPROCESSING, workers=2) as decoders:
        answers = decoders.decode([Item("a", picture(side=900))] * 100)
        next(answers)
        processes = process_ids(decoders)
        answers.close()
        assert kinds(decoders, [Item("again", picture())]) == ["decoded"]
        processes += process_ids(decoders)
    assert not any(map(is_running, processes))
    assert open_files() == files
    with pytest.raises(CaptionerError, match="none once closed"):
        next(decoders.decode([Item("a", picture())]))


def test_closing_from_another_thread_ends_a_decoding_that_waits(one: Decoders) -> None:
    [process] = process_ids(one)
    os.kill(process, signal.SIGSTOP)
    caught: list[CaptionerError] = []

    def work() -> None:
        try:
            list(one.decode([Item("stuck", picture())]))
        except CaptionerError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.2)
    one.close()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert "closed" in str(caught[0])
    assert not is_running(process)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_meant_for_the_run_do_not_end_its_decoders(one: Decoders, number: signal.Signals) -> None:
    [process] = process_ids(one)
    assert os.getpgid(process) != os.getpgid(0)  # so Ctrl-C on a terminal does not reach it at all
    os.kill(process, number)
    assert kinds(one, [Item("a", picture())]) == ["decoded"]
    assert process_ids(one) == [process]


def test_a_run_without_standard_streams_decodes_as_well(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from types import SimpleNamespace
from captioner.data.decoding import Decoders
from captioner.data.preprocessing import Preprocessing
with Decoders(Preprocessing(32, (0, 0, 0), (1, 1, 1)), workers=1) as decoders:
    answers = list(decoders.decode([SimpleNamespace(name="a", source={picture()!r})] * 3))
Path({str(tmp_path / "shapes")!r}).write_text(str([answer.pixels.shape for _, answer in answers]))
"""
    (tmp_path / "run.py").write_text(program)
    subprocess.run(f"'{sys.executable}' '{tmp_path}/run.py' <&- >&- 2>&-", shell=True, check=True)
    assert (tmp_path / "shapes").read_text() == str([(3, 32, 32)] * 3)


def test_decoders_end_when_their_run_is_killed(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    program = f"""
import itertools, os, sys
from pathlib import Path
from types import SimpleNamespace
from captioner.data.decoding import Decoders
from captioner.data.preprocessing import Preprocessing
assert "torch" not in sys.modules and "datasets" not in sys.modules, "decoding must start quickly"
item = SimpleNamespace(name="a", source=Path({str(tmp_path / "a.png")!r}))
decoders = Decoders(Preprocessing(32, (0, 0, 0), (1, 1, 1)), workers=2)
for answer in decoders.decode(itertools.repeat(item, 5)):
    pass
print(*(process._process.pid for process in decoders._processes), flush=True)
for answer in decoders.decode(itertools.repeat(item)):
    pass
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        processes = [int(number) for number in run.stdout.readline().split()]
        assert len(processes) == 2
        assert all(map(is_running, processes))
        run.kill()
    until = time.monotonic() + 10
    while any(map(is_running, processes)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(map(is_running, processes))


# --- the desk -------------------------------------------------------------------------------------------


SHAPELESS = [b"null", *(b'{"width": %s, "height": 5}' % width for width in (b"0", b"-1", b"1e9", b'"7"', b"100000"))]


def test_a_decoder_that_was_broken_into_can_say_nothing_that_is_believed() -> None:
    desk = Desk(nameless_file(), size=4)
    try:
        for text in (b"", b"nul", b"[]", b"[" * 90_000, b'{"error": "x", "kind": "fine"}', b"\xff\xfe", *SHAPELESS):
            desk.put_request("a", b"")
            os.pwrite(desk.file, text, 3 * 4 * 4 + DIGEST_BYTES)
            for length in (len(text), 2**63):
                with pytest.raises(ValueError, match="reply is"):
                    desk.take_reply(HEADER.pack(length, 0))
        header = desk.put_pixels(np.zeros((3, 4, 4), np.uint8), (7, 5))
        os.ftruncate(desk.file, 0)
        with pytest.raises(ValueError, match="reply is"):
            desk.take_reply(header)
    finally:
        os.close(desk.file)


def test_a_digest_does_not_outlive_its_request() -> None:
    desk = Desk(nameless_file(), size=4)
    try:
        desk.put_request("a", b"data")
        assert desk.digest() is None
        desk.put_digest(bytes(range(32)))
        assert desk.digest() == "0001020304050607"
        desk.put_request("b", Path("b"))
        assert desk.digest() is None
    finally:
        os.close(desk.file)
