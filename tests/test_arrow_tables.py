"""Pictures in the rows of Parquet files and of folders that `datasets` saved."""

from __future__ import annotations

import os
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest

from captioner.data import arrow_tables
from captioner.data.arrow_tables import parquet_pictures, read_parquet_row, read_saved_row, saved_pictures
from captioner.errors import DataError, ImageError

ROWS = [{"bytes": b"%d" % number, "path": None} for number in range(40)]


def everything(row: str) -> bool:
    return True


def table(path: Path, /, **columns: object) -> str:
    pyarrow.parquet.write_table(pa.table(columns), path, row_group_size=7)
    return str(path)


def save(folder: Path) -> str:
    """A saved data set of three pictures, in a column as `datasets` has it."""
    features = datasets.Features({"image": datasets.Image(), "n": datasets.Value("int64")})
    data = datasets.Dataset.from_dict({"image": ROWS[:3], "n": [0, 1, 2]}, features=features)
    data.save_to_disk(folder)
    return str(folder)


def test_rows_come_in_order_across_row_groups_and_only_those_wanted(tmp_path: Path) -> None:
    path = table(tmp_path / "t.parquet", image=ROWS, caption=["x"] * 40)
    assert list(parquet_pictures(path, everything)) == [(str(n), b"%d" % n) for n in range(40)]
    assert list(parquet_pictures(path, {"3", "39"}.__contains__)) == [("3", b"3"), ("39", b"39")]


@pytest.mark.parametrize(
    "columns",
    [
        {"x": [b"0"], "n": [1]},
        {"x": ROWS[:1], "path": ["a"]},
        {"other": [b"-"], "Image": [b"0"]},
        {"audio": [{"bytes": b"-", "path": ""}], "img": ROWS[:1]},
        {"large": pa.array([b"0"], pa.large_binary())},
    ],
)
def test_the_column_of_pictures_is_known_by_its_name_or_because_it_is_the_only_one(
    tmp_path: Path, columns: dict[str, object]
) -> None:
    assert list(parquet_pictures(table(tmp_path / "t.parquet", **columns), everything)) == [("0", b"0")]


@pytest.mark.parametrize("columns", [{"x": [1], "y": ["a"]}, {"x": [b"0"], "y": [b"1"]}, {"s": [{"path": "a.jpg"}]}])
def test_without_one_such_column_a_sentence_names_those_there_are(tmp_path: Path, columns: dict[str, object]) -> None:
    path = table(tmp_path / "t.parquet", **columns)
    with pytest.raises(DataError, match=", ".join(columns)):
        list(parquet_pictures(path, everything))
    with pytest.raises(ImageError, match="rename"):
        read_parquet_row(path, 0)


def test_a_row_without_bytes_is_the_file_it_names_beside_the_table_or_an_error(tmp_path: Path) -> None:
    cells = [None, {"bytes": None, "path": None}, {"bytes": None, "path": "sub/a.jpg"}, {"bytes": b"", "path": "b.jpg"}]
    path = table(
        tmp_path / "t.parquet", image=pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    )
    pictures = [picture for _, picture in parquet_pictures(path, everything)]
    assert [picture.kind for picture in pictures[:2] if isinstance(picture, ImageError)] == ["missing", "missing"]
    assert pictures[2:] == [tmp_path / "sub" / "a.jpg", b""]
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.jpg").write_bytes(b"picture")
    assert read_parquet_row(path, 2) == b"picture"
    with pytest.raises(ImageError, match="row is empty"):
        read_parquet_row(path, 1)


def test_a_picture_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_tables, "MAX_BYTES", 5)
    (_, refused), (_, picture) = parquet_pictures(
        table(tmp_path / "t.parquet", image=[b"123456", b"12345"]), everything
    )
    assert isinstance(refused, ImageError)
    assert (refused.kind, picture) == ("too large", b"12345")


def test_any_row_comes_again_in_any_order_and_anew_when_the_table_was_written_since(tmp_path: Path) -> None:
    path = table(tmp_path / "t.parquet", image=ROWS)
    assert [read_parquet_row(path, row) for row in (0, 1, 8, 39, 39, 3, 20)] == [
        b"0",
        b"1",
        b"8",
        b"39",
        b"39",
        b"3",
        b"20",
    ]
    with pytest.raises(ImageError) as caught:
        read_parquet_row(path, 40)
    assert caught.value.kind == "missing"
    assert read_parquet_row(path, 5) == b"5"
    table(tmp_path / "t.parquet", image=ROWS[::-1])
    os.utime(path, ns=(0, 0))
    assert read_parquet_row(path, 6) == b"33"


def test_a_damaged_table_ends_with_one_error(tmp_path: Path) -> None:
    path = table(tmp_path / "t.parquet", image=ROWS)
    content = Path(path).read_bytes()
    for damaged in (b"", content[:100], content[:-20], b"x" * 2000):
        Path(path).write_bytes(damaged)
        ((row, error),) = parquet_pictures(path, everything)
        assert row == ""
        assert isinstance(error, ImageError)
        assert error.kind == "damaged"
        assert "whole Parquet file" in str(error)


def test_a_saved_data_set_gives_its_rows_in_order_undecoded(tmp_path: Path) -> None:
    folder = save(tmp_path / "saved")
    assert list(saved_pictures(folder, everything)) == [("0", b"0"), ("1", b"1"), ("2", b"2")]
    assert [read_saved_row(folder, "", row) for row in (2, 0)] == [b"2", b"0"]
    with pytest.raises(ImageError) as caught:
        read_saved_row(folder, "", 3)
    assert caught.value.kind == "missing"


def test_saved_splits_are_named_in_their_rows(tmp_path: Path) -> None:
    data = datasets.Dataset.from_dict({"image": [b"0", b"1"]})
    datasets.DatasetDict({"train": data, "test": data.select([1])}).save_to_disk(tmp_path / "saved")
    folder = str(tmp_path / "saved")
    rows = [("train#0", b"0"), ("train#1", b"1"), ("test#0", b"1")]
    assert list(saved_pictures(folder, everything)) == rows
    assert read_saved_row(folder, "test", 0) == b"1"
    with pytest.raises(ImageError, match="no such row"):
        read_saved_row(folder, "validation", 0)


def test_a_damaged_saved_data_set_ends_with_one_error(tmp_path: Path) -> None:
    folder = save(tmp_path / "saved")
    (file,) = Path(folder).glob("*.arrow")
    file.write_bytes(file.read_bytes()[:50])
    ((row, error),) = saved_pictures(folder, everything)
    assert row == ""
    assert isinstance(error, ImageError)
    assert "whole saved data set" in str(error)
