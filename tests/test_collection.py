"""Collections: what is kept, what is left out and why, and that nothing is changed on the way."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import datasets
import pytest
from PIL import Image, ImageDraw

from captioner.data.captions import Limits
from captioner.data.collection import FEATURES, build, load_collection
from captioner.data.rows import Dropped, Row
from captioner.data.splits import Shares
from captioner.errors import DataError
from tests.layouts import flickr8k, jpeg, prepared, reasons


@pytest.fixture(autouse=True)
def _no_progress_bars():
    datasets.disable_progress_bars()


def row(split: str | None, name: str, seed: int, *captions: str) -> Row:
    return Row(split, name, jpeg(seed), captions or ("some good words",))


def good_lines(names: str) -> str:
    return "".join(f"{name}.jpg#0\ta caption of {name}\n" for name in names)


def test_flickr8k_becomes_splits_of_captioned_pictures(tmp_path):
    result = prepared(flickr8k(tmp_path / "f"), tmp_path)
    assert {split: dataset["image_id"][:] for split, dataset in result.collection.items()} == {
        "train": ["a.jpg", "b.jpg"],
        "validation": ["c.jpg"],
    }
    assert result.collection["validation"][0]["captions"] == ["caption 0 of c .", "caption 1 of c ."]
    assert result.collection["train"].features == FEATURES
    assert result.report.pictures == {"train": 2, "validation": 1}
    assert result.report.captions == {"train": 4, "validation": 2}
    assert result.report.dropped == ()
    assert result.report.bad_share == 0


def test_pictures_keep_their_bytes_and_captions_their_spelling_on_the_way_to_disk_and_back(tmp_path):
    folder = flickr8k(tmp_path / "f", tokens=good_lines("bc") + "a.jpg#0\t  Zoë's  dog, 2\tyears <old> 🐕 .  \n")
    prepared(folder, tmp_path).collection.save_to_disk(str(tmp_path / "out"))
    train = load_collection(tmp_path / "out")["train"]
    stored = train.cast_column("image", datasets.Image(decode=False))
    assert [row["image"]["bytes"] for row in stored] == [jpeg(0), jpeg(1)]
    assert train[0]["captions"] == ["Zoë's  dog, 2\tyears <old> 🐕 ."]
    assert train[0]["image"].size == (10, 8)


def test_a_prepared_collection_needs_nothing_of_its_source(tmp_path):
    folder = flickr8k(tmp_path / "f")
    prepared(folder, tmp_path).collection.save_to_disk(str(tmp_path / "out"))
    for place in (folder / "images", tmp_path / "working"):
        place.rename(tmp_path / f"moved {place.name}")
    assert load_collection(tmp_path / "out")["train"][1]["image"].size == (10, 8)


def test_two_people_may_write_the_same_caption(tmp_path):
    folder = flickr8k(tmp_path / "f", tokens=good_lines("abc") + "a.jpg#1\ta caption of a\n")
    result = prepared(folder, tmp_path)
    assert result.collection["train"][0]["captions"] == ["a caption of a"] * 2


def test_pictures_that_cannot_be_used_are_dropped_by_reason(tmp_path):
    names = ["a", "b", "c", "gone", "text", "zero", "cut", "folder", "mute", "other"]
    lines = "".join(f"{name}.jpg#0\t{'.' if name == 'mute' else 'good words'}\n" for name in names)
    listed = "".join(f"{name}.jpg\n" for name in [*names[:-1], "unknown"] if name != "c")
    folder = flickr8k(tmp_path / "f", tokens=lines, train=listed)
    for name, content in {"text": b"hello", "zero": b"", "cut": jpeg(9)[:300], "mute": jpeg(10)}.items():
        (folder / "images" / f"{name}.jpg").write_bytes(content)
    (folder / "images" / "folder.jpg").mkdir()
    result = prepared(folder, tmp_path)
    assert reasons(result.report.dropped) == {
        "file is no picture": ["text.jpg"],
        "picture file empty": ["zero.jpg"],
        "picture damaged": ["cut.jpg"],
        "picture file missing": ["gone.jpg", "folder.jpg"],
        "empty caption": ["mute.jpg"],
        "in no split list": ["other.jpg"],
        "listed in a split but has no captions": ["unknown.jpg"],
        "no captions": ["mute.jpg"],
    }
    assert result.report.pictures == {"train": 2, "validation": 1}
    # Seven of ten: the picture in no list is nobody's fault, and a caption is no picture.
    assert result.report.bad_share == pytest.approx(7 / 10)
    assert all(
        loss.detail for loss in result.report.dropped if loss.reason in ("file is no picture", "picture damaged")
    )


@pytest.mark.parametrize("content", ["bytes", "file"])
def test_a_picture_of_the_wrong_size_or_a_file_that_cannot_be_read_is_one_loss(tmp_path, content):
    big = io.BytesIO()
    Image.new("1", (60_000, 1)).save(big, "PNG")
    (tmp_path / "big.png").write_bytes(big.getvalue())
    picture = big.getvalue() if content == "bytes" else tmp_path / "big.png"
    rows = [
        row("train", "a", 0),
        Row("train", "big", picture, ("good words",)),
        Row("train", "x", tmp_path, ("no file",)),
    ]
    result = build(rows, tmp_path)
    assert reasons(result.report.dropped) == {"picture too large": ["big"], "picture unreadable": ["x"]}


def test_a_picture_in_two_splits_stays_in_the_first_only(tmp_path):
    result = prepared(flickr8k(tmp_path / "f", dev="a.jpg\nc.jpg\n"), tmp_path)
    assert result.collection["train"]["image_id"][:] == ["a.jpg", "b.jpg"]
    assert result.collection["validation"]["image_id"][:] == ["c.jpg"]
    assert reasons(result.report.dropped) == {"listed in two splits": ["a.jpg"]}


def test_a_picture_under_two_names_does_not_leak_into_a_later_split(tmp_path):
    folder = flickr8k(tmp_path / "f", tokens=good_lines("abcd"), dev="c.jpg\nd.jpg\n")
    (folder / "images" / "d.jpg").write_bytes(jpeg(0))
    result = prepared(folder, tmp_path)
    assert result.collection["validation"]["image_id"][:] == ["c.jpg"]
    assert reasons(result.report.dropped) == {"same picture as in an earlier split": ["d.jpg"]}


def test_a_name_is_given_once_in_a_split(tmp_path):
    rows = [Row("train", "a", jpeg(0), ("the first",)), Row("train", "a", jpeg(1), ("the second",))]
    result = build(rows, tmp_path)
    assert result.collection["train"]["captions"][:] == [["the first"]]
    assert reasons(result.report.dropped) == {"named twice in one split": ["a"]}


def test_the_order_of_the_source_does_not_matter(tmp_path):
    rows = [Row("train", f"{seed:03}", jpeg(seed), (f"caption {seed}",)) for seed in range(150)]
    files = []
    for number, order in enumerate((rows, rows[::-1])):
        (tmp_path / str(number)).mkdir()
        result = build(order, tmp_path / str(number))
        result.collection.save_to_disk(str(tmp_path / f"out{number}"))
        out = tmp_path / f"out{number}"
        files.append({file.name: file.read_bytes() for file in out.rglob("*") if file.is_file()})
    assert files[0] == files[1]
    assert len(files[0]) == 4


def test_the_fingerprint_sees_every_change(tmp_path):
    row = Row("train", "a", jpeg(0), ("good words",))
    others = [
        Row("validation", "a", jpeg(0), ("good words",)),
        Row("train", "b", jpeg(0), ("good words",)),
        Row("train", "a", jpeg(1), ("good words",)),
        Row("train", "a", jpeg(0), ("good word",)),
    ]
    fingerprints = Counter(build([one], tmp_path).report.fingerprint for one in [row, row, *others])
    assert sorted(fingerprints.values()) == [1, 1, 1, 1, 2]


def test_nothing_is_left_in_the_cache_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    result = prepared(flickr8k(tmp_path / "f"), tmp_path)
    files = [Path(part["filename"]) for part in result.collection["train"].cache_files]
    assert files == [tmp_path / "working" / "train.arrow"]
    assert not (tmp_path / "cache").exists()


def picture_of(shift: int, side: int, fmt: str, **options: int) -> bytes:
    """Some shapes on a background that gets brighter to one side, as a file."""
    image = Image.linear_gradient("L").rotate(90).resize((256, 256)).convert("RGB")
    brush = ImageDraw.Draw(image)
    for place, colour in enumerate(("red", "blue", "white", "black")):
        x, y = (61 * (place + shift)) % 190, (97 * (place + 2 * shift)) % 190
        brush.ellipse((x, y, x + 60, y + 50), fill=colour)
    content = io.BytesIO()
    image.resize((side, side)).save(content, fmt, **options)
    return content.getvalue()


def lookalikes() -> list[Row]:
    return [
        Row("train", "a.png", picture_of(1, 256, "PNG"), ("good words",)),
        Row("validation", "again.jpg", picture_of(1, 180, "JPEG", quality=40), ("good words",)),
        Row("validation", "other.jpg", picture_of(5, 256, "JPEG"), ("good words",)),
        Row("test", "once more.webp", picture_of(5, 300, "WEBP", quality=60), ("good words",)),
        Row("test", "new.png", picture_of(9, 256, "PNG"), ("good words",)),
    ]


def test_a_picture_saved_again_does_not_leak_into_a_later_split(tmp_path):
    result = build(lookalikes(), tmp_path)
    assert {split: part["image_id"][:] for split, part in result.collection.items()} == {
        "train": ["a.png"],
        "validation": ["other.jpg"],
        "test": ["new.png"],
    }
    assert [(loss.reason, loss.name, loss.detail) for loss in result.report.dropped] == [
        ("looks like a picture of an earlier split", "again.jpg", "a.png in train, and validation"),
        ("looks like a picture of an earlier split", "once more.webp", "other.jpg in validation, and test"),
    ]
    # Nobody's fault, so that a collection of many such pictures is not refused.
    assert result.report.bad_share == 0


def test_lookalikes_are_kept_on_request_and_within_a_split(tmp_path):
    assert build(lookalikes(), tmp_path, drop_lookalikes=False).report.dropped == ()
    alone = [Row("train", *(getattr(row, name) for name in ("image_id", "image", "captions"))) for row in lookalikes()]
    assert build(alone, tmp_path).report.pictures == {"train": 5}


def test_pictures_without_a_split_are_dealt_and_the_report_says_so(tmp_path):
    rows = [row(None, f"{seed:03}", seed) for seed in range(40)]
    result = build(rows, tmp_path, divide=Shares(validation=0.1, test=0.1))
    assert sum(result.report.pictures.values()) == 40
    assert result.report.pictures["validation"] == 8
    assert result.report.pictures["test"] == 8
    assert result.report.remarks[0] == (
        "The source sets no pictures apart for validation and test, so they were dealt by content: 24 to train, 8 to "
        "validation, 8 to test."
    )


def test_a_collection_with_nothing_but_train_gets_a_validation_from_it_and_others_keep_their_splits(tmp_path):
    rows = [row("train", f"{seed:03}", seed) for seed in range(40)]
    assert build(rows, tmp_path).report.pictures == {"train": 40}
    assert build(rows, tmp_path, divide=Shares()).report.pictures == {"train": 32, "validation": 8}
    given = [*rows[:30], *(row("validation", f"{seed:03}", seed) for seed in range(30, 33)), row(None, "039", 39)]
    result = build(given, tmp_path, divide=Shares())
    assert result.report.pictures == {"train": 31, "validation": 3}
    assert not any("dealt" in remark for remark in result.report.remarks)


def test_a_split_of_which_nothing_is_left_is_told(tmp_path):
    result = build([row("train", "a", 0), row("validation", "b", 0)], tmp_path)
    assert "Nothing is left of validation." in result.report.remarks


def test_two_captions_of_one_picture_that_differ_and_one_id_twice_are_told_apart(tmp_path):
    rows = [row("train", "a", 0, "the first", "the second"), row("train", "a", 1, "another picture")]
    result = build(rows, tmp_path)
    assert result.collection["train"]["captions"][:] == [["the first", "the second"]]
    assert reasons(result.report.dropped) == {"named twice in one split": ["a"]}


def test_an_empty_split_list_is_as_if_there_were_none(tmp_path):
    folder = flickr8k(tmp_path / "f", train="a.jpg\nb.jpg\nc.jpg\n", dev="\n")
    assert prepared(folder, tmp_path).report.pictures == {"train": 3}
    assert prepared(folder, tmp_path, divide=Shares()).report.pictures == {"train": 2, "validation": 1}


def test_one_picture_twice_in_a_split_stays_and_is_told(tmp_path):
    result = build([row("train", "a", 0), row("train", "b", 0), row("train", "c", 1)], tmp_path)
    assert result.report.pictures == {"train": 3}
    assert "Again in the same split under another name, where they weigh more: 1." in result.report.remarks


def test_one_picture_is_a_collection_with_remarks(tmp_path):
    report = build([row(None, "a", 0)], tmp_path, divide=Shares()).report
    assert report.pictures == {"train": 1}
    assert "Few training pictures, 1: start from a trained model (--from)." in report.remarks
    assert "No picture is for validation, which training needs to know when to stop." in report.remarks


def test_a_picture_that_changes_while_it_is_read_is_dropped(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(0))
    rows = [Row("train", "a", tmp_path / "a.jpg", ("good words",)), row("train", "b", 1)]

    def change(pictures: int) -> None:
        (tmp_path / "a.jpg").write_bytes(jpeg(2))

    result = build(rows, tmp_path, done=change)
    assert reasons(result.report.dropped) == {"picture changed while it was read": ["a"]}
    assert result.collection["train"]["image_id"][:] == ["b"]


def test_names_and_captions_that_no_encoding_has_do_no_harm(tmp_path):
    rows = [row("train", "bad\udcff", 0), row("train", "b", 1, "half a \ud83d letter", "good words")]
    result = build([*rows, Dropped("picture", "lost\udcff", "gone")], tmp_path)
    assert result.collection["train"]["image_id"][:] == ["b", "bad\\udcff"]
    assert result.collection["train"]["captions"][0] == ["good words"]
    json.dumps(result.report.as_json(), ensure_ascii=False).encode()


def test_captions_are_mended_and_counted(tmp_path):
    rows = [row("train", "a", 0, "\ufeffa dog<br>", "a caf&eacute; table"), row("train", "b", 1, "line\none")]
    result = build(rows, tmp_path)
    assert result.collection["train"]["captions"][:] == [["a dog", "a café table"], ["line one"]]
    assert result.report.mended == {"markup or entities": 2, "control characters": 2}


def test_limits_say_how_long_a_caption_may_be(tmp_path):
    rows = [row("train", "a", 0, "dog", "a dog", "a dog that runs")]
    result = build(rows, tmp_path, limits=Limits(min_words=1, max_words=3))
    assert result.collection["train"]["captions"][0] == ["dog", "a dog"]
    assert reasons(result.report.dropped) == {"caption too long": ["a"]}


def test_pictures_set_aside_leave_no_file_behind(tmp_path):
    build([row("train", "a", 0)], tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["train.arrow"]


def test_the_report_names_everything_dropped(tmp_path):
    losses = [
        Dropped("picture", "a", "bad", "detail"),
        Dropped("caption", "b", "odd"),
        Dropped("picture", "c", "bad"),
    ]
    report = build([*losses, Row("train", "x", jpeg(0), ("good words",))], tmp_path).report.as_json()
    assert report["kept"] == {"train": {"pictures": 1, "captions": 1}}
    assert report["bad_share"] == 0.666667
    assert report["dropped"] == [
        {"unit": "picture", "reason": "bad", "count": 2, "names": ["a: detail", "c"]},
        {"unit": "caption", "reason": "odd", "count": 1, "names": ["b"]},
    ]


def test_a_collection_of_which_nothing_is_left_says_why(tmp_path):
    folder = flickr8k(tmp_path / "f", tokens="a.jpg,0,a caption\n")
    with pytest.raises(
        DataError, match=r"3 x listed in a split but has no captions \(picture, such as a.jpg\).*--resplit help\."
    ):
        prepared(folder, tmp_path)


def test_a_folder_that_is_no_prepared_collection_is_told_apart(tmp_path):
    with pytest.raises(DataError, match="is not there: make one with"):
        load_collection(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds none: make one with"):
        load_collection(tmp_path)
    other = datasets.DatasetDict({"train": datasets.Dataset.from_dict({"text": ["words"]})})
    other.save_to_disk(str(tmp_path / "other"))
    with pytest.raises(DataError, match="has train with text"):
        load_collection(tmp_path / "other")
    datasets.DatasetDict().save_to_disk(str(tmp_path / "none"))
    with pytest.raises(DataError, match="must hold a picture"):
        load_collection(tmp_path / "none")


@pytest.mark.parametrize("broken", ["dataset_dict.json", "train/state.json", "train/data-00000-of-00001.arrow"])
def test_a_damaged_collection_is_a_sentence(tmp_path, broken):
    prepared(flickr8k(tmp_path / "f"), tmp_path).collection.save_to_disk(str(tmp_path / "out"))
    (tmp_path / "out" / broken).write_bytes(b"{")
    with pytest.raises(DataError, match="is damaged"):
        load_collection(tmp_path / "out")


def test_a_collection_that_was_changed_after_it_was_prepared_is_refused(tmp_path):
    result = prepared(flickr8k(tmp_path / "f"), tmp_path)
    report = json.dumps(result.report.as_json())
    result.collection.save_to_disk(str(tmp_path / "out"))
    (tmp_path / "out" / "report.json").write_text(report, encoding="utf-8")
    assert load_collection(tmp_path / "out")
    changed = datasets.DatasetDict({"train": result.collection["train"].select([0])})
    changed.save_to_disk(str(tmp_path / "changed"))
    (tmp_path / "changed" / "report.json").write_text(report, encoding="utf-8")
    with pytest.raises(DataError, match="was changed since"):
        load_collection(tmp_path / "changed")
    (tmp_path / "out" / "report.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="was changed since"):
        load_collection(tmp_path / "out")
