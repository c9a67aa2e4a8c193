import errno
import os
import threading
from pathlib import Path

import pytest

from captioner import durable
from captioner.durable import Growing, alone, is_being_written, whole_file, write_whole
from captioner.errors import DataError


def test_a_whole_file_replaces_the_old_one_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    write_whole(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_raises_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted() -> None:
        with whole_file(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"a\.txt cannot be written \(No space left on device\); make room on the disk"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_missing_is_told(tmp_path):
    with pytest.raises(DataError, match=r"cannot be written \(No such file or directory\)"):
        write_whole(tmp_path / "none" / "a.txt", "new")


def test_a_whole_file_has_the_rights_of_any_new_file(tmp_path):
    (tmp_path / "ordinary").write_text("")
    write_whole(tmp_path / "whole", "")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_what_a_killed_process_left_is_taken_away(tmp_path):
    (tmp_path / ".a.txt.unfinished").write_text("half")
    write_whole(tmp_path / "a.txt", "new")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]


def test_an_object_without_the_end_of_its_line_gets_it(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2}')
    Growing(path).close()
    assert path.read_bytes() == b'{"a": 1}\n{"a": 2}\n'


def test_two_cannot_write_one_whole_file(tmp_path):
    path = tmp_path / "a.txt"
    with whole_file(path) as file:
        file.write(b"first")
        with pytest.raises(DataError, match="Only one process at a time can write to"):
            write_whole(path, "second")
    assert path.read_text() == "first"


def test_who_lost_the_new_file_before_it_was_locked_does_not_move_the_others_into_place(tmp_path, monkeypatch):
    target, unfinished, lock = tmp_path / "x.txt", tmp_path / ".x.txt.unfinished", durable._lock
    target.write_text("old")

    def lock_too_late(handle, *named):
        unfinished.unlink()
        unfinished.write_text("half of what ano")
        lock(handle, *named)

    monkeypatch.setattr(durable, "_lock", lock_too_late)
    with pytest.raises(DataError, match="Only one process at a time"):
        write_whole(target, "new")
    assert (target.read_text(), unfinished.read_text()) == ("old", "half of what ano")


def test_the_longest_name_can_be_written(tmp_path):
    path = tmp_path / ("ä" * 127 + "a")
    write_whole(path, "new")
    assert list(tmp_path.iterdir()) == [path]


def test_lines_are_added_to_those_that_are_there(tmp_path):
    path = tmp_path / "a.jsonl"
    with Growing(path) as file:
        file.append(b"1\n2\n")
    with Growing(path) as file:
        file.append(b"3\n")
    assert path.read_bytes() == b"1\n2\n3\n"


def test_fresh_forgets_what_was_there(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"1\n")
    with Growing(path, fresh=True) as file:
        file.append(b"2\n")
    assert path.read_bytes() == b"2\n"


@pytest.mark.parametrize("kept", [b"", b"1\n", b"1\n2\n", b"1\n" + b"x" * 200_000 + b"\n"])
@pytest.mark.parametrize("torn", [b"", b"3", b"y" * 200_000])
def test_a_torn_line_is_cut_off(tmp_path, kept: bytes, torn: bytes):
    path = tmp_path / "a.jsonl"
    path.write_bytes(kept + torn)
    Growing(path).close()
    assert path.read_bytes() == kept


def test_two_cannot_write_to_one_file(tmp_path):
    with Growing(tmp_path / "a.jsonl"), pytest.raises(DataError, match="Only one process at a time can write to"):
        Growing(tmp_path / "a.jsonl")
    Growing(tmp_path / "a.jsonl").close()


def test_a_write_that_fails_halfway_leaves_no_half_line(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    write, calls = os.write, 0

    def filling(handle: int, data: memoryview) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data[:3])

    with Growing(path) as file:
        file.append(b"1\n")
        monkeypatch.setattr(os, "write", filling)
        with pytest.raises(DataError, match="make room on the disk"):
            file.append(b"222222\n")
        monkeypatch.setattr(os, "write", write)
        assert path.read_bytes() == b"1\n"
        file.append(b"3\n")
    assert path.read_bytes() == b"1\n3\n"


def test_a_folder_cannot_be_appended_to(tmp_path):
    with pytest.raises(DataError, match="cannot be written"):
        Growing(Path(tmp_path))


def test_who_needs_to_be_alone_waits_for_who_is(tmp_path):
    order = []

    def second() -> None:
        with alone(tmp_path / "lock"):
            order.append("second")

    with alone(tmp_path / "lock"):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.1)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def test_whether_a_file_is_being_written_is_known_from_its_lock(tmp_path):
    path = tmp_path / "lines"
    assert not is_being_written(path)
    with Growing(path):
        assert is_being_written(path)
    assert not is_being_written(path)
