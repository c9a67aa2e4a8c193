"""The collection a teacher writes: `prepare` reads it, a person corrects it, and no run takes a correction away."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path, PurePosixPath

import pytest

from captioner.data.formats.place import Place
from captioner.data.listing import Item
from captioner.data.rows import Row
from captioner.data.sources import read_rows, recognise
from captioner.errors import DataError
from captioner.inference.labelled_folder import Labelled, LabelledFolder
from captioner.inference.labelling import captions_of

MADE_BY = {"teacher": "tiny", "captions": 2, "seed": 0}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "mine"


def labelled(path: Path, *captions: str) -> Labelled:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return Labelled(Item(str(path), PurePosixPath(path.name), path), digest, captions)


def begin(out: Path, *pictures: Labelled) -> None:
    with LabelledFolder(out, MADE_BY, resume=False) as folder:
        folder.write(pictures)


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metadata.jsonl").read_text(encoding="utf-8-sig").splitlines()]


def go_on(out: Path, *pictures: Labelled) -> list[bool]:
    """Which of them were done already; the others are added."""
    with LabelledFolder(out, MADE_BY, resume=True) as folder:
        done = [folder.done(each.item) for each in pictures]
        folder.write([each for each, is_done in zip(pictures, done, strict=True) if not is_done])
    return done


def test_prepare_knows_the_folder_and_reads_every_picture_with_its_captions(out: Path, pictures: list[Path]) -> None:
    begin(out, labelled(pictures[0], "A dog runs.", "A brown dog."), labelled(pictures[1], "Eine Straße."))
    place = Place(out)
    assert recognise(place) == "metadata"
    rows = list(read_rows(place))
    assert all(isinstance(row, Row) for row in rows)
    assert [row.captions for row in rows] == [("A dog runs.", "A brown dog."), ("Eine Straße.",)]
    assert [row.image.read_bytes() for row in rows] == [path.read_bytes() for path in pictures[:2]]


def test_a_picture_is_linked_and_not_copied(out: Path, pictures: list[Path]) -> None:
    begin(out, labelled(pictures[0], "A dog."))
    assert os.path.samefile(out / lines(out)[0]["file_name"], pictures[0])


def test_corrections_stay_and_only_new_pictures_are_added(out: Path, pictures: list[Path]) -> None:
    first, second, third = (labelled(path, "A dog.") for path in pictures[:3])
    begin(out, first, second)
    corrected = (out / "metadata.jsonl").read_text().replace('["A dog."]', '["Ein Hund.", "Noch einer."]', 1)
    (out / "metadata.jsonl").write_text(corrected)
    assert go_on(out, first, second, third) == [True, True, False]
    assert (out / "metadata.jsonl").read_text().startswith(corrected)
    assert [line["captions"] for line in lines(out)] == [["Ein Hund.", "Noch einer."], ["A dog."], ["A dog."]]


def test_a_line_taken_out_comes_back_and_an_emptied_one_does_not(out: Path, pictures: list[Path]) -> None:
    first, second = (labelled(path, "A dog.") for path in pictures[:2])
    begin(out, first, second)
    emptied = json.dumps({**lines(out)[1], "captions": []})
    (out / "metadata.jsonl").write_text(emptied + "\n")
    assert go_on(out, first, second) == [False, True]
    assert [line["captions"] for line in lines(out)] == [[], ["A dog."]]


@pytest.mark.parametrize(
    ("edited", "what"),
    [
        (lambda text: text.removesuffix("\n"), "no line end at the end"),
        (lambda text: text.replace("\n", "\r\n"), "line ends of Windows"),
        (lambda text: "\ufeff" + text, "a byte order mark"),
        (lambda text: text + "\n\n", "blank lines"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_editors_do_to_a_file_loses_no_line(out: Path, pictures: list[Path], edited, what: str) -> None:
    first, second, third = (labelled(path, "A dog.") for path in pictures[:3])
    begin(out, first, second)
    metadata = out / "metadata.jsonl"
    metadata.write_bytes(edited(metadata.read_text()).encode())
    assert go_on(out, first, second, third) == [True, True, False]
    content = metadata.read_bytes()
    told = [json.loads(line) for line in content.removeprefix(b"\xef\xbb\xbf").splitlines() if line.strip()]
    assert [line["path"] for line in told] == [str(path) for path in pictures[:3]]


def test_a_line_torn_by_a_crash_is_written_again(out: Path, pictures: list[Path]) -> None:
    first, second = (labelled(path, "A dog.") for path in pictures[:2])
    begin(out, first, second)
    whole = (out / "metadata.jsonl").read_bytes()
    (out / "metadata.jsonl").write_bytes(whole[:-20])
    assert go_on(out, first, second) == [True, False]
    assert (out / "metadata.jsonl").read_bytes() == whole


def test_a_line_broken_by_hand_is_a_sentence_and_nothing_is_changed(out: Path, pictures: list[Path]) -> None:
    first, second = (labelled(path, "A dog.") for path in pictures[:2])
    begin(out, first, second)
    broken = (out / "metadata.jsonl").read_text().replace('["A dog."]', '["A dog.]', 1)
    (out / "metadata.jsonl").write_text(broken)
    with pytest.raises(DataError, match=r"Line 1 of .*metadata\.jsonl must be a JSON object"):
        go_on(out, first)
    assert (out / "metadata.jsonl").read_text() == broken


def test_other_settings_are_refused(out: Path, pictures: list[Path]) -> None:
    begin(out, labelled(pictures[0], "A dog."))
    with pytest.raises(DataError, match=r"made with other settings \(teacher 'tiny', now 'larger'\)"):
        LabelledFolder(out, {**MADE_BY, "teacher": "larger"}, resume=True)
    assert json.loads((out / "made_by.json").read_text()) == MADE_BY


def test_a_folder_with_captions_is_gone_on_with_only_if_asked(out: Path, pictures: list[Path]) -> None:
    begin(out, labelled(pictures[0], "A dog."))
    with pytest.raises(DataError, match="--resume"):
        LabelledFolder(out, MADE_BY, resume=False)


def test_a_folder_of_other_things_is_refused(pictures: list[Path]) -> None:
    with pytest.raises(DataError, match="holds other things"):
        LabelledFolder(pictures[0].parent, MADE_BY, resume=False)


def test_two_runs_at_a_time_are_refused(out: Path) -> None:
    with (
        LabelledFolder(out, MADE_BY, resume=False),
        pytest.raises(DataError, match="Only one process at a time"),
        LabelledFolder(out, MADE_BY, resume=True),
    ):
        pass


def test_a_picture_that_changed_since_it_was_looked_at_gets_no_line(out: Path, pictures: list[Path]) -> None:
    seen = labelled(pictures[0], "A dog.")
    pictures[0].write_bytes(pictures[1].read_bytes())
    with LabelledFolder(out, MADE_BY, resume=False) as folder:
        [answer] = folder.write([seen])
    assert answer.error_kind == "missing"
    assert (out / "metadata.jsonl").read_bytes() == b""
    [failed] = (out / "failed.jsonl").read_text().splitlines()
    assert json.loads(failed)["path"] == str(pictures[0])


@pytest.mark.parametrize(
    ("answers", "captions"),
    [
        (["A dog runs.", "a dog runs", "A cat."], ("A dog runs.", "A cat.")),
        (["", "Sure!", "I'm sorry, I can't.", "A dog."], ("A dog.",)),
        (["Dog.", "A dog &amp; a cat.", "n/a"], ("A dog & a cat.",)),
        (["A dog runs over grass and on. It is brown."], ()),
        (["A dog runs. It is brown and so on."], ("A dog runs.",)),
    ],
)
def test_captions_are_clean_short_and_different(answers: list[str], captions: tuple[str, ...]) -> None:
    assert captions_of(answers, max_words=5) == captions
