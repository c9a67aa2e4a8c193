"""Many pictures: what is taken, how captions come and stay, what is handed out, and a visitor's whole way through."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import gradio as gr
import pytest
import typer
from captioner.pipelines.caption import caption as caption_command
from PIL import Image

from app import many_intake
from app.desk import Asked, Desk
from app.limits import OWN, PUBLIC
from app.many import begin_anew, caption, download, edit, press, take_uploads
from app.many_batch import Batch, Picture
from app.many_downloads import KINDS, write_download
from app.many_drawing import draw_cards, draw_progress, draw_sentences, tell_progress
from app.many_intake import take
from app.many_run import TOGETHER, Pace, run
from app.uploads import Upload, Uploads, uploads
from captioner.data.formats.place import Place
from captioner.data.rows import Row
from captioner.data.sources import read_rows
from captioner.inference.caption import Candidate, Caption
from captioner.inference.captioner import Captioner
from captioner.model.captioning import CaptioningModel
from captioner.text.steering import Steering
from tests.browsing import CHROMIUM, in_browser, unfold
from tests.served import Served, serve
from tests.tar_files import pack


@pytest.fixture(scope="module")
def desk(model: CaptioningModel) -> Iterator[Desk]:
    with Desk({"m": Captioner(model)}) as desk:
        yield desk


@pytest.fixture
def asked(desk: Desk) -> Asked:
    return Asked("m", desk.captioner("m").search)


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return Batch(tmp_path / "served" / "batch", wanted=True)


def png(colour: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (30, 20), (colour, 90, 40)).save(file, "PNG")
    return file.getvalue()


def dropped(folder: Path, **files: bytes) -> list[Upload]:
    """Files as they lie where uploads do, one folder each; `name__jpg` is called name.jpg."""
    came = []
    for number, (name, content) in enumerate(files.items()):
        path = folder / "uploads" / f"{number}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        came.append(Upload(path, name.replace("__", ".")))
    return came


def packed(path: Path, **files: bytes) -> Upload:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "."), content)
    return Upload(path, path.name)


def without_digits(text: str) -> str:
    """Without the last digits of probabilities, which depend on how many pictures are captioned together."""
    return re.sub(r"(\.\d)\d*", r"\1", text)


def names(batch: Batch) -> list[str]:
    return [picture.name for picture in batch.pictures]


def finish(batch: Batch, desk: Desk, asked: Asked) -> list[Pace]:
    batch.wanted = True
    return list(run(batch, desk, asked))


# What is taken


def test_files_of_one_name_stay_apart_and_names_from_anywhere_are_harmless(batch: Batch, tmp_path: Path) -> None:
    [upload] = dropped(tmp_path, dog=png(1))
    given = ["dog.jpg", "dog.jpg", "../../etc/passwd", "C:\\me\\cat.png", "a\nb.jpg", "", "..", "\ud800.jpg", "x" * 999]
    assert take(batch, [upload._replace(name=name) for name in given], OWN) == []
    assert names(batch)[:7] == ["dog.jpg", "dog#2.jpg", "passwd", "cat.png", "a\\nb.jpg", "picture", "picture#2"]
    assert len(set(names(batch))) == len(given)
    for picture in batch.pictures:
        assert isinstance(picture.source, Path)
        assert picture.source.parent == batch.folder / "pictures"
        assert len(picture.name) < 250


def test_a_zip_and_a_tar_are_taken_with_their_folders_and_what_is_no_picture_is_passed_over(
    batch: Batch, tmp_path: Path
) -> None:
    archive = packed(tmp_path / "trip.zip", **{"day/a__png": png(1), "inner__zip": b"PK", "readme__txt": b"hello"})
    tar = Upload(pack(tmp_path / "old.tgz", [("../b.png", png(2))], "w:gz"), "old.tgz")
    assert take(batch, [archive, archive, tar], OWN) == []
    assert names(batch) == ["trip.zip/day/a.png", "trip#2.zip/day/a.png", "old.tgz/b.png"]


def test_a_member_whose_path_leads_through_another_is_taken_near_it(batch: Batch, tmp_path: Path) -> None:
    assert take(batch, [packed(tmp_path / "x.zip", **{"a__png": png(1), "a__png/b__png": png(2)})], OWN) == []
    assert names(batch) == ["x.zip/a.png", "x.zip/b.png"]


def test_over_the_limit_a_sentence_says_how_many_are_taken_and_what_to_do(batch: Batch, tmp_path: Path) -> None:
    archive = packed(tmp_path / "x.zip", a__png=png(1), b__png=png(2), c__png=png(3))
    [sentence] = take(batch, [archive, *dropped(tmp_path, d__png=png(4))], replace(OWN, pictures=2))
    assert names(batch) == ["x.zip/a.png", "x.zip/b.png"]
    assert "2 pictures at most are taken at a time: x.zip/c.png and 1 more had to be left out." in sentence
    assert "begin anew, and drop the rest" in sentence


def test_what_is_wrong_with_an_archive_or_a_member_is_a_sentence_without_a_path_of_the_server(
    batch: Batch, tmp_path: Path, desk: Desk, asked: Asked
) -> None:
    broken = dropped(tmp_path, broken__zip=b"no archive")
    empty = packed(tmp_path / "empty.zip", inner__zip=b"PK")
    large = packed(tmp_path / "large.zip", a__png=bytes(1_000_001))
    notes = take(batch, [*broken, empty, large], replace(OWN, file_megabytes=1))
    assert [note.split(",")[0] for note in notes] == [
        "broken.zip must be a whole ZIP archive",
        "An archive to caption must hold pictures",
    ]
    assert "empty.zip holds none" in notes[1]
    finish(batch, desk, asked)
    [picture] = batch.pictures
    assert picture.failed
    told = picture.record()
    assert told["error"] == "large.zip/a.png must have at most 1 MB, but it has 1 MB; save it smaller."
    assert told["error_kind"] == "too large"
    assert str(tmp_path) not in "".join([*notes, *draw_cards(batch)])


def test_a_full_disk_is_a_sentence_and_what_was_taken_stays(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copyfileobj

    def fail(source: BinaryIO, target: BinaryIO) -> None:
        copy(source, target)
        if Path(target.name).name.startswith("b"):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", fail)
    [sentence] = take(batch, dropped(tmp_path, a__png=png(1), b__png=png(2)), OWN)
    assert "No space left on device" in sentence
    assert names(batch) == ["a.png"]
    assert [path.name for path in batch.folder.rglob("*.png") if path.is_file()] == ["a.png"]


def test_what_an_archive_unpacks_to_needs_room_like_what_is_uploaded(tmp_path: Path) -> None:
    folder = tmp_path / "served"
    batch = Batch(folder / "batch", Uploads(folder, replace(PUBLIC, stored_megabytes=6)).room)
    zeros = tmp_path / "zeros.zip"
    with zipfile.ZipFile(zeros, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(5):
            archive.writestr(f"{number}.jpg", bytes(2_000_000))
    assert zeros.stat().st_size < 20_000
    [sentence] = take(batch, [Upload(zeros, "zeros.zip"), *dropped(tmp_path, a__png=png(1))], PUBLIC)
    assert "no room for more pictures at the moment: zeros.zip/3.jpg and what came after" in sentence
    assert names(batch) == ["zeros.zip/0.jpg", "zeros.zip/1.jpg", "zeros.zip/2.jpg"]
    assert sum(path.stat().st_size for path in folder.rglob("*.jpg")) == 6_000_000
    for kind in ("JSONL", "ImageFolder"):
        assert "no room for this download at the moment" in download(kind, batch)[0]


def test_of_an_archive_with_far_too_many_pictures_not_all_are_looked_at(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many_intake, "_LEFT_OUT", 3)
    archive = packed(tmp_path / "x.zip", **{f"{number}__png": png(number) for number in range(9)})
    looked, told = take(batch, [archive], replace(OWN, pictures=2))
    assert looked == "x.zip must hold fewer pictures: when 3 had found no place, nobody looked for more."
    assert "x.zip/2.png and 2 more had to be left out" in told


def test_neither_the_end_of_the_upload_nor_a_download_makes_a_picture_younger(
    batch: Batch, tmp_path: Path, desk: Desk, asked: Asked
) -> None:
    [upload] = dropped(tmp_path, a__png=png(1))
    take(batch, [upload], OWN)
    before = (batch.folder / "pictures" / "a.png").stat().st_ctime_ns
    finish(batch, desk, asked)
    upload.path.unlink()
    write_download(batch, "ImageFolder")
    assert (batch.folder / "pictures" / "a.png").stat().st_ctime_ns == before


# The run


def test_captions_come_a_few_at_a_time_and_one_broken_picture_ends_nothing(
    batch: Batch, tmp_path: Path, desk: Desk, asked: Asked
) -> None:
    files = {f"{number}__png": png(number) for number in range(TOGETHER + 1)} | {"2__png": b"broken"}
    take(batch, dropped(tmp_path, **files), OWN)
    paces = finish(batch, desk, asked)
    assert [(pace.done, pace.failed) for pace in paces] == [(0, 0), (TOGETHER, 1), (TOGETHER + 1, 1)]
    assert paces[-1].total == TOGETHER + 1
    record = batch.pictures[2].record()
    assert record["caption"] is None
    assert record["error"].startswith("2.png must be")
    assert str(batch.folder) not in record["error"]
    assert all((picture.thumbnail is None) == picture.failed for picture in batch.pictures)


def test_stopped_it_keeps_what_is_done_and_goes_on_from_there(
    batch: Batch, tmp_path: Path, desk: Desk, asked: Asked
) -> None:
    take(batch, dropped(tmp_path, **{f"{number}__png": png(number) for number in range(2 * TOGETHER)}), OWN)
    for now in run(batch, desk, asked):
        batch.wanted = now.done == 0
    assert batch.done == TOGETHER
    kept = batch.records()
    [begun, ended] = finish(batch, desk, asked)
    assert (begun.done, ended.done) == (TOGETHER, 2 * TOGETHER)
    assert batch.records()[:TOGETHER] == kept


def test_pictures_added_meanwhile_are_captioned_by_the_same_run_and_by_no_second_one(
    batch: Batch, tmp_path: Path, desk: Desk, asked: Asked
) -> None:
    take(batch, dropped(tmp_path, a__png=png(1)), OWN)
    going = run(batch, desk, asked)
    next(going)
    take(batch, dropped(tmp_path, b__png=png(2)), OWN)
    second: list[Pace] = []
    other = threading.Thread(target=lambda: second.extend(run(batch, desk, asked)))
    other.start()
    other.join()
    assert list(going)[-1].done == 2
    assert second == []


def test_a_visitor_who_leaves_ends_the_run(batch: Batch, tmp_path: Path, desk: Desk, asked: Asked) -> None:
    take(batch, dropped(tmp_path, a__png=png(1)), OWN)
    going = run(batch, desk, asked)
    next(going)
    going.close()
    assert batch.done == 0
    assert batch.begin()


def test_speed_and_time_left_are_those_of_the_run(batch: Batch, tmp_path: Path, desk: Desk, asked: Asked) -> None:
    take(batch, dropped(tmp_path, **{f"{number}__png": png(number) for number in range(12)}), OWN)
    seconds: Iterator[float] = iter([10.0, 12.0, 13.0])
    paces = list(run(batch, desk, asked, clock=lambda: next(seconds)))
    assert [pace.a_second for pace in paces] == [None, 8 / 2, 12 / 3]
    assert paces[1].seconds_left == 1.0
    assert paces[0].seconds_left is None


# Corrections


def test_what_was_said_of_a_picture_stays_when_it_is_no_longer_kept(
    batch: Batch, tmp_path: Path, desk: Desk, asked: Asked
) -> None:
    take(batch, dropped(tmp_path, a__png=png(1)), OWN)
    finish(batch, desk, asked)
    said = batch.pictures[0].text
    take(batch, dropped(tmp_path, b__png=png(2)), OWN)
    for picture in batch.pictures:
        picture.source.unlink()
    batch.forget()
    finish(batch, desk, asked)
    assert [picture.text for picture in batch.pictures] == [said, None]
    assert (
        batch.pictures[1].caption.error == "The picture must still be here, but it is no longer kept; choose it again."
    )
    assert batch.done == 2


def test_a_corrected_caption_is_marked_and_no_other_run_changes_it(
    batch: Batch, tmp_path: Path, desk: Desk, asked: Asked
) -> None:
    take(batch, dropped(tmp_path, a__png=png(1), b__png=png(2)), OWN)
    finish(batch, desk, asked)
    said = batch.pictures[1].text
    batch.edit(0, "  Two\nhens. ")
    batch.forget()
    finish(batch, desk, replace(asked, steering=Steering(beginning="water")))
    assert batch.pictures[0].text == "Two hens."
    assert batch.pictures[1].text != said
    record = batch.pictures[0].record()
    assert record["caption"] == "Two hens."
    assert record["confidence"] is None
    assert record["made_by"]["edited"] is True
    assert record["candidates"][0]["text"] != "Two hens."
    assert "edited" not in batch.pictures[1].record()["made_by"]
    assert [" data-edited" in card for card in draw_cards(batch)] == [True, False]


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_correction_and_the_models_own_words_take_a_correction_back(
    batch: Batch, tmp_path: Path, desk: Desk, asked: Asked, text: str
) -> None:
    take(batch, dropped(tmp_path, a__png=png(1)), OWN)
    finish(batch, desk, asked)
    said = batch.pictures[0].text
    assert said
    for back in (text, said):
        batch.edit(0, "Two hens.")
        batch.edit(0, back)
        assert batch.pictures[0].edited is None
        assert batch.pictures[0].text == said


def test_what_has_no_caption_and_what_is_not_there_cannot_be_corrected(
    batch: Batch, tmp_path: Path, desk: Desk, asked: Asked
) -> None:
    take(batch, dropped(tmp_path, a__png=b"broken"), OWN)
    batch.edit(0, "Two hens.")
    finish(batch, desk, asked)
    for place in (-1, 0, 1):
        batch.edit(place, "Two hens.")
    assert batch.pictures[0].text is None


# The downloads


def test_downloads_hold_what_the_command_line_writes_for_the_same_pictures(
    model_folder: Path, batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = Captioner.from_pretrained(model_folder)
    here = tmp_path / "here"
    here.mkdir()
    files = {"=a.png": png(1), "b.png": png(2), "b.jpg": png(3), "c.png": b"broken"}
    for name, content in files.items():
        (here / name).write_bytes(content)
    take(batch, [Upload(here / name, name) for name in files], OWN)
    with Desk({"m": captioner}) as desk:
        finish(batch, desk, Asked("m", captioner.search))
    monkeypatch.chdir(here)
    with pytest.raises(typer.Exit) as ended:  # one picture has no caption
        caption_command(list(files), out=Path("out.csv"), model=model_folder, workers=1)
    assert ended.value.exit_code == 3

    jsonl, ours = (write_download(batch, kind).path.read_text() for kind in ("JSONL", "CSV"))
    assert without_digits(jsonl) == without_digits(Path("out.csv.jsonl").read_text())
    assert without_digits(ours) == without_digits(Path("out.csv").read_text())
    rows = list(csv.DictReader(io.StringIO(ours)))
    assert [row["path"] for row in rows] == ["'=a.png", "b.png", "b.jpg", "c.png"]
    with zipfile.ZipFile(write_download(batch, "Text files").path) as sidecars:
        said = {name: sidecars.read(name).decode().strip() for name in sidecars.namelist()}
    assert said == {f"{name}.txt": row["caption"] for name, row in zip(["=a", "b.png", "b.jpg"], rows, strict=False)}
    with zipfile.ZipFile(write_download(batch, "ImageFolder").path) as folder:
        lines = [json.loads(line) for line in folder.read("metadata.jsonl").splitlines()]
        assert [line["path"] for line in lines] == ["=a.png", "b.png", "b.jpg"]
        assert [folder.read(line["file_name"]) for line in lines] == list(files.values())[:3]
        assert len(folder.namelist()) == 4


def test_a_correction_is_in_every_download_and_only_the_last_of_each_kind_is_kept(
    batch: Batch, tmp_path: Path, desk: Desk, asked: Asked
) -> None:
    take(batch, [packed(tmp_path / "x.zip", **{"day/a__png": png(1)})], OWN)
    finish(batch, desk, asked)
    batch.edit(0, "Two hens.")
    assert json.loads(write_download(batch, "JSONL").path.read_text())["caption"] == "Two hens."
    assert "Two hens." in write_download(batch, "CSV").path.read_text()
    with zipfile.ZipFile(write_download(batch, "Text files").path) as sidecars:
        assert sidecars.read("x.zip/day/a.txt") == b"Two hens.\n"
    with zipfile.ZipFile(write_download(batch, "ImageFolder").path) as folder:
        folder.extractall(tmp_path / "to learn from")
    [learnt] = [row for row in read_rows(Place(tmp_path / "to learn from")) if isinstance(row, Row)]
    assert learnt.captions == ("Two hens.",)  # and none of the model's own
    assert json.loads((tmp_path / "to learn from" / "metadata.jsonl").read_text())["edited"] is True
    write_download(batch, "ImageFolder")
    kept = sorted(path.name for path in (batch.folder / "downloads").rglob("*") if path.is_file())
    assert kept == ["captions.csv", "captions.jsonl", "captions.zip", "imagefolder.zip"]


def test_downloads_pressed_at_once_are_written_one_after_the_other(
    batch: Batch, tmp_path: Path, desk: Desk, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(batch, dropped(tmp_path, a__png=png(1)), OWN)
    finish(batch, desk, asked)
    writing, most = 0, 0

    def write(_: Batch, target: Path) -> int:
        nonlocal writing, most
        writing += 1
        most = max(most, writing)
        time.sleep(0.02)
        target.write_bytes(b"")
        writing -= 1
        return 0

    monkeypatch.setitem(KINDS, "CSV", ("captions.csv", write))
    with ThreadPoolExecutor(3) as pressing:
        written = list(pressing.map(partial(write_download, batch), ["CSV"] * 3))
    assert most == 1
    assert [each.path.exists() for each in written].count(True) == 1


def test_a_disk_that_is_full_at_a_download_is_a_sentence_without_a_path(
    batch: Batch, tmp_path: Path, desk: Desk, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(batch, dropped(tmp_path, a__png=png(1)), OWN)
    finish(batch, desk, asked)

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", fail)
    monkeypatch.setitem(KINDS, "JSONL", ("captions.jsonl", fail))
    for kind, name in (("Text files", "captions.zip"), ("JSONL", "captions.jsonl")):
        sentence, link = download(kind, batch)
        assert f"{name} cannot be written (No space left on device); make room" in sentence
        assert str(tmp_path) not in sentence
        assert link == ""


def test_a_download_while_captions_come_finds_no_picture_half_told(
    batch: Batch, tmp_path: Path, desk: Desk, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(batch, dropped(tmp_path, a__png=png(1)), OWN)
    told: list[int] = []

    def look_after(picture: Picture, name: str, value: object) -> None:
        object.__setattr__(picture, name, value)
        told.append(len(batch.records()))

    monkeypatch.setattr(Picture, "__setattr__", look_after, raising=False)
    finish(batch, desk, asked)
    assert told[-1] == 1


def test_pictures_that_are_no_longer_kept_are_told_to_be_missing(
    batch: Batch, tmp_path: Path, desk: Desk, asked: Asked
) -> None:
    take(batch, dropped(tmp_path, a__png=png(1), b__png=png(2)), OWN)
    finish(batch, desk, asked)
    (batch.folder / "pictures" / "a.png").unlink()
    assert write_download(batch, "ImageFolder").left_out == 1
    assert "without 1 pictures, which are no longer kept" in download("ImageFolder", batch)[1]


# What the page shows


def test_progress_is_told_in_a_sentence() -> None:
    assert tell_progress(Pace(0, 120, 0), running=True) == "0 of 120, waiting for the model"
    told = tell_progress(Pace(37, 120, 2, a_second=20.75), running=True)
    assert told == "37 of 120, 21 a second, about 4 seconds left, 2 could not be captioned"
    assert tell_progress(Pace(37, 1200, 0, 0.5), running=True) == "37 of 1,200, 30 a minute, about 39 minutes left"
    assert tell_progress(Pace(119, 120, 0, 21.0), running=True) == "119 of 120, 21 a second, a moment left"
    assert tell_progress(Pace(37, 120, 0), running=False) == "37 of 120, stopped"
    assert tell_progress(Pace(120, 120, 1), running=False) == "120 pictures, done, 1 could not be captioned"
    assert draw_progress(Pace(0, 0, 0), running=False) == ""


def test_names_of_strange_files_and_words_of_strange_models_cannot_become_html(batch: Batch, tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script>'
    take(batch, [dropped(tmp_path, a=png(1))[0]._replace(name=evil.replace("/", ""))], OWN)
    [picture] = batch.pictures
    picture.caption = Caption((Candidate(evil, -1.0, ()),), confidence=0.1, uncertain=False)
    cards = draw_cards(batch)
    picture.caption = Caption(error=evil, error_kind="damaged")
    for html in (*cards, *draw_cards(batch), draw_sentences([evil])):
        assert "<script" not in html
        assert "&lt;script" in html


def test_cards_tell_how_sure_the_model_is_so_that_the_least_sure_can_come_first(batch: Batch, tmp_path: Path) -> None:
    take(batch, dropped(tmp_path, **{f"{number}__png": png(number) for number in range(4)}), OWN)
    said = (Candidate("A dog runs.", -1.0, ()),)
    for picture, each in zip(
        batch.pictures,
        [
            Caption(said, confidence=0.75, uncertain=False),
            Caption(said, confidence=0.1, uncertain=False),
            Caption(said, uncertain=True),
            Caption(said),
        ],
        strict=True,
    ):
        picture.caption = each
    sure, low, unlike, unknown = draw_cards(batch)
    assert 'data-kind="sure" data-sure="0.7500"' in sure
    assert "high confidence" in sure
    assert 'data-kind="uncertain" data-sure="0.1000"' in low
    assert 'data-kind="uncertain" data-sure="-1.0000"' in unlike
    assert 'data-kind="sure" data-sure=""' in unknown
    assert "onfidence" not in unknown


def test_a_wish_that_cannot_be_granted_is_a_sentence_and_nothing_is_lost(
    batch: Batch, tmp_path: Path, desk: Desk
) -> None:
    take(batch, dropped(tmp_path, a__png=png(1)), OWN)
    [shown] = caption(desk, batch, "m", "", "gryphon", "", 8)
    assert "must say &#x27;gryphon&#x27;" in shown[0]
    assert not batch.wanted
    assert not batch.done
    press(batch)
    *_, shown = caption(desk, batch, "m", "", "water", "", 8)
    assert "water" in batch.pictures[0].text.lower()  # type: ignore[union-attr]
    assert shown[-1]["said"] == "1 picture, done"


def test_the_button_stops_goes_on_and_captions_again(batch: Batch, tmp_path: Path, desk: Desk) -> None:
    take(batch, dropped(tmp_path, a__png=png(1)), OWN)
    assert press(batch)[4].value == "Go on"
    assert press(batch)[4].value == "Stop"
    *_, last = caption(desk, batch, "m", "", "", "", 8)
    assert last[3].value == "Caption again"
    assert press(batch)[4].value == "Stop"
    assert batch.done == 0


def test_whoever_begins_anew_and_is_sure_has_no_pictures_left_on_the_server(
    batch: Batch, tmp_path: Path, desk: Desk
) -> None:
    take(batch, dropped(tmp_path, a__png=png(1)), OWN)
    going = caption(desk, batch, "m", "", "", "", 8)
    next(going)
    begin_anew(batch, False)
    assert batch.folder.exists()
    begin_anew(batch, True)
    assert not batch.folder.exists()
    assert [shown[1:] for shown in going] == [(gr.skip(),) * 4]  # nothing of it comes back


def test_uploads_come_with_the_visitors_names_and_never_by_address() -> None:
    file = SimpleNamespace(path="/uploads/ab/dog.jpg", orig_name="Dog & cat.jpg")
    assert uploads(SimpleNamespace(root=[file])) == [Upload(Path("/uploads/ab/dog.jpg"), "Dog & cat.jpg")]
    assert uploads(None) == []
    with pytest.raises(gr.Error, match="must come as files"):
        uploads(SimpleNamespace(path=None, orig_name="x", url="http://127.0.0.1/x.jpg"))


def test_the_first_pictures_make_a_batch_in_the_folder_of_uploads(tmp_path: Path, desk: Desk) -> None:
    stored = Uploads(tmp_path, replace(OWN, stored_megabytes=1))
    _, _, batch, *_ = take_uploads(stored, None, dropped(tmp_path, a__png=png(1)))
    _, _, same, *_ = take_uploads(stored, batch, dropped(tmp_path, b__png=png(2)))
    assert same is batch
    assert batch.folder.is_relative_to(tmp_path)
    assert names(batch) == ["a.png", "b.png"]
    assert batch.wanted
    room = batch.room()
    with stored.awaited(100_000):
        assert batch.room() == room - 100_000  # which somebody else is sending
    assert next(caption(desk, None, "m", "", "", "", 8)) == (gr.skip(),) * 5


def test_what_was_still_being_unpacked_when_the_visitor_began_anew_is_gone_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = Uploads(tmp_path, OWN)
    _, _, batch, *_ = take_uploads(stored, None, dropped(tmp_path, a__png=png(1)))

    def take_slowly(*arguments: Any) -> list[str]:
        begin_anew(batch, True)
        return take(*arguments)

    monkeypatch.setattr("app.many.take", take_slowly)
    assert take_uploads(stored, batch, dropped(tmp_path, b__png=png(2))) == (gr.skip(),) * 7
    assert not batch.folder.exists()


def test_whose_session_is_over_is_told_so_whatever_is_pressed_or_corrected(batch: Batch) -> None:
    assert len(press(None)) == len(press(batch))
    correction = gr.EventData(None, {"place": 0, "text": "x"})
    for sentence in (press(None)[0], edit(None, correction)[1], download("CSV", None)[0]):
        assert "Your pictures are no longer here; drop them again." in sentence
    assert edit(batch, correction) == (batch, gr.skip())  # which is kept as long again


@pytest.mark.parametrize(
    "forged", [None, {}, {"place": "x", "text": ""}, {"place": None, "text": ""}, {"place": 1e999}]
)
def test_a_forged_correction_is_a_sentence(batch: Batch, forged: Any) -> None:
    assert "A correction must be a text and the place of its picture" in edit(batch, gr.EventData(None, forged))[1]


# In a browser


@in_browser
def test_a_visitor_drops_pictures_watches_them_stops_goes_on_sorts_corrects_and_takes_all_along(
    model_folder: Path, tmp_path: Path
) -> None:
    from playwright.sync_api import Page, expect, sync_playwright

    expect.set_options(timeout=60_000)  # milliseconds; the machine may be busy
    foreign: list[str] = []
    complaints: list[str] = []
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    files = {f"{number:02}__png": png(number) for number in range(11)} | {"letter__jpg": b"Dear reader"}
    many = packed(tmp_path / "many.zip", **{f"{number:03}__png": png(number) for number in range(80)})

    def downloaded(page: Page, kind: str) -> bytes:
        with page.expect_download() as started:
            page.get_by_role("button", name=kind, exact=True).click()
        return started.value.path().read_bytes()

    options = ("--model", model_folder, "--home", tmp_path / "home")
    with serve(*options, temporary=temporary) as served, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 375, "height": 812}, reduced_motion="reduce")
        page.on("request", lambda request: foreign.append(request.url) if is_foreign(request.url, served) else None)
        page.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto(served.address)
        page.get_by_role("tab", name="Many pictures").click()
        cards, progress = page.locator("#many-gallery li"), page.locator("#many-progress")
        drop, go = page.locator("#many-files input[type=file]"), page.locator("#many-go")

        # A dozen, one of them broken
        drop.set_input_files([upload.path for upload in dropped_as_called(tmp_path, files)])
        expect(progress).to_have_text("12 pictures, done, 1 could not be captioned")
        expect(cards).to_have_count(12)
        expect(page.get_by_role("status").filter(has_text="12 pictures, done")).to_have_count(1)
        assert page.evaluate("document.documentElement.scrollWidth") <= 375

        # An archive, stopped and gone on with
        drop.set_input_files(many.path)
        expect(cards.nth(12)).to_be_attached()
        go.click()
        expect(progress).to_contain_text("of 92, stopped")
        expect(go).to_have_text("Go on")
        # What was in the works still comes.
        page.wait_for_function(
            "() => document.querySelectorAll('#many-gallery li').length"
            " === parseInt(document.getElementById('many-progress').innerText)"
        )
        assert 12 < cards.count() < 92
        go.click()
        expect(progress).to_have_text("92 pictures, done, 1 could not be captioned")
        expect(cards).to_have_count(92)

        # Sorted, filtered
        expect(cards.last).to_contain_text("letter.jpg must be")
        page.get_by_label("Sort").select_option("By name")
        expect(cards.first).to_have_attribute("data-name", "00.png")
        page.get_by_label("Not captioned 1").check(force=True)
        expect(cards.filter(visible=True)).to_have_count(1)
        page.get_by_label("All 92").check(force=True)

        # Corrected, by keyboard; no other run changes it
        page.get_by_label("Caption of 00.png").fill("Two hens.")
        page.keyboard.press("Enter")
        expect(page.get_by_label("Caption of 01.png")).to_be_focused()
        page.keyboard.type("Three ducks.")
        page.keyboard.press("Tab")
        expect(page.get_by_label("Caption of 02.png")).to_be_focused()
        page.keyboard.type("nothing of this")
        page.keyboard.press("Escape")
        expect(page.get_by_label("Caption of 02.png")).not_to_have_value("nothing of this")
        expect(page.get_by_label("Edited 2")).to_be_attached()
        expect(page.get_by_alt_text("Two hens.")).to_be_attached()
        unfold(page, "Steer the sentences")
        page.get_by_label("Begins with").fill("red")
        page.keyboard.press("Tab")
        go.click()
        expect(progress).to_have_text("92 pictures, done, 1 could not be captioned")
        expect(page.get_by_label("Caption of 02.png")).to_have_value(re.compile("^Red"))
        expect(page.get_by_label("Caption of 00.png")).to_have_value("Two hens.")

        # Taken along
        records = [json.loads(line) for line in downloaded(page, "JSONL").splitlines()]
        assert [record["path"] for record in records][:13] == [
            *(f"{number:02}.png" for number in range(11)),
            "letter.jpg",
            "many.zip/000.png",
        ]
        assert [record["caption"] for record in records][:2] == ["Two hens.", "Three ducks."]
        assert records[11]["error"].startswith("letter.jpg must be")
        rows = list(csv.DictReader(io.StringIO(downloaded(page, "CSV").decode())))
        assert [row["caption"] for row in rows] == [record["caption"] or "" for record in records]
        with zipfile.ZipFile(io.BytesIO(downloaded(page, "Text files"))) as sidecars:
            assert len(sidecars.namelist()) == 91
            assert sidecars.read("many.zip/007.txt").decode() == f"{records[19]['caption']}\n"
        with zipfile.ZipFile(io.BytesIO(downloaded(page, "ImageFolder"))) as folder:
            lines = [json.loads(line) for line in folder.read("metadata.jsonl").splitlines()]
            assert [line["caption"] for line in lines] == [row["caption"] for row in rows if row["caption"]]
            assert folder.read(lines[3]["file_name"]) == png(3)

        # Kept to teach; the first eleven came twice
        page.get_by_role("button", name="Keep these to teach").click()
        expect(page.locator("#many-sentences")).to_have_text(
            "2 pictures are kept to teach, with what you wrote. 78 pictures are waiting on the tab Teach to be "
            "corrected. 11 pictures are in the collection already, and left alone."
        )
        page.get_by_role("tab", name="Teach").click()
        expect(page.locator("#teach-kept h2")).to_have_text("2 pictures, 2 captions")
        expect(page.locator("#teach-picture")).to_contain_text("78 pictures to correct")
        page.get_by_role("tab", name="Many pictures").click()

        # Away with all of it
        assert list(temporary.glob("captioner-*/many/*/pictures/many.zip/079.png"))
        page.get_by_role("button", name="Begin anew").click()
        expect(cards).to_have_count(0)
        expect(go).to_be_hidden()
        assert list(temporary.glob("captioner-*/many/*")) == []
        browser.close()
    assert foreign == []
    assert complaints == []


def is_foreign(url: str, served: Served) -> bool:
    return not url.startswith((served.address, "data:", "blob:"))


def dropped_as_called(folder: Path, files: dict[str, bytes]) -> list[Upload]:
    """Files that lie under the very names they are called by."""
    return [
        upload._replace(path=upload.path.rename(upload.path.with_name(upload.name)))
        for upload in dropped(folder, **files)
    ]
