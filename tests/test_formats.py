"""Every format: what it looks like, how it is recognised, and the traps that real files set."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
from pyarrow import parquet

from captioner.data.collection import build
from captioner.data.formats.place import Place
from captioner.data.rows import Dropped, Row
from captioner.data.sources import read_rows, recognise
from captioner.errors import DataError
from tests.layouts import captions, flickr8k, jpeg, pictures, prepared, read, reasons, write_json


def good_lines(names: str) -> str:
    return "".join(f"{name}.jpg#0\ta caption of {name}\n" for name in names)


def recognised(path: Path) -> str:
    return recognise(Place(path))


# Flickr8k


def test_a_flickr8k_folder_that_lacks_a_part_is_told_which(tmp_path):
    with pytest.raises(DataError, match=r"must hold Flickr8k\.token\.txt"):
        read(tmp_path, "flickr8k")
    folder = flickr8k(tmp_path / "f")
    for name in ("train", "dev"):
        (folder / f"Flickr_8k.{name}Images.txt").unlink()
    with pytest.raises(DataError, match="at least one split list"):
        read(folder)
    for file in (folder / "images").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="must hold its pictures in images/"):
        read(folder)


@pytest.mark.parametrize("pictures", ["images", "Flicker8k_Dataset", "Flickr8k_Dataset", "."])
@pytest.mark.parametrize("texts", [".", "Flickr8k_text"])
def test_flickr8k_may_lie_in_its_folders_or_flat(tmp_path, pictures, texts):
    folder = flickr8k(tmp_path / "f")
    for name, files in ((pictures, "images/*.jpg"), (texts, "*.txt")):
        (folder / name).mkdir(exist_ok=True)
        for file in list(folder.glob(files)):
            file.rename(folder / name / file.name)
    assert recognised(folder) == recognised(next(folder.rglob("Flickr8k.token.txt"))) == "flickr8k"
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
    folder = flickr8k(tmp_path / "f", tokens=good_lines("bc") + "a.jpg.1#0\tthe one\nghost.jpg.1#0\tthe other\n")
    result = prepared(folder, tmp_path)
    assert result.collection["train"][0]["captions"] == ["the one"]
    assert reasons(result.report.dropped) == {"in no split list": ["ghost.jpg.1"]}


def test_lines_that_say_nothing_are_dropped_by_reason(tmp_path):
    text = good_lines("abc").encode()
    text += b"a.jpg\tno number\na.jpg#0 no tab\n#1\tno name\na.jpg#1\tcaf\xe9\n"  # lines 4 to 7
    text += b"a.jpg#0\ta caption of a\nb.jpg#1\t  \nc.jpg#1\t . \n"  # lines 8 to 10
    result = prepared(flickr8k(tmp_path / "f", tokens=text), tmp_path)
    assert reasons(result.report.dropped) == {
        "malformed line": [f"Flickr8k.token.txt, line {n}" for n in (4, 5, 6)],
        "empty caption": ["b.jpg", "c.jpg"],
        "line given twice": ["Flickr8k.token.txt, line 8"],
        "not text of the expected encoding": ["Flickr8k.token.txt, line 7"],
    }
    assert {loss.unit for loss in result.report.dropped} == {"caption"}
    assert result.report.captions == {"train": 2, "validation": 1}


def test_two_people_may_write_the_same_caption(tmp_path):
    folder = flickr8k(tmp_path / "f", tokens=good_lines("abc") + "a.jpg#1\ta caption of a\n")
    assert captions(folder)["a.jpg"] == ("train", "a caption of a", "a caption of a")


# Flickr30k


def test_flickr30k_is_its_token_file_without_splits(tmp_path):
    pictures(tmp_path, "flickr30k-images/1.jpg", "flickr30k-images/2.jpg", "flickr30k-images/3.jpg")
    (tmp_path / "results_20130124.token").write_text('1.jpg#0\tA dog , "big" .\n1.jpg#1\tIt runs .\n2.jpg#0\tA cat .\n')
    assert recognised(tmp_path) == "flickr30k"
    rows, dropped = read(tmp_path)
    assert {name: (row.split, *row.captions) for name, row in rows.items()} == {
        "flickr30k-images/1.jpg": (None, 'A dog , "big" .', "It runs ."),
        "flickr30k-images/2.jpg": (None, "A cat ."),
    }
    assert dropped == [Dropped("picture", "flickr30k-images/3.jpg", "nobody captioned it", fault=False)]


def test_flickr30k_between_bars_loses_only_the_row_that_lacks_one(tmp_path):
    pictures(tmp_path, "flickr30k_images/1.jpg", "flickr30k_images/2.jpg")
    text = "image_name| comment_number| comment\n1.jpg| 0| A dog, and a cat .\n1.jpg| 0| A dog, and a cat .\n"
    text += "2.jpg| 4   A dog runs .\n2.jpg| 1| A cat ; black .\n"
    (tmp_path / "flickr30k_images" / "results.csv").write_text(text)
    assert recognised(tmp_path) == "flickr30k"
    rows, dropped = read(tmp_path)
    assert [row.captions for row in rows.values()] == [("A dog, and a cat .",), ("A cat ; black .",)]
    assert reasons(dropped) == {"line given twice": ["results.csv, line 3"], "malformed line": ["results.csv, line 4"]}


def test_the_comma_separated_variant_keeps_commas_and_quotes_in_captions(tmp_path):
    pictures(tmp_path, "Images/1.jpg", "Images/2.jpg")
    text = 'image,caption\n1.jpg,A dog .\n1.jpg,"A ""big"" dog , brown ."\n2.jpg,A cat, unquoted, runs\n'
    (tmp_path / "captions.txt").write_text(text)
    assert recognised(tmp_path) == "table"
    assert captions(tmp_path) == {
        "Images/1.jpg": (None, "A dog .", 'A "big" dog , brown .'),
        "Images/2.jpg": (None, "A cat, unquoted, runs"),
    }


# COCO


def coco(folder: Path, **parts: object) -> Path:
    """COCO captions of two training and one validation picture, with `parts` in place of those of the first file."""
    pictures(folder, "train2017/1.jpg", "train2017/2.jpg", "val2017/1.jpg")
    train = {
        "images": [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"}],
        "annotations": [
            {"id": 10, "image_id": 1, "caption": "A dog."},
            {"id": 11, "image_id": 2, "caption": "A cat."},
            {"id": 12, "image_id": 1, "caption": "A dog runs.\n"},
        ],
    }
    validation = {
        "images": [{"id": 9, "file_name": "1.jpg"}],
        "annotations": [{"id": 13, "image_id": 9, "caption": "Birds."}],
    }
    write_json(folder / "annotations" / "captions_train2017.json", train | parts)
    write_json(folder / "annotations" / "captions_val2017.json", validation)
    write_json(folder / "annotations" / "instances_val2017.json", {"images": [], "annotations": [{"bbox": []}]})
    return folder


def test_coco_is_one_file_a_split_and_pictures_of_one_name_are_told_apart(tmp_path):
    folder = coco(tmp_path / "f")
    assert recognised(folder) == "coco"
    assert captions(folder) == {
        "train2017/1.jpg": ("train", "A dog.", "A dog runs.\n"),
        "train2017/2.jpg": ("train", "A cat."),
        "val2017/1.jpg": ("validation", "Birds."),
    }


def test_coco_may_be_named_by_its_file_with_the_pictures_elsewhere(tmp_path):
    folder = coco(tmp_path / "f")
    file = folder / "annotations" / "captions_val2017.json"
    assert recognised(file) == "coco"
    rows, dropped = read(file)
    assert list(rows) == ["val2017/1.jpg"]
    assert len(dropped) == 2
    file.rename(tmp_path / "mine.json")
    assert captions(tmp_path / "mine.json", images=folder / "val2017") == {"1.jpg": (None, "Birds.")}


@pytest.mark.parametrize(
    ("image_ids", "caption_ids"), [((1, 2), (1.0, 2.0)), ((1, 2), ("1", "2")), (("01", "2.0"), (1, 2))]
)
def test_coco_ids_are_one_however_they_are_written(tmp_path, image_ids, caption_ids):
    images = [{"id": number, "file_name": f"{n}.jpg"} for n, number in enumerate(image_ids, start=1)]
    annotations = [{"id": n, "image_id": number, "caption": f"A dog {n}"} for n, number in enumerate(caption_ids)]
    folder = coco(tmp_path / "f", images=images, annotations=annotations)
    assert captions(folder)["train2017/2.jpg"] == ("train", "A dog 1")


def test_coco_entries_that_fit_nothing_are_dropped_by_reason(tmp_path):
    images = [
        {"id": 1, "file_name": "1.jpg"},
        {"id": 2, "file_name": "2.jpg"},
        {"id": 2, "file_name": "1.jpg"},
        {"id": 5},
        7,
    ]
    images += [{"id": 6, "file_name": "gone.jpg"}]
    annotations = [
        {"id": 1, "image_id": 1, "caption": "A dog."},
        {"id": 1, "image_id": 1, "caption": "A dog."},
        {"id": 2, "image_id": 1, "caption": "A dog."},
        {"id": 3, "image_id": 77, "caption": "A dog."},
        {"id": 4, "image_id": 1},
        {"id": 5, "image_id": True, "caption": "A dog."},
        {"id": 6, "image_id": 6, "caption": "Lost."},
        [],
    ]
    rows, dropped = read(coco(tmp_path / "f", images=images, annotations=annotations))
    assert rows["train2017/1.jpg"].captions == ("A dog.", "A dog.")
    place = "captions_train2017.json, annotation"
    assert reasons(dropped) == {
        "id given twice": ["1.jpg"],
        "entry without an id or a file name": ["captions_train2017.json, id 5", "captions_train2017.json, id None"],
        "line given twice": [f"{place} 1"],
        "names no picture": [f"{place} 3"],
        "entry without an image_id or a caption": [f"{place} {n}" for n in (4, 5, 7)],
        "nobody captioned it": ["2.jpg"],
        "picture file missing": ["gone.jpg"],
    }


@pytest.mark.parametrize(("part", "value"), [("annotations", None), ("images", {})])
def test_coco_without_captions_is_told_what_it_lacks(tmp_path, part, value):
    with pytest.raises(DataError, match=f"captions_train2017.json has no {part}"):
        read(coco(tmp_path / "f", **{part: value}))


# Karpathy's splits


def test_karpathys_restval_is_for_training_and_raw_sentences_go_before_words(tmp_path):
    pictures(tmp_path, "train2014/1.jpg", "val2014/2.jpg", "val2014/3.jpg", "val2014/4.jpg")
    images = [
        {
            "filename": "1.jpg",
            "filepath": "train2014",
            "split": "train",
            "sentences": [{"raw": "A dog.", "tokens": ["x"]}],
        },
        {"filename": "2.jpg", "filepath": "val2014", "split": "restval", "sentences": [{"tokens": ["a", "cat"]}]},
        {"filename": "3.jpg", "filepath": "val2014", "split": "val", "sentences": [{"raw": "A"}, {"raw": "B"}, 3]},
        {"filename": "4.jpg", "filepath": "val2014", "split": "test", "sentences": None},
        {"filename": "gone.jpg", "split": "test", "sentences": [{"raw": "Lost."}]},
        {"filename": "4.jpg", "split": "extra", "sentences": []},
        {"split": "test"},
    ]
    write_json(tmp_path / "dataset_coco.json", {"images": images, "dataset": "coco"})
    assert recognised(tmp_path) == "karpathy"
    assert recognised(tmp_path / "dataset_coco.json") == "karpathy"
    rows, dropped = read(tmp_path)
    assert {name: (row.split, *row.captions) for name, row in rows.items()} == {
        "train2014/1.jpg": ("train", "A dog."),
        "val2014/2.jpg": ("train", "a cat"),
        "val2014/3.jpg": ("validation", "A", "B"),
        "val2014/4.jpg": ("test",),
    }
    assert reasons(dropped) == {
        "picture file missing": ["gone.jpg"],
        "unknown split": ["4.jpg"],
        "entry without a file name or a split": ["entry 6"],
    }


# Pictures with metadata


def test_of_several_split_files_one_must_be_named(tmp_path):
    pictures(tmp_path, "1.jpg")
    for name, picture in (("dataset_coco.json", "gone.jpg"), ("dataset_flickr8k.json", "1.jpg")):
        write_json(tmp_path / name, {"images": [{"filename": picture, "split": "train", "sentences": [{"raw": "A"}]}]})
    with pytest.raises(DataError, match=r"holds dataset_coco.json and dataset_flickr8k.json: name the one"):
        read(tmp_path)
    assert captions(tmp_path / "dataset_flickr8k.json") == {"1.jpg": ("train", "A")}


def test_metadata_name_their_pictures_by_file_name_before_all_else(tmp_path):
    pictures(tmp_path, "a.png")
    (tmp_path / "metadata.csv").write_text("image,file_name,text\n17,a.png,a dog\n")
    assert captions(tmp_path) == {"a.png": (None, "a dog")}


def test_metadata_lines_hold_one_caption_or_several(tmp_path):
    pictures(tmp_path, "a.png", "sub/b.png", "c.png")
    lines = [
        {"file_name": "a.png", "caption": "A dog", "captions": ["A dog", "It runs"]},
        {"file_name": "sub/b.png", "captions": ["A cat"], "width": 10},
    ]
    (tmp_path / "metadata.jsonl").write_text("".join(f"{json.dumps(line)}\n\n" for line in lines))
    assert recognised(tmp_path) == "metadata"
    rows, dropped = read(tmp_path)
    assert {name: (row.split, *row.captions) for name, row in rows.items()} == {
        "a.png": (None, "A dog", "It runs"),
        "sub/b.png": (None, "A cat"),
    }
    assert reasons(dropped) == {"nobody captioned it": ["c.png"]}


@pytest.mark.parametrize(("folder", "split"), [("train", "train"), ("val", "validation"), ("data/test", "test")])
def test_metadata_in_a_folder_of_a_split_names_pictures_from_there(tmp_path, folder, split):
    pictures(tmp_path, f"{folder}/1.jpg", "other/1.jpg")
    (tmp_path / folder / "metadata.csv").write_text("file_name,caption\n1.jpg,A dog\n1.jpg,It runs\n")
    rows, _ = read(tmp_path)
    assert {name: (row.split, *row.captions) for name, row in rows.items()} == {
        f"{folder}/1.jpg": (split, "A dog", "It runs")
    }


# Tables


TABLES = {
    "t.csv": 'path,text\na.jpg,A dog\na.jpg,It runs\nb.jpg,"A cat, black"\n',
    "t.tsv": "path\ttext\na.jpg\tA dog\na.jpg\tIt runs\nb.jpg\tA cat, black\n",
    "semicolon.csv": "path;text\na.jpg;A dog\na.jpg;It runs\nb.jpg;A cat, black\n",
    "excel.csv": "sep=;\r\npath;text\r\na.jpg;A dog\r\na.jpg;It runs\r\nb.jpg;A cat, black\r\n",
    "columns.csv": 'path,caption_1,caption_0\nb.jpg,,"A cat, black"\na.jpg,It runs,A dog\n',
    "list.csv": 'Image Path,Captions\na.jpg,"[\'A dog\', ""It runs""]"\nb.jpg,"[""A cat, black""]"\n',
    "t.jsonl": '{"image": "a.jpg", "caption": ["A dog", "It runs"]}\n{"image": "./b.jpg", "caption": "A cat, black"}\n',
    "t.json": '[{"img": "a.jpg", "texts": ["A dog", "It runs"]}, {"img": "b.jpg", "texts": [{"raw": "A cat, black"}]}]',
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_every_kind_say_the_same(tmp_path, name):
    pictures(tmp_path, "images/a.jpg", "images/b.jpg")
    (tmp_path / name).write_text(TABLES[name], newline="")
    assert recognised(tmp_path) == "table"
    expected = {"images/a.jpg": (None, "A dog", "It runs"), "images/b.jpg": (None, "A cat, black")}
    rows, dropped = read(tmp_path)
    assert {key: (row.split, *filter(None, row.captions)) for key, row in rows.items()} == expected
    assert dropped == []
    assert set(read(tmp_path / name)[0]) == set(expected)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_a_table_is_read_in_the_encoding_it_has(tmp_path, encoding):
    pictures(tmp_path, "café.jpg")
    (tmp_path / "t.csv").write_bytes("image,caption\r\ncafé.jpg,ein Mädchen läuft\r\n".encode(encoding))
    told = "cp1252" if encoding == "cp1252" else "utf-8"
    assert captions(tmp_path, encoding=told) == {"café.jpg": (None, "ein Mädchen läuft")}


def test_an_accent_may_be_a_letter_of_its_own_in_one_of_the_names(tmp_path):
    pictures(tmp_path, "cafe\u0301.jpg")
    (tmp_path / "t.csv").write_text("image,caption\ncafé.jpg,a dog\n")
    assert list(read(tmp_path)[0]) == ["café.jpg"]


def test_a_table_that_is_not_utf8_costs_the_captions_that_do_not_decode(tmp_path):
    pictures(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "t.csv").write_bytes("image,caption\na.jpg,ein Mädchen\nb.jpg,a dog runs\n".encode("cp1252"))
    result = prepared(tmp_path, tmp_path)
    assert result.collection["train"]["image_id"][:] == ["b.jpg"]
    assert reasons(result.report.dropped) == {"not text of the expected encoding": ["a.jpg"], "no captions": ["a.jpg"]}


def test_an_unknown_encoding_is_a_sentence(tmp_path):
    (tmp_path / "t.csv").write_text("image,caption\n")
    for name in ("klingon", "base64"):
        with pytest.raises(DataError, match=f"such as utf-8 or cp1252, not '{name}'"):
            read(tmp_path / "t.csv", "table", encoding=name)


def test_a_row_given_twice_counts_once_and_a_missing_picture_is_missed_once(tmp_path):
    pictures(tmp_path, "a.jpg")
    (tmp_path / "t.csv").write_text(
        "image,caption\na.jpg,a dog\na.jpg,a dog\ngone.jpg,a cat\ngone.jpg,it runs\n,what\n"
    )
    rows, dropped = read(tmp_path)
    assert rows["a.jpg"].captions == ("a dog",)
    assert reasons(dropped) == {
        "line given twice": ["t.csv, line 3"],
        "picture file missing": ["gone.jpg"],
        "names no picture": ["t.csv, line 6"],
    }


def test_a_quotation_mark_that_is_never_closed_does_not_swallow_the_table_silently(tmp_path):
    pictures(tmp_path, "a.jpg")
    rest = "".join(f"a.jpg,caption {n}\n" for n in range(30))
    (tmp_path / "t.csv").write_text('image,caption\na.jpg,good words\na.jpg,"never closed\n' + rest)
    rows, dropped = read(tmp_path)
    assert rows["a.jpg"].captions == ("good words",)
    assert reasons(dropped) == {"malformed line": ["t.csv, line 3 to 33"]}


def test_a_caption_may_be_written_over_two_lines(tmp_path):
    pictures(tmp_path, "a.jpg")
    (tmp_path / "t.csv").write_text('image,caption\na.jpg,"two\nlines"\n\na.jpg\n')
    rows, dropped = read(tmp_path)
    assert rows["a.jpg"].captions == ("two\nlines",)
    assert reasons(dropped) == {"malformed line": ["t.csv, line 5"]}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"t.csv": "image,caption,split\na.jpg,x,train\nb.jpg,y,val\n"}, {"a.jpg": "train", "b.jpg": "validation"}),
        ({"t.csv": "image,caption,split\na.jpg,x,\nb.jpg,y,Test\n"}, {"a.jpg": None, "b.jpg": "test"}),
        (
            {"train.csv": "image,caption\na.jpg,x\n", "dev.csv": "image,caption\nb.jpg,y\n"},
            {"a.jpg": "train", "b.jpg": "validation"},
        ),
        ({"test/t.csv": "image,caption\na.jpg,x\n"}, {"a.jpg": "test"}),
    ],
)
def test_the_split_is_in_a_column_or_in_the_name_of_the_table(tmp_path, files, expected):
    pictures(tmp_path, "a.jpg", "b.jpg")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert {name: row.split for name, row in read(tmp_path)[0].items()} == expected


def test_a_split_that_nobody_knows_and_a_picture_in_two_splits_are_told(tmp_path):
    pictures(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "t.csv").write_text("image,caption,split\na.jpg,a dog,train\na.jpg,a cat,test\nb.jpg,a bird,minival\n")
    result = prepared(tmp_path, tmp_path)
    assert result.report.pictures == {"train": 1}
    assert reasons(result.report.dropped) == {
        "unknown split": ["b.jpg"],
        "listed in two splits": ["a.jpg"],
        "nobody captioned it": ["b.jpg"],
    }


def test_one_line_for_two_splits_is_a_picture_in_two_splits(tmp_path):
    pictures(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "t.csv").write_text("image,caption,split\na.jpg,a dog,train\na.jpg,a dog,val\nb.jpg,a cat,val\n")
    result = prepared(tmp_path, tmp_path)
    assert result.report.pictures == {"train": 1, "validation": 1}
    assert reasons(result.report.dropped) == {"listed in two splits": ["a.jpg"]}


def test_splits_that_are_passed_over_need_not_be_known(tmp_path):
    pictures(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "t.csv").write_text("image,caption,split\na.jpg,a dog,fold1\na.jpg,it runs,fold2\nb.jpg,a cat,val\n")
    assert list(read_rows(Place(tmp_path, resplit=True))) == [
        Row(None, "a.jpg", (tmp_path / "a.jpg").resolve(), ("a dog", "it runs")),
        Row(None, "b.jpg", (tmp_path / "b.jpg").resolve(), ("a cat",)),
    ]


def test_lines_of_json_may_differ_in_their_columns(tmp_path):
    pictures(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    lines = [
        {"file_name": "a.jpg", "caption": "a dog"},
        {"file_name": "b.jpg", "captions": ["a cat", "it sits"]},
        {"file_name": "c.jpg"},
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert captions(tmp_path) == {"a.jpg": (None, "a dog"), "b.jpg": (None, "a cat", "it sits"), "c.jpg": (None,)}


def test_the_line_ends_of_old_macs_are_line_ends(tmp_path):
    pictures(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "results_20130124.token").write_bytes(b"a.jpg#0\ta dog\rb.jpg#0\ta cat\r")
    assert captions(tmp_path) == {"a.jpg": (None, "a dog"), "b.jpg": (None, "a cat")}


def test_columns_of_other_names_can_be_told(tmp_path):
    pictures(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "t.csv").write_text(
        "bild,wort,satz,teil\na.jpg,ein Hund,er rennt,dev\nb.jpg,eine Katze,sie sitzt,train\n"
    )
    with pytest.raises(
        DataError, match=r"but t.csv, line 2 has bild, wort, satz, teil: name the right one with --image-column"
    ):
        read(tmp_path / "t.csv")
    told = {"image": "Bild", "captions": ("satz", "wort"), "split": "teil"}
    assert captions(tmp_path / "t.csv", **told) == {
        "a.jpg": ("validation", "er rennt", "ein Hund"),
        "b.jpg": ("train", "sie sitzt", "eine Katze"),
    }
    with pytest.raises(DataError, match="name the right one with --split-column"):
        read(tmp_path / "t.csv", image="bild", captions=("satz",), split="nirgends")
    with pytest.raises(DataError, match="with --caption-column"):
        read(tmp_path / "t.csv", image="bild", captions=("satz", "nirgends"))


@pytest.mark.parametrize(
    "head",
    [
        "caption,caption,caption",
        "caption,caption_2,caption_10",
        "caption,caption.1,caption.2",
        "text1,text2,text9",
        "caption_1,caption_2,caption_3,prompt",
    ],
)
def test_all_captions_of_a_row_are_read_whatever_their_columns_are_called(tmp_path, head):
    pictures(tmp_path, "a.jpg")
    cells = "a dog,it runs,it is fast,unused".split(",")[: head.count(",") + 1]
    (tmp_path / "t.csv").write_text(f"image,{head}\na.jpg,{','.join(cells)}\n")
    assert recognised(tmp_path) == "table"
    assert captions(tmp_path) == {"a.jpg": (None, "a dog", "it runs", "it is fast")}


def test_columns_cannot_be_named_where_there_are_none(tmp_path):
    pictures(tmp_path, "a.jpg")
    (tmp_path / "a.txt").write_text("a dog")
    with pytest.raises(DataError, match="is read in the format sidecars: name none"):
        read(tmp_path, captions=("blurb",))


def test_one_name_in_two_folders_is_no_guess(tmp_path):
    pictures(tmp_path, "x/a.jpg", "y/a.jpg")
    (tmp_path / "t.csv").write_text("image,caption\na.jpg,a dog\ny\\a.jpg,a cat\n")
    rows, dropped = read(tmp_path)
    assert {name: row.captions for name, row in rows.items()} == {"y/a.jpg": ("a cat",)}
    assert reasons(dropped) == {"several pictures have this name": ["a.jpg"], "nobody captioned it": ["x/a.jpg"]}


@pytest.mark.parametrize("kind", ["bytes", "struct", "path"])
def test_parquet_holds_pictures_or_their_paths(tmp_path, kind):
    pictures(tmp_path, "p/0.jpg", "p/1.jpg")
    cells = {
        "bytes": [jpeg(0), jpeg(1)],
        "struct": [{"bytes": jpeg(n), "path": "same.jpg"} for n in range(2)],
        "path": ["p/0.jpg", "p/1.jpg"],
    }[kind]
    table = pa.table({"image": cells, "captions": [["a dog", "it runs"], ["a cat"]]})
    parquet.write_table(table, tmp_path / "val-00000-of-00001.parquet")
    rows = (
        list(captions(tmp_path).items())
        if kind == "path"
        else [(name, (row.split, *row.captions)) for name, row in read(tmp_path)[0].items()]
    )
    names = ["p/0.jpg", "p/1.jpg"] if kind == "path" else [f"val-00000-of-00001-{n:06}" for n in range(2)]
    assert rows == [(names[0], ("validation", "a dog", "it runs")), (names[1], ("validation", "a cat"))]
    result = prepared(tmp_path, tmp_path)
    stored = result.collection["validation"].cast_column("image", datasets.Image(decode=False))
    assert [row["image"]["bytes"] for row in stored] == [jpeg(0), jpeg(1)]


@pytest.mark.parametrize("named", [True, False])
def test_a_picture_in_several_rows_with_its_bytes_has_the_captions_of_all(tmp_path, named):
    rows = [(n, caption) for caption in ("a dog", "it runs", "a dog") for n in range(2)]
    table = {
        "image": [{"bytes": jpeg(n), "path": "same.jpg"} for n, _ in rows],
        "caption": [c for _, c in rows],
        **({"image_id": [str(n) for n, _ in rows]} if named else {}),
    }
    parquet.write_table(pa.table(table), tmp_path / "t.parquet")
    result = prepared(tmp_path, tmp_path)
    assert list(result.collection["train"]["captions"]) == [["a dog", "it runs"], ["a dog", "it runs"]]
    assert result.report.dropped == ()


def test_pictures_of_two_tables_of_one_name_are_told_apart(tmp_path):
    for number, folder in enumerate(("train", "test")):
        (tmp_path / folder).mkdir()
        parquet.write_table(pa.table({"image": [jpeg(number)], "caption": ["a dog"]}), tmp_path / folder / "0.parquet")
    assert set(read(tmp_path)[0]) == {"train/0-000000", "test/0-000000"}


def test_a_damaged_parquet_file_is_a_sentence(tmp_path):
    parquet.write_table(pa.table({"image": [jpeg(0)], "caption": ["a dog"]}), tmp_path / "t.parquet")
    whole = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="must be a whole Parquet file"):
        read(tmp_path / "t.parquet")


# Sidecars


def test_every_line_of_a_sidecar_is_a_caption(tmp_path):
    pictures(tmp_path, "a.jpg", "train/b.png", "val/c.webp", "d.jpg", "e.jpg")
    (tmp_path / "a.txt").write_text("\ufeffA dog.\r\n\r\nIt runs.\r\n", encoding="utf-8", newline="")
    (tmp_path / "train" / "b.caption").write_text("A cat.")
    (tmp_path / "val" / "c.webp.txt").write_bytes(b"A bird.\ncaf\xe9\n")
    (tmp_path / "e.txt").write_bytes(b"")
    (tmp_path / "README.txt").write_text("about these pictures")
    (tmp_path / "train" / "gone.txt").write_text("A fish.")
    assert recognised(tmp_path) == "sidecars"
    rows, dropped = read(tmp_path)
    assert {name: (row.split, *row.captions) for name, row in rows.items()} == {
        "a.jpg": (None, "A dog.", "It runs."),
        "train/b.png": ("train", "A cat."),
        "val/c.webp": ("validation", "A bird."),
        "e.jpg": (None,),
    }
    assert reasons(dropped) == {
        "not text of the expected encoding": ["c.webp.txt, line 2"],
        "nobody captioned it": ["d.jpg"],
        "text file without a picture": ["README.txt", "train/gone.txt"],
    }


def test_pictures_of_one_stem_have_the_sidecars_with_their_whole_names(tmp_path):
    pictures(tmp_path, "dog.jpg", "dog.png")
    (tmp_path / "dog.txt").write_text("of the jpeg")
    (tmp_path / "dog.png.txt").write_text("of the png")
    assert captions(tmp_path) == {"dog.jpg": (None, "of the jpeg"), "dog.png": (None, "of the png")}


@pytest.mark.parametrize("names", [("I0.JPG", "I0.TXT"), ("café.jpg", "cafe\u0301.txt"), ("b.Png", "b.Png.Caption")])
def test_a_sidecar_may_be_written_in_capitals_or_with_accents_of_their_own(tmp_path, names):
    pictures(tmp_path, names[0])
    (tmp_path / names[1]).write_text("a dog")
    assert recognised(tmp_path) == "sidecars"
    assert captions(tmp_path) == {names[0]: (None, "a dog")}


# WebDataset


def shard(file: Path, members: dict[str, bytes]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as archive:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))


def test_members_of_one_name_are_a_picture_and_its_captions(tmp_path):
    members = {
        "000.jpg": jpeg(0),
        "000.txt": "A dög.\nIt runs.\n".encode(),
        "000.json": b'{"caption": "unused"}',
        "001.json": b'{"caption": "A cat.", "width": 3}',
        "001.png": jpeg(1),
        "002.txt": b"no picture",
        "003.jpg": jpeg(3),
        "003.txt": b"caf\xe9",
        "004.jpg": jpeg(4),
        "004.json": b"{",
    }
    shard(tmp_path / "train-0000.tar", members)
    shard(tmp_path / "val" / "0.tar", {"000.jpg": jpeg(5), "000.txt": b"A bird."})
    assert recognised(tmp_path) == "webdataset"
    rows, dropped = read(tmp_path)
    assert {name: (row.split, row.image, *row.captions) for name, row in rows.items()} == {
        "train-0000.tar/000": ("train", jpeg(0), "A dög.", "It runs."),
        "train-0000.tar/001": ("train", jpeg(1), "A cat."),
        "train-0000.tar/003": ("train", jpeg(3)),
        "train-0000.tar/004": ("train", jpeg(4)),
        "val/0.tar/000": ("validation", jpeg(5), "A bird."),
    }
    assert reasons(dropped) == {
        "sample without a picture": ["train-0000.tar/002"],
        "not text of the expected encoding": ["train-0000.tar/003.txt"],
        "malformed JSON": ["train-0000.tar/004.json"],
    }


@pytest.mark.parametrize(("encoding", "told"), [("cp1252", "cp1252"), ("utf-16", "utf-8")])
def test_texts_in_shards_are_read_in_the_encoding_they_have(tmp_path, encoding, told):
    shard(tmp_path / "0.tar", {"1.jpg": jpeg(1), "1.txt": "ein Mädchen läuft".encode(encoding)})
    assert captions(tmp_path, encoding=told) == {"0.tar/1": (None, "ein Mädchen läuft")}
    with pytest.raises(DataError, match="such as utf-8 or cp1252, not 'klingon'"):
        captions(tmp_path, encoding="klingon")


def test_a_mask_beside_a_picture_is_not_taken_for_it(tmp_path):
    shard(tmp_path / "0.tar", {"1.mask.png": jpeg(0), "1.jpg": jpeg(1), "1.txt": b"a dog"})
    rows, _ = read(tmp_path)
    assert [(row.image, row.captions) for row in rows.values()] == [(jpeg(1), ("a dog",))]


def test_an_archive_of_pictures_beside_a_table_is_not_taken_for_shards(tmp_path):
    pictures(tmp_path, "a.jpg")
    shard(tmp_path / "images.tar", {"images/a.jpg": jpeg(0), "images/b.jpg": jpeg(1)})
    with pytest.raises(DataError, match="no collection of a known format"):
        recognised(tmp_path)
    (tmp_path / "t.csv").write_text("image,caption\na.jpg,a dog\n")
    assert recognised(tmp_path) == "table"


def test_a_shard_that_breaks_off_gives_what_it_holds_until_there(tmp_path):
    shard(
        tmp_path / "a.tar",
        {f"{n}.{kind}": content for n in range(3) for kind, content in (("jpg", jpeg(n)), ("txt", b"a dog"))},
    )
    content = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(content[: content.index(b"2.jpg") + 700])
    shard(tmp_path / "b.tar", {"9.jpg": jpeg(9), "9.txt": b"a cat"})
    rows, dropped = read(tmp_path)
    assert set(rows) == {"a.tar/0", "a.tar/1", "b.tar/9"}
    assert reasons(dropped) == {"shard damaged": ["a.tar"]}


# Hugging Face


def test_a_saved_data_set_is_read_back(tmp_path):
    rows = [{"image": {"bytes": jpeg(n), "path": None}, "caption": f"a dog {n}"} for n in range(3)]
    features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    whole = datasets.Dataset.from_list(rows, features=features)
    datasets.disable_progress_bars()
    parts = {"train": whole.select([0, 1]), "valid": whole.select([2]), "minival": whole.select([2])}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "dict"))
    whole.save_to_disk(str(tmp_path / "one"))
    assert recognised(tmp_path / "dict") == recognised(tmp_path / "one") == "huggingface"
    kept, dropped = read(tmp_path / "dict")
    assert {name: (row.split, row.image, *row.captions) for name, row in kept.items()} == {
        "train-000000": ("train", jpeg(0), "a dog 0"),
        "train-000001": ("train", jpeg(1), "a dog 1"),
        "valid-000000": ("validation", jpeg(2), "a dog 2"),
    }
    assert dropped == [Dropped("picture", "all of minival", "unknown split", fault=False)]
    assert [row.split for row in read(tmp_path / "one")[0].values()] == [None] * 3


def test_a_prepared_collection_is_a_source_again_and_stays_the_same(tmp_path):
    datasets.disable_progress_bars()
    first = prepared(flickr8k(tmp_path / "f"), tmp_path)
    first.collection.save_to_disk(str(tmp_path / "out"))
    (tmp_path / "again").mkdir()
    again = build(read(tmp_path / "out")[0].values(), tmp_path / "again")
    assert again.report.fingerprint == first.report.fingerprint


def test_a_saved_data_set_of_paths_finds_them_in_the_folder_told(tmp_path):
    pictures(tmp_path, "p/a.jpg")
    saved = datasets.Dataset.from_list([{"image": str(tmp_path / "p" / "a.jpg"), "text": "a dog"}])
    datasets.disable_progress_bars()
    saved.save_to_disk(str(tmp_path / "s"))
    assert reasons(read(tmp_path / "s")[1]) == {"picture not in the data set": [str(tmp_path / "p" / "a.jpg")]}
    assert captions(tmp_path / "s", images=tmp_path / "p") == {"a.jpg": (None, "a dog")}
