"""Where answers go: whatever kills a run, going on ends with what an undisturbed run writes, byte for byte."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from captioner.data.listing import Item
from captioner.errors import DataError
from captioner.inference.bulk import Captioned, caption_all
from captioner.inference.caption import Candidate, Caption
from captioner.inference.destinations import BesidePictures, OneFile
from captioner.inference.formats import FOLDER_FORMATS
from captioner.inference.records import RecordStyle, read_records
from captioner.inference.sidecars import Sidecars
from tests.faults import Kind, every_fault
from tests.stages import Decoding, Describing, items

ORIGIN = {"model": "stand-in"}
PICTURES = 9  # two batches and a bit

Place = OneFile | BesidePictures


def place(folder: Path, kind: str) -> Place:
    style = RecordStyle(ORIGIN)
    if kind == "sidecar":
        return BesidePictures(Sidecars(folder / "captions"), style)
    return OneFile(folder / f"captions.{kind}", kind, style, already_there="skip")


def caption(folder: Path, kind: str, count: int = PICTURES, *, seconds: float = 0.0) -> None:
    """The whole run, or what is left of it."""
    destination = place(folder, kind)
    stages = {"decoding": Decoding(), "describing": Describing(seconds), "batch_size": 4, "filled": True}
    try:
        for _ in caption_all(items(count), destination, **stages):
            pass
        destination.finish()
    finally:
        destination.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module", params=["jsonl", "csv", "sidecar"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def undisturbed(kind: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    caption(folder, kind)
    return contents(folder)


def test_every_picture_is_there_once(kind: str, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    if kind == "sidecar":
        assert len(undisturbed) == sum(number % 7 != 3 for number in range(PICTURES))
    else:
        caption(tmp_path, kind)
        journal = tmp_path / ("captions.jsonl" if kind == "jsonl" else f"captions.{kind}.jsonl")
        assert [record["path"] for record in read_records(journal)] == [item.name for item in items(PICTURES)]


@pytest.mark.parametrize("fault_kind", ["full", "error", "death"])
def test_a_fault_at_any_call_loses_nothing(
    kind: str, fault_kind: Kind, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """The fault strikes at the first change to the disk, then at the second, and so on to the last."""
    strikes = 0
    for fault in every_fault(fault_kind):
        folder = tmp_path / str(strikes)
        folder.mkdir()
        with fault:
            caption(folder, kind)
        if fault.raised is not None:
            assert "cannot be written" in str(fault.raised)
        caption(folder, kind)
        assert contents(folder) == undisturbed
        shutil.rmtree(folder)
        strikes += 1
    assert strikes > 5


RUN = """
import sys
from pathlib import Path
from tests.test_destinations import caption
print("ready", flush=True)
caption(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), seconds=0.004)
"""


def run_and_kill(folder: Path, kind: str, count: int, *, after: float | None) -> bool:
    """Caption in another process, killed so many seconds after it has begun; whether it came to its end."""
    command = [sys.executable, "-c", RUN, str(folder), kind, str(count)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    if after is not None:
        time.sleep(after)
        process.kill()
    process.stdout.close()
    return process.wait(timeout=60) == 0


@pytest.mark.parametrize("kind", ["jsonl", "csv", "sidecar"])
def test_killed_at_random_and_gone_on_with_is_as_if_nothing_had_happened(kind: str, tmp_path: Path) -> None:
    (tmp_path / "undisturbed").mkdir()
    assert run_and_kill(tmp_path / "undisturbed", kind, 80, after=None)
    (tmp_path / "killed").mkdir()
    moments, kills = random.Random(f"{kind}"), 0
    while not run_and_kill(tmp_path / "killed", kind, 80, after=moments.uniform(0, 0.02 * (kills + 1))):
        kills += 1
    assert kills >= 3  # together they had less time than the whole run needs
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


def test_two_runs_cannot_write_to_one_file(tmp_path: Path) -> None:
    first = place(tmp_path, "jsonl")
    with pytest.raises(DataError, match="Only one process at a time"):
        place(tmp_path, "jsonl")
    first.close()


def test_the_journal_stays_beside_what_is_made_from_it(tmp_path: Path) -> None:
    caption(tmp_path, "csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["captions.csv", "captions.csv.jsonl"]


@pytest.mark.parametrize("already_there", ["fail", "skip", "append"])
def test_a_table_whose_journal_is_not_there_is_not_replaced(tmp_path: Path, already_there: Any) -> None:
    table = tmp_path / "captions.csv"
    table.write_text("path,caption\na.jpg,By hand.\n")
    with pytest.raises(DataError, match="--on-existing overwrite"):
        OneFile(table, "csv", RecordStyle(ORIGIN), already_there=already_there)
    assert [path.name for path in tmp_path.iterdir()] == ["captions.csv"]
    OneFile(table, "csv", RecordStyle(ORIGIN), already_there="overwrite").close()


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_what_is_no_file_is_not_replaced_and_nothing_is_captioned_for_it(tmp_path: Path, kind: str) -> None:
    (tmp_path / "captions").mkdir()
    with pytest.raises(DataError, match=r"but .*captions is a folder, a pipe or a device"):
        OneFile(tmp_path / "captions", kind, RecordStyle(ORIGIN), already_there="overwrite")
    assert [path.name for path in tmp_path.iterdir()] == ["captions"]


@pytest.mark.parametrize("kind", FOLDER_FORMATS)
def test_a_folder_of_other_things_is_refused_before_anything_is_captioned(tmp_path: Path, kind: str) -> None:
    (tmp_path / "notes.txt").write_text("precious")
    with pytest.raises(DataError, match="other things; choose another --out"):
        OneFile(tmp_path, kind, RecordStyle(ORIGIN), already_there="fail")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "new.jsonl").write_text("{}")
    with pytest.raises(DataError, match="There are captions in"):
        OneFile(tmp_path / "new", kind, RecordStyle(ORIGIN), already_there="fail")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_link_stays_a_link_to_what_is_written(tmp_path: Path, kind: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"captions.{kind}").symlink_to(tmp_path / "elsewhere" / "c")
    caption(tmp_path, kind)
    assert (tmp_path / f"captions.{kind}").is_symlink()
    assert (tmp_path / "elsewhere" / "c").stat().st_size > 0


def test_a_sidecar_that_cannot_be_is_the_error_of_its_picture_alone(tmp_path: Path) -> None:
    good = next(items(1))
    inside = Item("s.tar/a.jpg", PurePosixPath("a.jpg"), b"bytes")
    long = Item("x" * 252 + ".jpg", PurePosixPath("x.jpg"), Path("x.jpg"))
    sidecars = BesidePictures(Sidecars(None), RecordStyle(ORIGIN))
    said = Caption((Candidate("A dog.", -1.0, ("a", "dog")),))
    batch = [Captioned(replace(item, name=str(tmp_path / item.name)), said, None) for item in (inside, long, good)]
    (tmp_path / good.name).parent.mkdir()
    assert not any(sidecars.done(captioned.item) for captioned in batch)
    answers = [answer.caption for answer in sidecars.write(batch)]
    assert [answer.error_kind for answer in answers] == ["not written", "not written", None]
    assert "give a folder for the sidecars" in str(answers[0].error)
    with pytest.raises(DataError, match="give a folder for the sidecars"):  # where that is so of the first of all
        BesidePictures(Sidecars(None), RecordStyle(ORIGIN)).write(batch[:2])
    assert "File name too long" in str(answers[1].error)
    assert (tmp_path / good.name).with_suffix(".txt").read_text() == "A dog.\n"


def test_how_many_have_no_caption_is_known_when_going_on(tmp_path: Path) -> None:
    caption(tmp_path, "jsonl")
    again = place(tmp_path, "jsonl")
    assert again.errors_before == sum(number % 7 == 3 for number in range(PICTURES))
    again.close()


def test_pictures_from_different_places_never_share_a_sidecar(tmp_path: Path) -> None:
    """Below another folder `../a/x.jpg` and `a/x.jpg` would have one place."""
    sidecars = BesidePictures(Sidecars(tmp_path), RecordStyle(ORIGIN))
    one, other = (Item(name, PurePosixPath("a/x.jpg"), Path(name)) for name in ("a/x.jpg", "../a/x.jpg"))
    assert not sidecars.done(one)
    assert not sidecars.done(one)  # named twice
    with pytest.raises(DataError, match="a sidecar of its own"):
        sidecars.done(other)


def test_where_no_sidecar_may_be_there_the_run_says_so_before_it_captions(tmp_path: Path) -> None:
    caption(tmp_path, "sidecar")
    sidecars = BesidePictures(Sidecars(tmp_path / "captions", on_existing="fail"), RecordStyle(ORIGIN))
    with pytest.raises(DataError, match=r"0\.txt already; choose another --on-existing"):
        sidecars.done(next(items(1)))
