"""Where pictures come from: which format a folder has, and that no file, whatever it holds, breaks a reader."""

from __future__ import annotations

import json
import shutil

import datasets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captioner.data.collection import build
from captioner.data.formats.huggingface import hub_rows
from captioner.data.formats.place import Columns, Place
from captioner.data.rows import Dropped, Row
from captioner.data.sources import FORMATS, read_rows, recognise, shapes_rows
from captioner.errors import DataError
from tests.layouts import captions, flickr8k, jpeg, pictures, read


def test_drawings_become_a_collection_without_a_leak(tmp_path):
    counts = {"train": 30, "validation": 5, "test": 5}
    result = build(shapes_rows(counts, size=32, seed=0), tmp_path)
    assert result.report.pictures == counts
    assert result.report.captions == {split: 5 * count for split, count in counts.items()}
    assert result.report.dropped == ()
    other = build(shapes_rows(counts, size=32, seed=1), tmp_path)
    assert other.report.fingerprint != result.report.fingerprint


def test_a_folder_of_no_known_format_is_told_what_each_is_known_by(tmp_path):
    with pytest.raises(DataError, match="holds no collection of a known format") as caught:
        recognise(Place(tmp_path))
    assert all(f"{name} is known by" in str(caught.value) for name in FORMATS)
    with pytest.raises(DataError, match="is not there: check the path"):
        recognise(Place(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"must be one of huggingface, flickr8k, .*, not 'flikr'"):
        read_rows(Place(tmp_path), "flikr")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_what_a_folder_lacks(tmp_path, name):
    if name == "sidecars":
        assert read(tmp_path, name) == ({}, [])
        return
    with pytest.raises(DataError, match=r": (check the path|name the|write one|save it again)") as caught:
        read(tmp_path, name)
    assert "\n" not in str(caught.value)


def test_a_named_format_goes_before_the_recognised_one(tmp_path):
    folder = flickr8k(tmp_path / "f")
    (folder / "images" / "a.txt").write_text("said beside it")
    assert recognise(Place(folder)) == "flickr8k"
    rows, _ = read(folder, "sidecars")
    assert {name: row.captions for name, row in rows.items()} == {"images/a.jpg": ("said beside it",)}


def test_a_linked_folder_is_read_like_itself(tmp_path):
    folder = flickr8k(tmp_path / "f")
    (tmp_path / "link").symlink_to(folder)
    assert captions(tmp_path / "link") == captions(folder)


# What a text file of captions may hold: mostly what it should, sometimes anything.
_WORDS = (
    "a.jpg b.jpg ghost.jpg ../x.jpg /etc/passwd #0 #1.5 , ; | \" ' caption image file_name split train val { } [ ] :"
)
_PIECES = st.sampled_from(
    (
        *_WORDS.split(),
        *("", " ", "\t", "\n", "\r\n", "\x00", "\ufeff", "\ud83d", "a dog runs", "sep=;\n", "1e999", "NaN"),
        *('{"image": "a.jpg", "caption": "a dog"}', '{"file_name": 3, "captions": [[], {}, null]}'),
        *('"images": [', '"annotations": [', '{"images": 7, "annotations": []}', '{"images": [{"id": {}}]}'),
        '{"images":[{"id":1.0,"file_name":"a.jpg"}],"annotations":[{"image_id":"1","caption":"x y"},3,{"id":[]}]}',
        '{"images":[{"sentences":[3,{"tokens":[1]},{"raw":"a b"}],"filename":"a.jpg","split":"val"},9]}',
    )
)
_CONTENTS = st.lists(_PIECES, max_size=12).map(
    lambda parts: "".join(parts).encode("utf-8", "surrogatepass")
) | st.binary(max_size=80)
_FILES = {
    "flickr8k": "Flickr8k.token.txt",
    "flickr30k": "results_20130124.token",
    "coco": "captions_train2017.json",
    "karpathy": "dataset_coco.json",
    "metadata": "metadata.jsonl",
    "sidecars": "a.txt",
    "table": "captions.csv",
    "webdataset": "0.tar",
}


@pytest.mark.parametrize(
    ("format_name", "file"),
    [
        *_FILES.items(),
        ("flickr30k", "results.csv"),
        ("metadata", "metadata.csv"),
        ("table", "t.json"),
        ("table", "t.jsonl"),
        ("table", "t.parquet"),
        ("table", "captions.txt"),
    ],
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=_CONTENTS, by_name=st.booleans())
def test_whatever_a_file_holds_it_becomes_rows_losses_or_a_sentence(tmp_path, format_name, file, content, by_name):
    shutil.rmtree(tmp_path / "f", ignore_errors=True)
    pictures(tmp_path / "f", "a.jpg", "b.jpg")
    (tmp_path / "f" / "Flickr_8k.trainImages.txt").write_bytes(content[:20] + b"\na.jpg\n")
    (tmp_path / "f" / file).write_bytes(content)
    place = Place(tmp_path / "f")
    (tmp_path / "w").mkdir(exist_ok=True)
    told = None
    try:
        found = list(read_rows(place, format_name if by_name else recognise(place)))
        report = build(found, tmp_path / "w").report
        json.dumps(report.as_json(), ensure_ascii=False).encode()
    except DataError as error:
        told = str(error).strip()
    assert told is None or "\n" not in told


def streamed(rows: list[dict], **features) -> datasets.IterableDatasetDict:
    """A data set of the hub as it comes without being downloaded."""
    part = datasets.Dataset.from_list(rows, features=datasets.Features(features) if features else None)
    return datasets.IterableDatasetDict({"train": part.to_iterable_dataset()})


def hub(monkeypatch: pytest.MonkeyPatch, answer: object) -> list[tuple]:
    """Put `answer` (or raise it) in place of what the hub would send; the list takes what it is asked."""
    asked = []

    def load_dataset(*arguments, **options):
        asked.append((*arguments, options))
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def test_a_data_set_of_the_hub_is_read_as_a_stream(monkeypatch):
    rows = [{"image": {"bytes": jpeg(n), "path": None}, "caption": [f"dog {n}", f"a dog {n}"]} for n in range(2)]
    features = {"image": datasets.Image(), "caption": datasets.List(datasets.Value("string"))}
    asked = hub(monkeypatch, streamed(rows, **features))
    assert list(hub_rows("user/name:small", Columns())) == [
        Row(None, "train-000000", jpeg(0), ("dog 0", "a dog 0")),
        Row(None, "train-000001", jpeg(1), ("dog 1", "a dog 1")),
    ]
    assert asked == [("user/name", "small", {"streaming": True})]


def test_a_column_of_splits_goes_before_the_name_of_the_part(monkeypatch):
    rows = [{"image": jpeg(n), "text": "a dog", "split": name} for n, name in enumerate(["train", "val", "odd", None])]
    hub(monkeypatch, streamed(rows))
    found = list(hub_rows("user/name", Columns()))
    assert [row.split for row in found if isinstance(row, Row)] == ["train", "validation", None]
    assert [(loss.reason, loss.detail) for loss in found if isinstance(loss, Dropped)] == [("unknown split", "odd")]


def test_pictures_that_are_web_addresses_are_not_fetched(monkeypatch):
    hub(monkeypatch, streamed([{"image": "https://example.org/a.jpg", "caption": "a dog"}]))
    [loss] = hub_rows("user/name", Columns())
    assert loss == Dropped("picture", "https://example.org/a.jpg", "picture not in the data set")


@pytest.mark.parametrize(
    "error", [ConnectionError("no route\nto host"), ValueError(), FileNotFoundError("no such set")]
)
def test_without_a_network_the_hub_is_a_sentence(monkeypatch, error):
    hub(monkeypatch, error)
    with pytest.raises(
        DataError, match=r"hf:user/name must be a data set that .*: check the name and the network"
    ) as caught:
        list(hub_rows("user/name", Columns()))
    assert "\n" not in str(caught.value)


def test_a_network_that_breaks_off_in_the_middle_is_a_sentence(monkeypatch):
    def stream():
        yield {"image": jpeg(0), "caption": "a dog"}
        raise TimeoutError("too slow")

    hub(monkeypatch, {"train": datasets.IterableDataset.from_generator(stream)})
    rows = hub_rows("user/name", Columns())
    assert next(rows).image == jpeg(0)
    with pytest.raises(DataError, match="too slow"):
        next(rows)


def test_a_reader_can_be_left_before_its_end(monkeypatch):
    hub(monkeypatch, streamed([{"image": jpeg(n), "caption": "a dog"} for n in range(3)]))
    rows = hub_rows("user/name", Columns())
    next(rows)
    rows.close()


def test_offline_the_hub_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="check the name and the network"):
        list(hub_rows("nobody/nothing", Columns()))


def test_no_reader_follows_a_path_out_of_the_folder(tmp_path):
    pictures(tmp_path, "secret.jpg", "f/a.jpg")
    for name in ("../secret.jpg", str(tmp_path / "secret.jpg"), "x/../../secret.jpg"):
        (tmp_path / "f" / "t.csv").write_text(f"image,caption\n{name},a dog\na.jpg,a cat\n")
        rows, dropped = read(tmp_path / "f")
        assert list(rows) == ["a.jpg"]
        assert dropped == [Dropped("picture", name, "path leads out of the folder")]
    (tmp_path / "f" / "t.csv").write_text(f"image,caption\n{tmp_path / 'f' / 'a.jpg'},a cat\n")
    assert captions(tmp_path / "f") == {"a.jpg": (None, "a cat")}
