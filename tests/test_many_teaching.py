"""What the pictures of a batch become in the collection that teaches: kept, waiting, known, or told to be missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from app.home import Home
from app.lessons import Lessons
from app.many import keep_to_teach
from app.many_batch import Batch, Picture
from app.many_drawing import draw_added
from app.many_teaching import Added, add_to_lessons
from captioner.errors import ImageError
from captioner.inference.caption import Candidate, Caption


@pytest.fixture
def lessons(tmp_path: Path) -> Lessons:
    return Lessons(Home(tmp_path / "home").collection)


def captioned(folder: Path, name: str, shade: int, *, edited: str | None = None) -> Picture:
    """A picture of one colour, of which the model said that a dog runs."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(path)
    said = Caption((Candidate("A dog runs.", -3.0, ("a", "dog", "runs")),), uncertain=False)
    return Picture(name, path, done=True, caption=said, edited=edited)


def add(folder: Path, lessons: Lessons, *pictures: Picture) -> Added:
    added = Added()
    assert list(add_to_lessons(Batch(folder, pictures=list(pictures)), lessons, added))[-1] == len(pictures)
    return added


def test_what_a_person_wrote_is_kept_and_what_only_the_model_said_waits_to_be_corrected(
    lessons: Lessons, tmp_path: Path
) -> None:
    pictures = [captioned(tmp_path, "hen.png", 1, edited="A hen sits."), captioned(tmp_path, "zoo.zip/dog.png", 2)]
    assert add(tmp_path, lessons, *pictures) == Added(kept=1, waiting=1)
    assert [(lesson.title, lesson.captions) for lesson in lessons.kept()] == [("hen", ("A hen sits.",))]
    assert [(lesson.title, lesson.captions) for lesson in lessons.waiting()] == [("dog", ("A dog runs.",))]


def test_what_is_there_already_stays_as_it_is_and_is_counted(lessons: Lessons, tmp_path: Path) -> None:
    hen, dog = captioned(tmp_path, "hen.png", 1, edited="A hen sits."), captioned(tmp_path, "dog.png", 2)
    twin = captioned(tmp_path, "again.png", 2)
    assert add(tmp_path, lessons, hen, dog, twin) == Added(kept=1, waiting=1, known=1)
    hen.edited = "A duck swims."
    assert add(tmp_path, lessons, hen, dog, twin) == Added(known=3)
    assert [lesson.captions for lesson in lessons.kept()] == [("A hen sits.",)]


def test_a_picture_that_waits_is_kept_once_a_person_has_corrected_it(lessons: Lessons, tmp_path: Path) -> None:
    dog = captioned(tmp_path, "dog.png", 2)
    add(tmp_path, lessons, dog)
    dog.edited = "Two dogs run."
    assert add(tmp_path, lessons, dog) == Added(kept=1)
    assert lessons.waiting() == []


def test_what_has_no_caption_is_left_out_and_what_is_no_longer_here_is_told(lessons: Lessons, tmp_path: Path) -> None:
    gone = captioned(tmp_path, "gone.png", 1)
    gone.source = tmp_path / "deleted.png"
    broken = Picture("x.jpg", ImageError("x.jpg must be a picture."), caption=Caption(error="x"))
    assert add(tmp_path, lessons, gone, broken, replace(broken, caption=None)) == Added(gone=1)


def test_a_correction_of_no_use_is_told_and_its_picture_waits(lessons: Lessons, tmp_path: Path) -> None:
    added = add(tmp_path, lessons, captioned(tmp_path, "hen.png", 1, edited="hen"))
    assert added.kept == 0
    assert "hen.png waits to be corrected. A caption must be a sentence" in added.wrong[0]
    assert len(lessons.waiting()) == 1


def test_what_was_added_is_told_in_a_sentence_and_of_many_faults_a_few(lessons: Lessons) -> None:
    told = draw_added(Added(kept=1, waiting=1200, wrong=[f"<{number}>" for number in range(9)]))
    assert "1 picture is kept to teach" in told
    assert "1,200 pictures are waiting on the tab Teach" in told
    assert "already" not in told
    assert "&lt;2&gt;" in told
    assert "So it went with 6 more." in told
    assert "No picture has a caption yet." in draw_added(Added())
    assert "no longer here" in next(keep_to_teach(lessons, None))


def test_while_pictures_are_added_it_tells_how_many_of_all_are_done(
    lessons: Lessons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.many._PAUSE", 0.0)
    stopped = Picture("later.png", tmp_path / "later.png")
    batch = Batch(tmp_path, pictures=[captioned(tmp_path, "hen.png", 1), stopped])
    told = list(keep_to_teach(lessons, batch))
    assert ["of 2 pictures" in each for each in told] == [True, True, False]


def test_a_damaged_collection_is_a_sentence(lessons: Lessons, tmp_path: Path) -> None:
    lessons.folder.mkdir(parents=True)
    (lessons.folder / "metadata.jsonl").write_text("{")
    batch = Batch(tmp_path, pictures=[captioned(tmp_path, "hen.png", 1)])
    *_, told = keep_to_teach(lessons, batch)
    assert "Line 1 of metadata.jsonl must be a JSON object" in told
