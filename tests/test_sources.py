"""Collections: what is read, what is left out and why, and that nothing is changed on the way."""

import io
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from captioner.data.sources import (
    FEATURES,
    Dropped,
    Prepared,
    Row,
    build,
    load_collection,
    read_rows,
    recognise,
    shapes_rows,
)
from captioner.errors import DataError


@pytest.fixture(autouse=True)
def _no_progress_bars():
    datasets.disable_progress_bars()


def jpeg(seed: int) -> bytes:
    """A small JPEG, another one for every seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="JPEG")
    return content.getvalue()


def flickr8k(folder: Path, *, tokens: str | bytes | None = None, train="a.jpg\nb.jpg\n", dev="c.jpg\n") -> Path:
    """A Flickr8k folder of three pictures with two captions each, or as told."""
    (folder / "images").mkdir(parents=True)
    for seed, name in enumerate("abc"):
        (folder / "images" / f"{name}.jpg").write_bytes(jpeg(seed))
    if tokens is None:
        tokens = "".join(f"{name}.jpg#{n}\tcaption {n} of {name} .\n" for name in "abc" for n in range(2))
    content = tokens if isinstance(tokens, bytes) else tokens.encode()
    (folder / "Flickr8k.token.txt").write_bytes(content)
    (folder / "Flickr_8k.trainImages.txt").write_text(train)
    (folder / "Flickr_8k.devImages.txt").write_text(dev)
    return folder


def prepared(folder: Path, tmp_path: Path) -> Prepared:
    working = tmp_path / "working"
    working.mkdir()
    return build(read_rows(folder), working)


def reasons(result: Prepared) -> dict[str, list[str]]:
    return {reason: [loss.name for loss in losses] for (_, reason), losses in result.report.reasons().items()}


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


@pytest.mark.parametrize("pictures", ["images", "Flicker8k_Dataset", "Flickr8k_Dataset", "."])
@pytest.mark.parametrize("texts", [".", "Flickr8k_text"])
def test_flickr8k_may_lie_in_its_folders_or_flat(tmp_path, pictures, texts):
    folder = flickr8k(tmp_path / "f")
    for name, files in ((pictures, "images/*.jpg"), (texts, "*.txt")):
        (folder / name).mkdir(exist_ok=True)
        for file in list(folder.glob(files)):
            file.rename(folder / name / file.name)
    assert recognise(folder) == "flickr8k"
    assert prepared(folder, tmp_path).report.pictures == {"train": 2, "validation": 1}


def test_a_test_list_makes_a_test_split(tmp_path):
    folder = flickr8k(tmp_path / "f", train="a.jpg\n")
    (folder / "Flickr_8k.testImages.txt").write_text("b.jpg\n")
    assert list(prepared(folder, tmp_path).collection) == ["train", "validation", "test"]


def test_windows_line_ends_byte_order_mark_and_blank_lines_do_no_harm(tmp_path):
    text = "\ufeff" + good_lines("a") + "\n   \n" + good_lines("bc")
    dirty = flickr8k(tmp_path / "f", tokens=text.replace("\n", "\r\n"), train="\ufeffa.jpg\r\n\r\n b.jpg \r\n")
    result = prepared(dirty, tmp_path)
    assert result.report.dropped == ()
    assert result.report.pictures == {"train": 2, "validation": 1}
    assert result.collection["train"][0]["captions"] == ["a caption of a"]


def test_a_numbered_suffix_is_mended_when_the_picture_is_there(tmp_path):
    folder = flickr8k(tmp_path / "f", tokens=good_lines("bc") + "a.jpg.1#0\tone\nghost.jpg.1#0\ttwo\n")
    result = prepared(folder, tmp_path)
    assert result.collection["train"][0]["captions"] == ["one"]
    assert reasons(result) == {"in no split list": ["ghost.jpg.1"]}


def test_lines_that_say_nothing_are_dropped_by_reason(tmp_path):
    text = good_lines("abc").encode()
    text += b"a.jpg\tno number\na.jpg#0 no tab\n#1\tno name\na.jpg#1\tcaf\xe9\n"  # lines 4 to 7
    text += b"a.jpg#0\ta caption of a\nb.jpg#1\t  \nc.jpg#1\t . \n"  # lines 8 to 10
    result = prepared(flickr8k(tmp_path / "f", tokens=text), tmp_path)
    assert reasons(result) == {
        "malformed line": [f"Flickr8k.token.txt, line {n}" for n in (4, 5, 6)],
        "empty caption": ["b.jpg", "c.jpg"],
        "line given twice": ["Flickr8k.token.txt, line 8"],
        "not UTF-8 text": ["Flickr8k.token.txt, line 7"],
    }
    assert {loss.unit for loss in result.report.dropped} == {"caption"}
    assert result.report.captions == {"train": 2, "validation": 1}


def test_two_people_may_write_the_same_caption(tmp_path):
    folder = flickr8k(tmp_path / "f", tokens=good_lines("abc") + "a.jpg#1\ta caption of a\n")
    result = prepared(folder, tmp_path)
    assert result.collection["train"][0]["captions"] == ["a caption of a"] * 2


def test_pictures_that_cannot_be_used_are_dropped_by_reason(tmp_path):
    names = ["a", "b", "c", "gone", "text", "zero", "cut", "folder", "mute", "other"]
    lines = "".join(f"{name}.jpg#0\t{'.' if name == 'mute' else 'words'}\n" for name in names)
    listed = "".join(f"{name}.jpg\n" for name in [*names[:-1], "unknown"] if name != "c")
    folder = flickr8k(tmp_path / "f", tokens=lines, train=listed)
    for name, content in {"text": b"hello", "zero": b"", "cut": jpeg(9)[:300], "mute": jpeg(10)}.items():
        (folder / "images" / f"{name}.jpg").write_bytes(content)
    (folder / "images" / "folder.jpg").mkdir()
    result = prepared(folder, tmp_path)
    assert reasons(result) == {
        "picture unreadable": ["cut.jpg", "text.jpg", "zero.jpg"],
        "picture file missing": ["gone.jpg", "folder.jpg"],
        "empty caption": ["mute.jpg"],
        "in no split list": ["other.jpg"],
        "listed in a split but has no captions": ["unknown.jpg"],
        "no captions": ["mute.jpg"],
    }
    assert result.report.pictures == {"train": 2, "validation": 1}
    # Seven of ten: the picture in no list is nobody's fault, and a caption is no picture.
    assert result.report.bad_share == pytest.approx(7 / 10)
    assert all(loss.detail for loss in result.report.dropped if loss.reason == "picture unreadable")


def test_a_picture_in_two_splits_stays_in_the_first_only(tmp_path):
    result = prepared(flickr8k(tmp_path / "f", dev="a.jpg\nc.jpg\n"), tmp_path)
    assert result.collection["train"]["image_id"][:] == ["a.jpg", "b.jpg"]
    assert result.collection["validation"]["image_id"][:] == ["c.jpg"]
    assert reasons(result) == {"listed in two splits": ["a.jpg"]}


def test_a_picture_under_two_names_does_not_leak_into_a_later_split(tmp_path):
    folder = flickr8k(tmp_path / "f", tokens=good_lines("abcd"), dev="c.jpg\nd.jpg\n")
    (folder / "images" / "d.jpg").write_bytes(jpeg(0))
    result = prepared(folder, tmp_path)
    assert result.collection["validation"]["image_id"][:] == ["c.jpg"]
    assert reasons(result) == {"same picture as in an earlier split": ["d.jpg"]}


def test_a_name_is_given_once_in_a_split(tmp_path):
    rows = [Row("train", "a", jpeg(0), ("first",)), Row("train", "a", jpeg(1), ("second",))]
    result = build(rows, tmp_path)
    assert result.collection["train"]["captions"][:] == [["first"]]
    assert reasons(result) == {"named twice in one split": ["a"]}


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
    row = Row("train", "a", jpeg(0), ("words",))
    others = [
        Row("validation", "a", jpeg(0), ("words",)),
        Row("train", "b", jpeg(0), ("words",)),
        Row("train", "a", jpeg(1), ("words",)),
        Row("train", "a", jpeg(0), ("word",)),
    ]
    fingerprints = Counter(build([one], tmp_path).report.fingerprint for one in [row, row, *others])
    assert sorted(fingerprints.values()) == [1, 1, 1, 1, 2]


def test_nothing_is_left_in_the_cache_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    result = prepared(flickr8k(tmp_path / "f"), tmp_path)
    files = [Path(part["filename"]) for part in result.collection["train"].cache_files]
    assert files == [tmp_path / "working" / "train.arrow"]
    assert not (tmp_path / "cache").exists()


def test_the_report_names_everything_dropped(tmp_path):
    losses = [
        Dropped("picture", "a", "bad", "detail"),
        Dropped("caption", "b", "odd"),
        Dropped("picture", "c", "bad"),
    ]
    report = build([*losses, Row("train", "x", jpeg(0), ("words",))], tmp_path).report.as_json()
    assert report["kept"] == {"train": {"pictures": 1, "captions": 1}}
    assert report["bad_share"] == 0.666667
    assert report["dropped"] == [
        {"unit": "picture", "reason": "bad", "count": 2, "names": ["a: detail", "c"]},
        {"unit": "caption", "reason": "odd", "count": 1, "names": ["b"]},
    ]


def test_drawings_become_a_collection_without_a_leak(tmp_path):
    counts = {"train": 30, "validation": 5, "test": 5}
    result = build(shapes_rows(counts, size=32, seed=0), tmp_path)
    assert result.report.pictures == counts
    assert result.report.captions == {split: 5 * count for split, count in counts.items()}
    assert result.report.dropped == ()
    other = build(shapes_rows(counts, size=32, seed=1), tmp_path)
    assert other.report.fingerprint != result.report.fingerprint


def test_an_unknown_folder_is_told_what_is_known(tmp_path):
    with pytest.raises(DataError, match=r"flickr8k is known by its file Flickr8k\.token\.txt"):
        recognise(tmp_path)
    with pytest.raises(DataError, match="is not there: check the path"):
        recognise(tmp_path / "nowhere")
    with pytest.raises(DataError, match="must be one of flickr8k, not 'flikr'"):
        read_rows(tmp_path, "flikr")


def test_a_flickr8k_folder_that_lacks_a_part_is_told_which(tmp_path):
    with pytest.raises(DataError, match=r"must hold Flickr8k\.token\.txt"):
        list(read_rows(tmp_path, "flickr8k"))
    folder = flickr8k(tmp_path / "f")
    for name in ("train", "dev"):
        (folder / f"Flickr_8k.{name}Images.txt").unlink()
    with pytest.raises(DataError, match="at least one split list"):
        list(read_rows(folder))
    for file in (folder / "images").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="must hold its pictures in images/"):
        list(read_rows(folder))


def test_a_collection_of_which_nothing_is_left_says_why(tmp_path):
    folder = flickr8k(tmp_path / "f", tokens="a.jpg,0,a caption\n")
    with pytest.raises(DataError, match="3 x listed in a split but has no captions"):
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
