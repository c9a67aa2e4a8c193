"""What other programs read from each format is what the records say, and a fault leaves the old answer or the new."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import tarfile
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from captioner.data.listing import read_source
from captioner.errors import ConfigError, DataError
from captioner.inference.formats import FORMATS, recognise
from captioner.inference.formats.coco import write_coco
from captioner.inference.formats.imagefolder import write_imagefolder
from captioner.inference.formats.rows import Records, Row, as_name, as_text, in_batches, plain, without_nulls
from captioner.inference.formats.tables import COLUMNS, write_csv, write_parquet
from captioner.inference.formats.webdataset import write_webdataset
from tests.faults import Kind, every_fault

MADE_BY = {"captioner": "0.1.0", "model": "default@0123456789ab", "search": {"beam_width": 5}}

HOSTILE_NAMES = [
    b"new\nline.jpg",
    b"carriage\rreturn.jpg",
    b"tab\t.jpg",
    b"\ttab first.jpg",
    b'double"quote.jpg',
    b"'apostrophe.jpg",
    b"comma,semicolon;.jpg",
    b"=cmd|' C calc'!A0.jpg",
    b"+1.jpg",
    b"-rf.jpg",
    b"@SUM(A1).jpg",
    "＝1.jpg".encode(),
    "🐕.jpg".encode(),
    "\u200fright to left.jpg".encode(),
    "caf\u00e9.jpg".encode(),
    "cafe\u0301.jpg".encode(),
    b"x" * 251 + b".jpg",
    b"not utf-8 \xff\xfe.jpg",
    b"half \xed\xa0\x80 a pair.jpg",
    b"file:looks like ours.jpg",
    b"100%25.jpg",
    b"back\\slash \\udcff.jpg",
    b" spaces .jpg",
    b"test.jpg",
    b"no suffix",
]


def picture(number: int, *, kind: str = "JPEG") -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 8), (40 * number % 256, 80, 120)).save(content, kind)
    return content.getvalue()


def told(path: str | Path, content: bytes, caption: str | None = "A dog runs.", **others: Any) -> Row:
    """A record; without a caption, that of a picture that could not be read."""
    fine = caption is not None
    return {
        "path": str(path),
        "caption": caption,
        "confidence": 0.4123 if fine else None,
        "uncertain": False if fine else None,
        "candidates": [
            {"text": text, "log_probability": number} for text, number in ((caption, -1.5), ("A dog.", -2.25)) if fine
        ],
        "error": None if fine else f"{path} must be a picture, but it is not.",
        "error_kind": None if fine else "not a picture",
        "digest": hashlib.sha256(content).hexdigest()[:16],
        "made_by": MADE_BY,
        **others,
    }


def always(records: list[Row]) -> Records:
    return lambda: iter(records)


@pytest.fixture
def five(tmp_path: Path) -> list[Row]:
    """Five pictures in two folders, two of one name; the third could not be read, the last is inside an archive."""
    records = []
    for number, name in enumerate(["a/1.jpg", "a/2.jpg", "a/broken.jpg", "b/1.jpg", "b/shard.tar/3.jpg"]):
        path = tmp_path / "pictures" / name
        content = picture(number)
        if path.parent.suffix == ".tar":
            put_into_archive(path, content)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        records.append(told(path, content, None if "broken" in name else f"A dog runs {number} times."))
    return records


def put_into_archive(path: Path, content: bytes) -> None:
    """Make the archive that a path leads into, with one member."""
    with tarfile.open(path.parent, "w") as tar:
        member = tarfile.TarInfo(path.name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))


@pytest.fixture
def hostile(tmp_path: Path) -> list[Row]:
    """A picture under each of the hostile names."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    records = []
    for number, name in enumerate(HOSTILE_NAMES):
        path = os.path.join(folder, os.fsdecode(name))
        content = picture(number)
        with open(path, "wb") as file:
            file.write(content)
        records.append(told(path, content, f"Caption {number}."))
    return records


def csv_rows(out: Path) -> list[dict[str, str]]:
    with out.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def parquet_rows(out: Path) -> list[Row]:
    from pyarrow import parquet

    return parquet.read_table(out).to_pylist()


def everything(out: Path) -> dict[str, bytes]:
    """Every file of an answer, and its content."""
    if out.is_file():
        return {"": out.read_bytes()}
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def loaded(kind: str, out: Path, cache: Path) -> Any:
    """What `datasets` makes of a folder."""
    import datasets

    datasets.disable_progress_bars()
    return datasets.load_dataset(kind, data_dir=str(out), cache_dir=str(cache))["train"]


# --- rows


@given(st.binary())
def test_any_file_name_comes_back_from_its_text(name: bytes) -> None:
    text = as_text(os.fsdecode(name))
    text.encode()
    assert os.fsencode(as_name(text)) == name


def test_ordinary_names_stay_as_they_are_and_two_names_never_have_one_text() -> None:
    assert as_text("a dog/é%20.jpg") == "a dog/é%20.jpg"
    assert as_text(os.fsdecode(b"\xff")) == "file:%FF"
    assert as_text("file:%FF") == "file:file%3A%25FF"
    assert as_name("file:file%3A%25FF") == "file:%FF"


def test_no_lone_surrogate_of_any_kind_is_left_in_a_record() -> None:
    record = plain(told("a\ud800\udcff.jpg", b"", "\udcff \ud800 dog"))
    json.dumps(record, ensure_ascii=False).encode()
    assert record["candidates"][0]["text"] == r"\udcff \ud800 dog"


def test_keys_without_a_value_are_left_out_at_every_depth() -> None:
    assert without_nulls({"a": None, "b": [{"c": None, "d": 0}], "e": False}) == {"b": [{"d": 0}], "e": False}


def test_batches_have_the_size_asked_for_and_the_last_the_rest() -> None:
    assert list(in_batches(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(in_batches([], 2)) == []


# --- all formats


def test_a_format_is_known_by_the_end_of_a_name() -> None:
    names = ["a.jsonl", "a.csv", "A.PARQUET", "a.b.json"]
    assert [recognise(Path(name)) for name in names] == ["jsonl", "csv", "parquet", "coco"]


def test_a_name_that_tells_no_format_is_told_how_to_ask_for_one() -> None:
    with pytest.raises(ConfigError, match="give --format jsonl or csv or"):
        recognise(Path("folder"))


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_records_give_the_same_bytes(name: str, five: list[Row], tmp_path: Path) -> None:
    outs = [tmp_path / "one", tmp_path / "two"]
    for out in outs:
        assert FORMATS[name](always(five), out) == 0
    assert everything(outs[0]) == everything(outs[1])


@pytest.mark.parametrize("name", FORMATS)
def test_an_older_answer_is_replaced_by_the_new_one(name: str, five: list[Row], tmp_path: Path) -> None:
    FORMATS[name](always(five[::-1]), tmp_path / "old")
    FORMATS[name](always(five[:2]), tmp_path / "old")
    FORMATS[name](always(five[:2]), tmp_path / "new")
    assert everything(tmp_path / "old") == everything(tmp_path / "new")


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_without_pictures_has_an_answer_too(name: str, tmp_path: Path) -> None:
    assert FORMATS[name](always([]), tmp_path / "out") == 0
    assert (tmp_path / "out").exists()


@pytest.mark.parametrize("name", FORMATS)
def test_memory_does_not_grow_with_the_number_of_records(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("captioner.inference.formats.tables._ROW_GROUP", 20)
    monkeypatch.setitem(FORMATS, "webdataset", partial(write_webdataset, per_shard=20))
    path = tmp_path / "1.jpg"
    path.write_bytes(picture(0))

    def peak(count: int) -> int:
        tracemalloc.start()
        long = "dog " * 500
        FORMATS[name](lambda: (told(path, picture(0), f"{long}{each}") for each in range(count)), tmp_path / "out")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(20)  # whatever is imported or cached is there now
    assert peak(400) < peak(40) + 360 * 500


def check_not_torn(name: str, out: Path, *, old: dict[str, bytes], new: dict[str, bytes]) -> None:
    """Whoever reads an answer after a fault finds the old one or the new one."""
    held = {file: content for file, content in everything(out).items() if not file.startswith(".")}
    if name == "imagefolder":
        metadata = held.get("metadata.jsonl", b"")
        assert metadata in (old.get("metadata.jsonl", b""), new["metadata.jsonl"])
        for line in metadata.splitlines():
            picture_name = json.loads(line)["file_name"]
            assert hashlib.sha256(held[picture_name]).hexdigest()[:16] in picture_name
    elif name == "webdataset":
        assert all(content in (old.get(shard), new.get(shard)) for shard, content in held.items())
    else:
        assert held in (old, new)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", ["full", "error", "death"])
@pytest.mark.parametrize("before", ["nothing", "half", "other records"])
def test_a_fault_at_any_call_leaves_the_old_answer_or_the_new_and_the_next_run_mends_it(
    name: str, kind: Kind, before: str, five: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "webdataset", partial(write_webdataset, per_shard=2))
    render = FORMATS[name]
    earlier = {"nothing": [], "half": five[:2], "other records": five[::-1]}[before]
    parents = [tmp_path / each for each in ("fault", "old", "new")]
    fault_out, old_out, new_out = (parent / "out" for parent in parents)
    for parent in parents:
        parent.mkdir()
    if earlier:
        render(always(earlier), old_out)
    render(always(five), new_out)
    old, new = everything(old_out), everything(new_out)
    for fault in every_fault(kind):
        shutil.rmtree(parents[0])
        parents[0].mkdir()
        if earlier:
            render(always(earlier), fault_out)
        with fault:
            render(always(five), fault_out)
        check_not_torn(name, fault_out, old=old, new=new)
        if not fault.struck:
            assert everything(fault_out) == new
        render(always(five), fault_out)
        assert everything(fault_out) == new
        assert list(parents[0].iterdir()) == [fault_out]


def test_a_place_that_cannot_be_written_to_is_told_in_a_sentence(five: list[Row], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for name, render in FORMATS.items():
        with pytest.raises(DataError, match="cannot be written"):
            render(always(five), tmp_path / "file" / name)


# --- CSV


def test_csv_has_a_line_for_every_record_and_every_column(five: list[Row], tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    write_csv(always(five), out)
    rows = csv_rows(out)
    assert tuple(rows[0]) == COLUMNS
    assert rows[0] == {
        "path": five[0]["path"],
        "caption": "A dog runs 0 times.",
        "confidence": "0.4123",
        "uncertain": "false",
        "candidates": json.dumps(five[0]["candidates"]),
        "words": "",
        "error": "",
        "error_kind": "",
        "digest": five[0]["digest"],
        "made_by": json.dumps(MADE_BY),
    }
    assert [row["error_kind"] for row in rows] == ["", "", "not a picture", "", ""]


def test_csv_lines_end_as_the_standard_says(five: list[Row], tmp_path: Path) -> None:
    write_csv(always(five), tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes().count(b"\r\n") == 6


def test_no_cell_of_csv_begins_a_formula_and_every_path_comes_back(hostile: list[Row], tmp_path: Path) -> None:
    # The names stand alone here: a folder in front would take the sting out of them.
    records = [{**record, "path": os.path.basename(record["path"])} for record in hostile]
    records[0]["caption"] = "=1+1"
    write_csv(always(records), tmp_path / "out.csv")
    rows = csv_rows(tmp_path / "out.csv")
    for row in rows:
        assert not any(cell.startswith(tuple("=+-@\t\r\n＝")) for cell in row.values())
    names = [os.fsencode(as_name(row["path"].removeprefix("'"))) for row in rows]
    assert names == HOSTILE_NAMES
    assert rows[0]["caption"] == "'=1+1"


# --- Parquet


def test_parquet_holds_the_records_with_their_types(five: list[Row], tmp_path: Path) -> None:
    five[0]["words"] = [{"word": "dog", "confidence": 0.9}, {"word": "the", "confidence": None}]
    write_parquet(always(five), tmp_path / "out.parquet")
    rows = parquet_rows(tmp_path / "out.parquet")
    assert [{**row, "made_by": json.loads(row["made_by"])} for row in rows] == [
        {"words": None, **record} for record in five
    ]


def test_parquet_has_the_same_columns_when_nothing_could_be_captioned(five: list[Row], tmp_path: Path) -> None:
    from pyarrow import parquet

    write_parquet(always(five), tmp_path / "some.parquet")
    write_parquet(always([five[2]]), tmp_path / "none.parquet")
    assert parquet.read_schema(tmp_path / "none.parquet") == parquet.read_schema(tmp_path / "some.parquet")


def test_every_path_comes_back_from_parquet(hostile: list[Row], tmp_path: Path) -> None:
    write_parquet(always(hostile), tmp_path / "out.parquet")
    rows = parquet_rows(tmp_path / "out.parquet")
    assert [as_name(row["path"]) for row in rows] == [record["path"] for record in hostile]


# --- COCO


@pytest.mark.filterwarnings("ignore")
def test_coco_tools_load_the_captions_and_take_them_as_results(
    five: list[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocotools.coco import COCO

    write_coco(always(five), tmp_path / "out.json")
    truth = COCO(str(tmp_path / "out.json"))
    assert truth.getImgIds() == [1, 2, 4, 5]
    assert truth.loadImgs(4)[0]["file_name"] == five[3]["path"]
    assert [each["caption"] for each in truth.imgToAnns[4]] == ["A dog runs 3 times."]

    results = truth.loadRes(json.loads((tmp_path / "out.json").read_text())["annotations"])
    captions = {number: [each["caption"] for each in results.imgToAnns[number]] for number in results.getImgIds()}
    score, _ = Bleu(1).compute_score(captions, captions, verbose=0)
    assert score[0] == pytest.approx(1.0)
    capsys.readouterr()


def test_coco_names_what_has_no_caption_and_what_made_the_captions(five: list[Row], tmp_path: Path) -> None:
    write_coco(always(five), tmp_path / "out.json")
    held = json.loads((tmp_path / "out.json").read_text())
    assert held["errors"] == [{"file_name": five[2]["path"], "error": five[2]["error"], "error_kind": "not a picture"}]
    assert held["info"]["made_by"] == [MADE_BY]
    assert held["annotations"][0]["candidates"] == five[0]["candidates"]


def test_every_path_comes_back_from_coco(hostile: list[Row], tmp_path: Path) -> None:
    write_coco(always(hostile), tmp_path / "out.json")
    images = json.loads((tmp_path / "out.json").read_bytes().decode())["images"]
    assert [as_name(image["file_name"]) for image in images] == [record["path"] for record in hostile]


# --- imagefolder


def test_datasets_loads_an_imagefolder_with_every_captioned_picture_in_one_split(
    five: list[Row], hostile: list[Row], tmp_path: Path
) -> None:
    five[0] |= {"confidence": None, "uncertain": True}
    assert write_imagefolder(always(five + hostile), tmp_path / "test") == 0
    rows = list(loaded("imagefolder", tmp_path / "test", tmp_path / "cache"))
    captioned = [record for record in five + hostile if record["caption"] is not None]
    assert [as_name(row["path"]) for row in rows] == [record["path"] for record in captioned]
    for row, record in zip(rows, captioned, strict=True):
        assert (row["caption"], row["candidates"]) == (record["caption"], [record["caption"], "A dog."])
        assert (row["confidence"], row["uncertain"]) == (record["confidence"], record["uncertain"])
        with Image.open(io.BytesIO(read_source(record["path"]))) as original:
            assert row["image"].tobytes() == original.tobytes()


def test_pictures_in_an_imagefolder_are_links_where_they_can_be(five: list[Row], tmp_path: Path) -> None:
    write_imagefolder(always(five), tmp_path / "out")
    first = next((tmp_path / "out" / "pictures" / "000000").glob("000000000-*.jpg"))
    assert first.samefile(five[0]["path"])


def test_a_link_to_a_picture_becomes_the_picture(tmp_path: Path) -> None:
    (tmp_path / "real.jpg").write_bytes(picture(1))
    (tmp_path / "link.jpg").symlink_to(tmp_path / "real.jpg")
    write_imagefolder(always([told(tmp_path / "link.jpg", picture(1))]), tmp_path / "out")
    (copy,) = (tmp_path / "out" / "pictures" / "000000").iterdir()
    assert not copy.is_symlink()
    assert copy.read_bytes() == picture(1)


def test_pictures_inside_archives_are_extracted(five: list[Row], tmp_path: Path) -> None:
    write_imagefolder(always(five), tmp_path / "out")
    last = next((tmp_path / "out" / "pictures" / "000000").glob("000000004-*.jpg"))
    assert last.read_bytes() == picture(4)


@pytest.mark.parametrize("write", [write_imagefolder, write_webdataset])
def test_a_picture_that_is_gone_or_has_changed_is_left_out_and_counted(
    write: Callable[[Records, Path], int], five: list[Row], tmp_path: Path
) -> None:
    os.unlink(five[0]["path"])
    Path(five[1]["path"]).write_bytes(picture(9))
    assert write(always(five), tmp_path / "out") == 2
    five[3]["digest"] = "/../../../pictures/b/1"  # there is such a file, but it is not in the folder
    assert write(always(five), tmp_path / "out") == 3


@pytest.mark.parametrize("write", [write_imagefolder, write_webdataset])
def test_a_folder_that_holds_other_things_is_refused_and_left_alone(
    write: Callable[[Records, Path], int], five: list[Row], tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("000000.tar", "metadata.jsonl"):
        (mine / name).write_text("mine")
    with pytest.raises(DataError, match="must be new, empty or an earlier answer"):
        write(always(five), mine)
    assert everything(mine) == {"000000.tar": b"mine", "metadata.jsonl": b"mine"}


def test_an_answer_in_another_format_is_refused(five: list[Row], tmp_path: Path) -> None:
    write_imagefolder(always(five), tmp_path / "out")
    before = everything(tmp_path / "out")
    with pytest.raises(DataError, match="holds an answer in the format 'imagefolder'"):
        write_webdataset(always(five), tmp_path / "out")
    assert everything(tmp_path / "out") == before


def test_what_someone_else_put_into_the_folder_stays(five: list[Row], tmp_path: Path) -> None:
    write_imagefolder(always(five), tmp_path / "out")
    notes = {"pictures/notes.txt", "pictures/000000/notes.txt"}
    for name in notes:
        (tmp_path / "out" / name).write_text("mine")
    write_imagefolder(always([]), tmp_path / "out")
    assert set(everything(tmp_path / "out")) == {".captioner", "metadata.jsonl", *notes}


# --- WebDataset


def test_datasets_loads_the_shards(five: list[Row], hostile: list[Row], tmp_path: Path) -> None:
    assert write_webdataset(always(five + hostile), tmp_path / "out", per_shard=10) == 0
    assert sorted(everything(tmp_path / "out")) == [".captioner", "000000.tar", "000001.tar", "000002.tar"]
    rows = list(loaded("webdataset", tmp_path / "out", tmp_path / "cache"))
    captioned = [record for record in five + hostile if record["caption"] is not None]
    assert [row["txt"] for row in rows] == [record["caption"] for record in captioned]
    assert [as_name(row["json"]["path"]) for row in rows] == [record["path"] for record in captioned]
    assert [row["__key__"] for row in rows][:5] == ["000000000", "000000001", "000000003", "000000004", "000000005"]


def test_pictures_of_several_kinds_and_confidences_that_come_late_are_all_loaded(tmp_path: Path) -> None:
    """`datasets` takes the columns from the first five samples, and is silent about what it drops."""
    records = []
    for number in range(12):
        path = tmp_path / f"{number}.{'PNG' if number > 7 else 'jpeg'}"
        path.write_bytes(picture(number, kind="PNG" if number > 7 else "JPEG"))
        sure = {} if number > 9 else {"confidence": None, "uncertain": True}
        records.append(told(path, path.read_bytes(), f"Caption {number}.", **sure))
    write_webdataset(always(records), tmp_path / "out")
    rows = sorted(loaded("webdataset", tmp_path / "out", tmp_path / "cache"), key=lambda row: row["__key__"])
    assert [row["jpg"].format for row in rows] == ["JPEG"] * 8 + ["PNG"] * 4
    assert [row["json"]["confidence"] for row in rows] == [None] * 10 + [0.4123] * 2


def test_confidences_that_come_after_the_first_shard_do_not_end_the_loading(five: list[Row], tmp_path: Path) -> None:
    unsure = [{**five[0], "confidence": None, "uncertain": True}] * 5
    write_webdataset(always([*unsure, five[1]]), tmp_path / "out", per_shard=5)
    rows = list(loaded("webdataset", tmp_path / "out", tmp_path / "cache"))
    assert [row["json"]["uncertain"] for row in rows] == [True] * 5 + [False]


def test_a_sample_is_the_file_itself_its_caption_and_its_record(five: list[Row], tmp_path: Path) -> None:
    path = tmp_path / "1.WebP"
    path.write_bytes(picture(1, kind="WEBP"))
    write_webdataset(always([told(path, path.read_bytes())]), tmp_path / "out")
    with tarfile.open(tmp_path / "out" / "000000.tar") as tar:
        members = {member.name: (member, tar.extractfile(member).read()) for member in tar}  # type: ignore[union-attr]
    assert list(members) == ["000000000.webp", "000000000.txt", "000000000.json"]
    assert members["000000000.webp"][1] == path.read_bytes()
    assert members["000000000.txt"][1] == b"A dog runs."
    assert json.loads(members["000000000.json"][1])["made_by"] == MADE_BY
    assert {(member.mtime, member.uid, member.uname) for member, _ in members.values()} == {(0, 0, "")}


def test_a_shard_that_holds_the_same_records_is_not_written_again(five: list[Row], tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_webdataset(always(five), out, per_shard=2)
    before = {path.name: path.stat().st_ino for path in out.iterdir()}
    five[4]["caption"] = "Another."
    write_webdataset(always(five), out, per_shard=2)
    after = {path.name: path.stat().st_ino for path in out.iterdir()}
    assert before["000000.tar"] == after["000000.tar"]
    assert before["000001.tar"] != after["000001.tar"]


def test_a_shard_that_was_damaged_is_written_again(five: list[Row], tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_webdataset(always(five), out)
    whole = (out / "000000.tar").read_bytes()
    (out / "000000.tar").write_bytes(whole[:2000])
    write_webdataset(always(five), out)
    assert (out / "000000.tar").read_bytes() == whole
