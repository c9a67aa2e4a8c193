"""What there is to caption: whatever is named, each picture once, nothing forgotten, shared among machines."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from itertools import chain
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from captioner.data.listing import Item, Shard, list_items, read_source
from captioner.errors import ConfigError, DataError, ImageError
from tests.tar_files import pack

Found = tuple[str, str, object]


def told(items: list[Item]) -> list[Found]:
    """Name, place and source of each item; of an error, its kind."""
    return [
        (item.name, str(item.relative), item.source.kind if isinstance(item.source, ImageError) else item.source)
        for item in items
    ]


def listed(content: bytes, **options: object) -> list[Found]:
    return told(list(list_items(["-"], lines=io.BytesIO(content), **options)))  # type: ignore[arg-type]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a bit of everything."""
    monkeypatch.chdir(tmp_path)
    for name in ("f/a.png", "f/deep/b.jpg", "f/notes.txt", "scan"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    pack(tmp_path / "f" / "s.tar", [("0.jpg", b"0"), ("0.txt", b"zero"), ("in/1.png", b"1")])
    pyarrow.parquet.write_table(pa.table({"image": [b"r0", b"r1"]}), tmp_path / "f" / "t.parquet")
    return tmp_path


F_FILES = [("f/a.png", Path("f/a.png")), ("f/s.tar/0.jpg", b"0"), ("f/s.tar/in/1.png", b"1")]
F_FILES += [("f/t.parquet#0", b"r0"), ("f/t.parquet#1", b"r1"), ("f/deep/b.jpg", Path("f/deep/b.jpg"))]


def test_a_folder_gives_pictures_and_what_its_archives_hold_placed_below_it(here: Path) -> None:
    found = told(list(list_items(["f/"])))
    assert [(name, source) for name, _, source in found] == F_FILES
    places = ["a.png", "s.tar/0.jpg", "s.tar/in/1.png", "t.parquet/0", "t.parquet/1", "deep/b.jpg"]
    assert [place for _, place, _ in found] == places


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("scan", [("scan", "scan", Path("scan"))]),
        ("f/notes.txt", [("f/notes.txt", "notes.txt", Path("f/notes.txt"))]),
        ("f/s.tar", [("f/s.tar/0.jpg", "0.jpg", b"0"), ("f/s.tar/in/1.png", "in/1.png", b"1")]),
        ("f/t.parquet", [("f/t.parquet#0", "0", b"r0"), ("f/t.parquet#1", "1", b"r1")]),
    ],
)
def test_a_file_that_is_named_alone_is_taken_whatever_it_is_called(
    here: Path, named: str, expected: list[Found]
) -> None:
    assert told(list(list_items([named]))) == expected


def test_of_several_things_each_is_placed_under_its_whole_name(here: Path) -> None:
    found = list_items(["scan", "f/deep", here / "f" / "a.png", "f/s.tar", "f/../f/deep"])
    inside = str(here)[1:]
    assert [str(item.relative) for item in found] == [
        "scan",
        "f/deep/b.jpg",
        f"{inside}/f/a.png",
        "f/s.tar/0.jpg",
        "f/s.tar/in/1.png",
        "f/f/deep/b.jpg",
    ]


def test_the_same_name_twice_is_listed_once(here: Path) -> None:
    assert [item.name for item in list_items(["scan", "./scan", "f/deep", "f/deep/"])] == ["scan", "f/deep/b.jpg"]


def test_what_is_not_there_and_a_folder_without_pictures_are_told_before_anything_is_listed(here: Path) -> None:
    (here / "empty" / "sub").mkdir(parents=True)
    with pytest.raises(DataError, match="there is no nowhere"):
        list_items(["scan", "nowhere"])
    with pytest.raises(DataError, match="empty holds none"):
        list_items(["scan", "empty"])
    with pytest.raises(DataError, match="that the patterns leave, but f holds none"):
        list_items(["f"], include=["*.gif"], exclude=["*.tar"])


def test_what_is_watched_may_be_empty_or_gone_and_archives_are_read_when_they_are_wanted(here: Path) -> None:
    (here / "empty").mkdir()
    asked: list[str] = []

    def wanted(archive: str) -> bool:
        asked.append(archive)
        return False

    everything, watched = list_items(["f"]), list_items(["empty", "gone", "f"], watched=wanted)
    archived = [item.name for item in everything if not isinstance(item.source, Path)]
    assert archived
    assert asked == []
    names = [item.name for item in watched]
    assert names
    assert not set(names) & set(archived)
    assert all(any(name.startswith(archive) for archive in asked) for name in archived)


def test_patterns_reach_into_archives_and_spare_tables(here: Path) -> None:
    def names(**globs: list[str]) -> list[str]:
        return [item.name for item in list_items(["f"], **globs)]  # type: ignore[arg-type]

    assert names(include=["*.jpg"]) == ["f/s.tar/0.jpg", "f/deep/b.jpg"]
    assert names(include=["s*.tar"]) == ["f/s.tar/0.jpg", "f/s.tar/in/1.png"]
    assert names(include=["*.tar"], exclude=["in/*", "*/in/*"]) == ["f/s.tar/0.jpg"]
    assert names(include=["*.parquet"]) == ["f/t.parquet#0", "f/t.parquet#1"]
    assert names(exclude=["s.tar", "*.parquet", "deep"]) == ["f/a.png"]
    assert [item.name for item in list_items(["f/s.tar", "scan"], include=["*.jpg"])] == ["f/s.tar/0.jpg"]


def test_a_list_names_files_folders_archives_and_their_members(here: Path) -> None:
    lines = b"scan\n\n  \nf/deep\nf/s.tar/in/1.png\r\nf/t.parquet#1\nf/s.tar"
    assert listed(lines) == [
        ("scan", "scan", Path("scan")),
        ("f/deep/b.jpg", "f/deep/b.jpg", Path("f/deep/b.jpg")),
        ("f/s.tar/in/1.png", "f/s.tar/in/1.png", b"1"),
        ("f/t.parquet#1", "f/t.parquet#1", b"r1"),
        ("f/s.tar/0.jpg", "f/s.tar/0.jpg", b"0"),
        ("f/s.tar/in/1.png", "f/s.tar/in/1.png", b"1"),
    ]


def test_what_is_wrong_on_a_list_is_an_item_each(here: Path) -> None:
    (here / "empty").mkdir()
    pack(here / "texts.tar", [("0.txt", b"zero")])
    lines = b"gone.jpg\nempty\nf/s.tar/gone.jpg\nf/t.parquet#9\ntexts.tar\n" + b"n" * 70_000 + b"\nscan"
    kinds = ["missing", "missing", "missing", "missing", "not a picture", "unreadable", Path("scan")]
    assert [source for _, _, source in listed(lines)] == kinds


def test_a_list_with_nul_bytes_may_hold_any_name(here: Path) -> None:
    for name in (b"line\nbreak.jpg", b"caf\xe9.jpg", b" "):
        (here / os.fsdecode(name)).touch()
    found = listed(b"line\nbreak.jpg\0caf\xe9.jpg\0scan")
    assert [os.fsencode(name) for name, _, _ in found] == [b"line\nbreak.jpg", b"caf\xe9.jpg", b"scan"]
    assert [source.exists() for _, _, source in found if isinstance(source, Path)] == [True, True, True]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig"])
def test_a_list_that_windows_wrote_is_read(here: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    found = listed(f"{mark}café.jpg\r\nscan\r\n".encode(encoding))
    assert [name for name, _, _ in found] == ["café.jpg", "scan"]


@example([b"\xef\xbb\xbf.jpg", b".jpg"])
@given(st.lists(st.binary(min_size=1, max_size=20).map(lambda name: name.replace(b"\0", b"") + b".jpg"), min_size=2))
def test_whatever_bytes_names_have_a_list_of_them_comes_back(names: list[bytes]) -> None:
    found = list_items(["-"], lines=io.BytesIO(b"\0".join(names)))
    assert [item.name for item in found] == [os.fspath(Path(os.fsdecode(name))) for name in names]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0"), min_size=1))
def test_no_place_ever_leads_out(name: str) -> None:
    for item in list_items(["-"], lines=io.BytesIO(name.encode())):
        assert not item.relative.is_absolute()
        assert ".." not in item.relative.parts


def test_a_list_is_read_as_it_grows() -> None:
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as lines, os.fdopen(theirs, "wb", buffering=0) as writer:
        writer.write(b"one.jpg\n")
        items = list_items(["-"], lines=lines)
        assert next(items).name == "one.jpg"
        writer.write(b"two.jpg\n")
        assert next(items).name == "two.jpg"


def test_a_broken_archive_is_one_item_among_the_others(here: Path) -> None:
    shard = here / "f" / "s.tar"
    shard.write_bytes(shard.read_bytes()[:1100])
    (here / "f" / "t.parquet").write_bytes(b"PAR1")
    assert told(list(list_items(["f"])))[1:4] == [
        ("f/s.tar/0.jpg", "s.tar/0.jpg", b"0"),
        ("f/s.tar", "s.tar", "damaged"),
        ("f/t.parquet", "t.parquet", "damaged"),
    ]


def test_archives_without_pictures_are_passed_over_in_a_folder_and_told_when_named(here: Path) -> None:
    pack(here / "f" / "s.tar", [("0.txt", b"zero")])
    pyarrow.parquet.write_table(pa.table({"n": [1]}), here / "f" / "t.parquet")
    assert [item.name for item in list_items(["f"])] == ["f/a.png", "f/deep/b.jpg"]
    assert told(list(list_items(["f/s.tar"]))) == [("f/s.tar", "s.tar", "not a picture")]
    assert told(list(list_items(["f/t.parquet"]))) == [("f/t.parquet", "t.parquet", "not a picture")]


def test_a_pipe_called_like_an_archive_keeps_nobody_waiting(here: Path) -> None:
    os.mkfifo(here / "f" / "s2.tar")
    os.mkfifo(here / "f" / "t2.parquet")
    kinds = {name: source for name, _, source in told(list(list_items(["f"])))}
    assert (kinds["f/s2.tar"], kinds["f/t2.parquet"]) == ("unreadable", "unreadable")


def test_every_item_can_be_read_again_by_its_name(here: Path) -> None:
    for item in list_items(["f", "scan"]):
        expected = item.source.read_bytes() if isinstance(item.source, Path) else item.source
        assert read_source(item.name) == expected


def test_what_the_file_system_holds_comes_before_what_an_archive_does(here: Path) -> None:
    (here / "x.tar").mkdir()
    (here / "x.tar" / "0.jpg").write_bytes(b"file")
    (here / "f" / "t.parquet#1").write_bytes(b"file")
    assert read_source("x.tar/0.jpg") == b"file"
    assert read_source("f/t.parquet#1") == b"file"


@pytest.mark.parametrize(
    "name", ["gone.jpg", "f/s.tar/gone.jpg", "f/t.parquet#7", "f#7", "gone#x#7", "f/s.tar#7", "#1"]
)
def test_what_is_gone_is_missing(here: Path, name: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_source(name)
    assert caught.value.kind == "missing"


@given(st.lists(st.text(min_size=1), unique=True), st.integers(1, 9))
def test_shards_share_nothing_and_are_the_whole_together(names: list[str], of: int) -> None:
    places = {PurePosixPath(name) for name in names}
    shares = [{place for place in places if Shard(index, of).has(place)} for index in range(1, of + 1)]
    assert set().union(*shares) == places
    assert sum(map(len, shares)) == len(places)


def test_a_shard_never_changes_and_is_about_as_large_as_the_others() -> None:
    places = [PurePosixPath(f"{number}.jpg") for number in range(1000)]
    sizes = [sum(Shard(index, 4).has(place) for place in places) for index in (1, 2, 3, 4)]
    # Standard deviation: sqrt(1000 / 4 * 3 / 4) = 14.
    assert all(190 < size < 310 for size in sizes)
    # A record of today, so that a job array half done can be gone on with by a later version.
    assert [index for index in (1, 2, 3, 4) if Shard(index, 4).has(PurePosixPath("dog.jpg"))] == [3]


@pytest.mark.parametrize("named", [["f"], ["f/s.tar"], ["f/t.parquet"], ["f", "scan"]])
def test_the_shards_of_a_listing_are_the_listing(here: Path, named: list[str]) -> None:
    whole = [item.name for item in list_items(named)]
    parts = [[item.name for item in list_items(named, shard=Shard(index, 3))] for index in (1, 2, 3)]
    assert sorted(chain.from_iterable(parts)) == sorted(whole)


def test_archives_in_a_folder_are_dealt_out_whole_and_one_named_alone_by_its_members(tmp_path: Path) -> None:
    members = [(f"{number}.jpg", b"x") for number in range(50)]
    (tmp_path / "f").mkdir()
    pack(tmp_path / "f" / "s.tar", members)
    within = [len(list(list_items([tmp_path / "f"], shard=Shard(index, 2)))) for index in (1, 2)]
    alone = [len(list(list_items([tmp_path / "f" / "s.tar"], shard=Shard(index, 2)))) for index in (1, 2)]
    assert sorted(within) == [0, 50]
    assert sum(alone) == 50
    assert min(alone) > 10


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", "1/2/3", ""])
def test_a_shard_that_cannot_be_is_one_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match="A shard must be"):
        Shard.parse(text)


def test_a_shard_is_told_as_i_of_n() -> None:
    assert Shard.parse("3/8") == Shard(3, 8)


def test_listing_needs_neither_torch_nor_datasets_nor_arrow() -> None:
    heavy = "print([name for name in ('torch', 'datasets', 'pyarrow') if name in sys.modules])"
    code = f"import sys, captioner.data.listing; {heavy}"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
