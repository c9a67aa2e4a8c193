"""What lies below a folder: in which order, what is passed over, and at what cost."""

from __future__ import annotations

import os
import socket
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captioner.data import folders
from captioner.data.folders import Globs, kind_of_file, walk
from captioner.errors import ImageError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names_below(folder: Path | str, globs: Globs | None = None) -> list[str]:
    return [below for below, _ in walk(str(folder), globs or Globs())]


def test_files_come_before_subfolders_each_in_the_order_of_names(tmp_path: Path) -> None:
    touch(tmp_path, "b.JPG", "a.png", "deep/er/c.webp", "deep/d.txt", "deep/e.tiff", "a/z.gif")
    assert names_below(tmp_path) == ["a.png", "b.JPG", "a/z.gif", "deep/e.tiff", "deep/er/c.webp"]


def test_a_larger_folder_comes_in_sorted_stretches_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "STRETCH", 3)
    touch(tmp_path, *(f"{number}.jpg" for number in range(8)), "x/a.jpg", "y/b.jpg")
    assert sorted(names_below(tmp_path)) == [f"{number}.jpg" for number in range(8)] + ["x/a.jpg", "y/b.jpg"]


def test_what_a_file_is_its_name_tells_without_regard_to_case() -> None:
    names = ("a.JPG", "a.tar", "a.TAR.GZ", "a.tgz", "a.parquet", "a.gz", "a.txt", "jpg")
    assert [kind_of_file(name) for name in names] == ["picture", "tar", "tar", "tar", "table", None, None, None]


def test_hidden_and_unfinished_files_and_sidecars_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "._a.jpg", ".git/b.jpg", ".a.jpg.x7f3.unfinished", "a.txt", "captions.jsonl")
    assert names_below(tmp_path) == ["a.jpg"]


def test_a_hidden_folder_that_is_named_itself_is_searched(tmp_path: Path) -> None:
    touch(tmp_path, ".photos/a.jpg")
    assert names_below(tmp_path / ".photos") == ["a.jpg"]


def test_strange_files_named_like_pictures_are_left_for_the_reader_to_judge(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.jpg")
    (tmp_path / "dangling.jpg").symlink_to("nowhere")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    with socket.socket(socket.AF_UNIX) as endpoint:
        endpoint.bind(str(tmp_path / "s.jpg"))
        assert names_below(tmp_path) == ["dangling.jpg", "fifo.jpg", "loop.jpg", "s.jpg"]


def test_a_folder_named_like_a_picture_or_an_archive_is_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "x.tar/a.jpg", "y.jpg/b.jpg")
    assert list(walk(str(tmp_path), Globs())) == [("x.tar/a.jpg", "picture"), ("y.jpg/b.jpg", "picture")]


def test_linked_files_and_folders_are_followed_and_no_loop_is(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/x.jpg", "top/a.jpg", "top/sub/b.jpg")
    top = tmp_path / "top"
    (top / "linked").symlink_to(tmp_path / "elsewhere")
    (top / "linked.jpg").symlink_to(tmp_path / "elsewhere" / "x.jpg")
    (top / "linked_again").symlink_to(tmp_path / "elsewhere")
    (top / "sub" / "up").symlink_to("..")
    (top / "sub" / "here").symlink_to(".")
    (tmp_path / "elsewhere" / "back").symlink_to(top)
    assert names_below(top) == ["a.jpg", "linked.jpg", "linked/x.jpg", "sub/b.jpg"]


def test_folders_that_all_link_to_each_other_come_to_an_end(tmp_path: Path) -> None:
    for number in range(12):
        touch(tmp_path, f"{number}/a.jpg")
        for other in range(12):
            (tmp_path / str(number) / f"to{other}").symlink_to(f"../{other}")
    found = names_below(tmp_path)
    # Each folder as itself, and at most once more through a link; without a limit there would be 12! ways.
    assert 12 <= len(found) <= 24


def test_a_subfolder_that_cannot_be_read_is_one_error_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a/x.jpg", "b/y.jpg", "c/z.jpg")
    real = os.scandir

    def scandir(path: str) -> object:
        # Tests may run as root, whom no permission stops.
        if path.endswith("b"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    first, error, last = walk(str(tmp_path), Globs())
    assert (first, last) == (("a/x.jpg", "picture"), ("c/z.jpg", "picture"))
    assert error[0] == "b"
    assert isinstance(error[1], ImageError)
    assert error[1].kind == "unreadable"
    assert "Permission denied" in str(error[1])


def test_a_subfolder_that_vanishes_is_an_error_of_its_own_kind(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b/y.jpg")
    found = walk(str(tmp_path), Globs())
    next(found)
    (tmp_path / "b" / "y.jpg").unlink()
    (tmp_path / "b").rmdir()
    ((below, error),) = found
    assert below == "b"
    assert isinstance(error, ImageError)
    assert error.kind == "missing"


def test_a_folder_two_hundred_deep_is_searched_to_the_bottom(tmp_path: Path) -> None:
    deep = "/".join(["d"] * 200)
    touch(tmp_path, f"{deep}/a.jpg")
    assert names_below(tmp_path) == [f"{deep}/a.jpg"]


def test_the_current_folder_adds_nothing_to_the_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "sub/a.jpg")
    monkeypatch.chdir(tmp_path)
    assert names_below(".") == ["sub/a.jpg"]
    assert folders.join(".", "sub/a.jpg") == "sub/a.jpg"


@pytest.mark.parametrize(
    ("globs", "expected"),
    [
        (Globs(include=["*.png"]), ["a.PNG", "train/small/c.png"]),
        (Globs(include=["train/*"]), ["train/b.jpg", "train/small/c.png"]),
        (Globs(include=["/*.jpg"], exclude=["*/*"]), []),
        (Globs(include=["b.jpg"]), ["train/b.jpg"]),
        (Globs(include=["**/small/*"]), ["small/d.jpg", "train/small/c.png"]),
        (Globs(exclude=["small"]), ["a.PNG", "train/b.jpg"]),
        (Globs(exclude=["train/small/"]), ["a.PNG", "small/d.jpg", "train/b.jpg"]),
        (Globs(exclude=["Small"]), ["a.PNG", "small/d.jpg", "train/b.jpg", "train/small/c.png"]),
        (Globs(include=["*.jpg"], exclude=["b.*"]), ["small/d.jpg"]),
    ],
)
def test_patterns_match_the_path_below_or_the_bare_name(tmp_path: Path, globs: Globs, expected: list[str]) -> None:
    touch(tmp_path, "a.PNG", "small/d.jpg", "train/b.jpg", "train/small/c.png")
    assert names_below(tmp_path, globs) == expected


def test_an_archive_is_opened_unless_it_is_left_out_and_a_table_only_if_it_is_wanted(tmp_path: Path) -> None:
    touch(tmp_path, "a.tar", "b.parquet", "c/dataset_dict.json", "c/train/d.jpg")
    everything = [("a.tar", "tar"), ("b.parquet", "table"), ("c", "saved")]
    assert list(walk(str(tmp_path), Globs())) == everything
    assert list(walk(str(tmp_path), Globs(include=["*.jpg"]))) == everything[:1]
    assert list(walk(str(tmp_path), Globs(exclude=["a.tar", "c"]))) == everything[1:2]


file_names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12
).filter(lambda name: not name.startswith("."))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.lists(file_names, min_size=1, max_size=3).map("/".join), unique=True, max_size=12))
def test_whatever_files_are_called_each_is_found_once(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    top = tmp_path_factory.mktemp("top")
    made = set()
    for name in names:
        path = top / f"{name}.jpg"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            made.add(path)
        except OSError:  # a folder of that name is there already, or the name is too long for the disk
            continue
    found = names_below(top)
    assert {top / name for name in found} == made
    assert len(found) == len(made)


def test_neither_waiting_nor_memory_grows_with_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "STRETCH", 500)
    (tmp_path / "0.jpg").touch()
    for number in range(1, 10_000):
        os.link(tmp_path / "0.jpg", tmp_path / f"{number}.jpg")
    found = walk(str(tmp_path), Globs())
    tracemalloc.start()
    try:
        started = time.perf_counter()
        next(found)
        waited = time.perf_counter() - started
        _, first = tracemalloc.get_traced_memory()
        count = 1 + sum(1 for _ in found)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 10_000
    # Two stretches may be there at one time; the whole folder would be twenty.
    assert peak < 4 * first
    assert waited < 0.5
