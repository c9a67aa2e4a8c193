"""The collection that a person writes: nothing kept is lost, names are harmless, and `prepare` reads it as it is."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.lessons import Lesson, Lessons, checked, harmless, next_split
from captioner.data.formats.place import Place
from captioner.data.rows import Row
from captioner.data.sources import read_rows, recognise
from captioner.errors import DataError, ImageError


@pytest.fixture
def lessons(tmp_path: Path) -> Lessons:
    return Lessons(tmp_path / "home" / "collection")


def picture(folder: Path, name: str, shade: int = 0) -> Path:
    """Its own content for each shade."""
    path = folder / name
    Image.new("RGB", (16, 16), (shade, 100, 200)).save(path, "PNG")
    return path


def add(lessons: Lessons, path: Path, name: str, captions: list[str]) -> Lesson:
    """A picture that came and was corrected."""
    return lessons.keep(lessons.wait(path, name, "").name, captions)


def read(folder: Path) -> list[Row]:
    """What `captioner prepare` finds there."""
    place = Place(folder)
    return [row for row in read_rows(place, recognise(place)) if isinstance(row, Row) or pytest.fail(str(row))]


def test_what_is_kept_is_on_the_disk_as_prepare_reads_it(lessons: Lessons, tmp_path: Path) -> None:
    waiting = lessons.wait(picture(tmp_path, "My dog!.png"), "My dog!.png", "a cat")
    assert lessons.kept() == []
    kept = lessons.keep(waiting.name, ["A dog runs.", "", " A brown dog "])
    assert kept.title == "My dog"
    assert Lessons(lessons.folder).kept() == [Lesson(kept.name, ("A dog runs.", "A brown dog"), "train")]
    [row] = read(lessons.folder)
    assert (row.image_id, row.split, row.captions) == (kept.name, "train", ("A dog runs.", "A brown dog"))
    assert lessons.waiting() == []


def test_what_waits_or_was_removed_is_no_part_of_what_prepare_reads(lessons: Lessons, tmp_path: Path) -> None:
    for shade, name in enumerate(["kept.png", "waits.png", "removed.png"]):
        lessons.wait(picture(tmp_path, name, shade), name, "")
    first, _, third = lessons.waiting()
    lessons.keep(first.name, ["A dog runs"])
    lessons.remove(lessons.keep(third.name, ["A cat sits"]).name)
    assert len(read(lessons.folder)) == 1


def test_one_picture_under_two_names_is_one_and_its_last_captions_stay(lessons: Lessons, tmp_path: Path) -> None:
    add(lessons, picture(tmp_path, "a.png"), "a.png", ["A dog runs"])
    add(lessons, picture(tmp_path, "b.png"), "b.png", ["A dog sits"])
    lessons.wait(picture(tmp_path, "c.png"), "c.png", "a cat")
    assert [(lesson.title, lesson.captions) for lesson in lessons.kept()] == [("a", ("A dog sits",))]
    assert lessons.waiting() == []


def test_two_pictures_of_one_name_are_two(lessons: Lessons, tmp_path: Path) -> None:
    for shade in range(2):
        add(lessons, picture(tmp_path, "a.png", shade), "a.png", ["A dog runs"])
    assert [lesson.title for lesson in lessons.kept()] == ["a", "a"]
    assert len({lesson.name for lesson in lessons.kept()}) == 2


def test_what_is_removed_can_be_put_back_with_its_captions_and_split(lessons: Lessons, tmp_path: Path) -> None:
    kept = add(lessons, picture(tmp_path, "a.png"), "a.png", ["A dog runs"])
    removed = lessons.remove(kept.name)
    assert lessons.kept() == []
    assert lessons.put_back(removed.name) == kept
    assert lessons.kept() == [kept]
    assert lessons.picture(kept).is_file()


def test_a_picture_that_comes_again_has_the_split_it_had(lessons: Lessons, tmp_path: Path) -> None:
    first = add(lessons, picture(tmp_path, "0.png"), "0.png", ["A dog runs"])
    for shade in range(1, 4):
        add(lessons, picture(tmp_path, f"{shade}.png", shade), f"{shade}.png", ["A dog runs"])
    lessons.remove(first.name)
    add(lessons, picture(tmp_path, "4.png", 4), "4.png", ["A dog runs"])
    for shade in range(5, 26):  # so many removals that the first can no longer be put back
        lessons.remove(lessons.wait(picture(tmp_path, f"{shade}.png", shade), f"{shade}.png", "").name)
    assert next_split(lessons.kept()) == "test"
    again = add(Lessons(lessons.folder), picture(tmp_path, "renamed.png"), "renamed.png", ["A dog sits"])
    assert (first.split, again.split) == ("train", "train")


def test_a_picture_kept_before_splits_were_remembered_is_remembered_when_it_is_removed(
    lessons: Lessons, tmp_path: Path
) -> None:
    kept = add(lessons, picture(tmp_path, "a.png"), "a.png", ["A dog runs"])
    (lessons.folder / ".splits.json").unlink()
    lessons.remove(kept.name)
    assert list(json.loads((lessons.folder / ".splits.json").read_text()).values()) == ["train"]


def test_a_late_undo_does_not_overwrite_newer_captions(lessons: Lessons, tmp_path: Path) -> None:
    removed = lessons.remove(add(lessons, picture(tmp_path, "a.png"), "a.png", ["A dog runs"]).name)
    add(lessons, picture(tmp_path, "b.png"), "b.png", ["A dog sits"])
    with pytest.raises(DataError, match="b is here already"):
        lessons.put_back(removed.name)
    assert [lesson.captions for lesson in lessons.kept()] == [("A dog sits",)]


def test_of_two_pages_none_loses_what_the_other_keeps(lessons: Lessons, tmp_path: Path) -> None:
    def keep(page: int) -> None:
        own = Lessons(lessons.folder)
        for number in range(8):
            shade = 8 * page + number
            add(own, picture(tmp_path, f"{shade}.png", shade), f"{shade}.png", ["A dog runs"])

    pages = [threading.Thread(target=keep, args=(page,)) for page in range(3)]
    for page in pages:
        page.start()
    for page in pages:
        page.join()
    assert {lesson.title for lesson in lessons.kept()} == {str(shade) for shade in range(24)}


def test_a_picture_that_waits_on_two_pages_is_kept_twice_and_the_last_captions_stay(
    lessons: Lessons, tmp_path: Path
) -> None:
    waiting = lessons.wait(picture(tmp_path, "a.png"), "a.png", "")
    lessons.keep(waiting.name, ["A dog runs"])
    lessons.keep(waiting.name, ["A dog sits"])
    [kept] = lessons.kept()
    assert kept.captions == ("A dog sits",)


def test_what_was_removed_on_another_page_cannot_be_kept(lessons: Lessons, tmp_path: Path) -> None:
    waiting = lessons.wait(picture(tmp_path, "a.png"), "a.png", "")
    lessons.remove(waiting.name)
    with pytest.raises(DataError, match="was removed; add it again"):
        lessons.keep(waiting.name, ["A dog runs"])
    with pytest.raises(DataError, match="was removed"):
        lessons.keep("../../etc/passwd", ["A dog runs"])


def test_a_death_before_the_picture_left_its_old_place_loses_nothing(
    lessons: Lessons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = lessons.wait(picture(tmp_path, "a.png"), "a.png", "a cat")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Lessons, "_write", die)
    with pytest.raises(KeyboardInterrupt):
        lessons.keep(waiting.name, ["A dog runs"])
    monkeypatch.undo()
    assert [lesson.name for lesson in lessons.waiting()] == [waiting.name]
    lessons.keep(waiting.name, ["A dog runs"])
    assert len(read(lessons.folder)) == 1


def test_only_the_last_twenty_removed_pictures_are_kept_to_be_put_back(lessons: Lessons, tmp_path: Path) -> None:
    for shade in range(22):
        lessons.remove(lessons.wait(picture(tmp_path, f"{shade}.png", shade), f"{shade}.png", "").name)
    assert len(list((lessons.folder / ".removed").iterdir())) == 20


@pytest.mark.parametrize(
    ("captions", "sentence"),
    [
        (["dog"], "'dog' is not \\(one-word caption\\)"),
        ([" "], "must have 1 to 5 captions, but 0 came"),
        ([f"A dog number {number}" for number in range(6)], "but 6 came"),
    ],
)
def test_captions_of_no_use_are_refused(captions: list[str], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        checked(captions)


def test_a_picture_that_is_not_there_is_told_by_its_name(lessons: Lessons, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.png"):
        lessons.wait(tmp_path / "gone.png", "gone.png", "")


def test_a_line_that_a_person_broke_is_told_by_its_number(lessons: Lessons, tmp_path: Path) -> None:
    add(lessons, picture(tmp_path, "a.png"), "a.png", ["A dog runs"])
    with (lessons.folder / "metadata.jsonl").open("a") as lines:
        lines.write("{}\n")
    with pytest.raises(DataError, match=r"Line 2 of metadata\.jsonl must be"):
        lessons.kept()


def test_a_line_that_a_person_wrote_is_kept(lessons: Lessons, tmp_path: Path) -> None:
    add(lessons, picture(tmp_path, "a.png"), "a.png", ["A dog runs"])
    picture(lessons.folder, "mine.png", 1)
    with (lessons.folder / "metadata.jsonl").open("a") as lines:
        lines.write(json.dumps({"file_name": "mine.png", "captions": ["A cat sits"]}) + "\n")
    add(lessons, picture(tmp_path, "b.png", 2), "b.png", ["A bird flies"])
    lessons.keep("mine.png", ["A cat sleeps"])
    assert [lesson.captions[0] for lesson in lessons.kept()] == ["A dog runs", "A cat sleeps", "A bird flies"]


@given(name=st.text(), content=st.binary(min_size=1))
def test_a_strangers_name_becomes_a_plain_one(name: str, content: bytes) -> None:
    made = harmless(name, content)
    assert re.fullmatch(r"\w[\w -]*-[0-9a-f]{16}\.(png|jpg|gif|bmp|webp|tiff)", made)
    assert len(made.encode()) <= 60 + 1 + 16 + 5
    assert PurePosixPath(made).name == made
    assert harmless(name, content + b"!") != made


@given(st.integers(1, 400))
def test_a_fifth_each_is_held_out_of_few_pictures_and_less_of_many(pictures: int) -> None:
    kept: list[Lesson] = []
    for number in range(pictures):
        kept.append(Lesson(str(number), ("A dog runs",), next_split(kept)))
    counts = Counter(lesson.split for lesson in kept)
    held_out = min(pictures // 5, max(20, pictures // 10))
    assert counts["test"] == held_out
    assert held_out - 1 <= counts["validation"] <= held_out
