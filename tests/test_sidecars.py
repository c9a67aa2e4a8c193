"""A sidecar belongs to one picture, keeps what stood in it, and is whole whatever happens."""

from __future__ import annotations

import codecs
import os
from itertools import permutations
from pathlib import Path, PurePosixPath

import pytest

from captioner.data.listing import Item
from captioner.durable import whole_file
from captioner.errors import ConfigError, DataError
from captioner.inference.sidecars import OnExisting, Sidecars
from tests.faults import Kind, every_fault


def item(path: Path, *, below: Path | None = None) -> Item:
    """A picture; whether it is one does not matter here, but that there is a file does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return Item(str(path), PurePosixPath(path.relative_to(below or path.parent)), path)


def written(old: bytes, text: str, policy: OnExisting, folder: Path) -> bytes:
    """What a sidecar holds after `text` was written into one that held `old`."""
    one = item(folder / "a.jpg")
    (folder / "a.txt").write_bytes(old)
    Sidecars(None, on_existing=policy).write(one, text)
    return (folder / "a.txt").read_bytes()


def test_a_sidecar_stands_beside_its_picture_and_is_a_line(tmp_path: Path) -> None:
    one = item(tmp_path / "dog.JPEG")
    sidecars = Sidecars(None)
    assert not sidecars.exists(one)
    assert sidecars.write(one, "A dog runs.")
    assert sidecars.exists(one)
    assert (tmp_path / "dog.txt").read_text() == "A dog runs.\n"


def test_sidecars_in_another_folder_lie_as_the_pictures_do(tmp_path: Path) -> None:
    one = item(tmp_path / "in" / "a" / "b" / "dog.jpg", below=tmp_path / "in")
    Sidecars(tmp_path / "out", suffix=".caption").write(one, "A dog runs.")
    assert (tmp_path / "out" / "a" / "b" / "dog.caption").read_text() == "A dog runs.\n"


def test_a_sidecar_that_another_run_is_writing_is_left_to_it(tmp_path: Path) -> None:
    one = item(tmp_path / "a.jpg")
    with whole_file(tmp_path / "a.txt"):
        assert not Sidecars(None).write(one, "A dog.")
        with pytest.raises(DataError, match="Only one process at a time"):
            Sidecars(None, on_existing="overwrite").write(one, "A dog.")


def test_a_picture_inside_an_archive_has_its_sidecar_in_the_folder_only(tmp_path: Path) -> None:
    one = Item("shard.tar/a/000.jpg", PurePosixPath("a/000.jpg"), b"")
    assert Sidecars(tmp_path).path_for(one) == tmp_path / "a" / "000.jpg.txt"
    with pytest.raises(DataError, match=r"shard.tar/a/000.jpg is no file that a sidecar could stand beside"):
        Sidecars(None).path_for(one)


@pytest.mark.parametrize("suffix", ["txt", ".png", ".JPG", "", "./x", ".\0"])
def test_a_suffix_that_could_overwrite_a_picture_is_refused(suffix: str) -> None:
    with pytest.raises(ConfigError, match="must begin with a dot and be none of a picture's"):
        Sidecars(None, suffix=suffix)


NEIGHBOURS = [
    "a.jpg",
    "a.png",
    "a.PNG",
    "a.jpg.png",
    "a",
    "b",
    "b.gif",
    "c.jpg",
    "d.dat",
    "d.jpg",
    "e.txt",
    "e.txt.png",
]


def test_no_two_pictures_share_a_sidecar_nor_is_one_the_sidecar_of_another(tmp_path: Path) -> None:
    items = [item(tmp_path / name) for name in NEIGHBOURS]
    names = {one.relative.name: Sidecars(None).path_for(one).name for one in items}
    assert names == {
        "a.jpg": "a.jpg.txt",
        "a.png": "a.png.txt",
        "a.PNG": "a.PNG.txt",
        "a.jpg.png": "a.jpg.png.txt",
        "a": "a.txt",
        "b": "b.txt",
        "b.gif": "b.gif.txt",
        "c.jpg": "c.txt",
        "d.dat": "d.dat.txt",
        "d.jpg": "d.txt",
        "e.txt": "e.txt.txt",
        "e.txt.png": "e.txt.png.txt",
    }


def test_the_names_of_sidecars_do_not_hang_on_the_order_of_the_pictures(tmp_path: Path) -> None:
    items = [item(tmp_path / name) for name in ("a.jpg", "a.png", "b.jpg")]
    results = set()
    for number, order in enumerate(permutations(items)):
        sidecars = Sidecars(tmp_path / str(number))
        for one in order:
            sidecars.write(one, one.name)
        results.add(frozenset((path.name, path.read_text()) for path in (tmp_path / str(number)).iterdir()))
    assert len(results) == 1


def test_a_folder_called_like_a_picture_without_its_suffix_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a.png").mkdir()
    assert Sidecars(None).path_for(item(tmp_path / "a.jpg")).name == "a.txt"


@pytest.mark.parametrize(
    "name", [b"new\nline.jpg", b"=cmd.jpg", b"-rf.jpg", "🐕.jpg".encode(), b"x" * 251 + b".jpg", b"\xff\xfe.jpg"]
)
def test_pictures_of_any_name_get_their_sidecar(name: bytes, tmp_path: Path) -> None:
    one = item(tmp_path / os.fsdecode(name))
    Sidecars(None).write(one, "A dog runs.")
    assert (tmp_path / os.fsdecode(name[:-4] + b".txt")).read_text() == "A dog runs.\n"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("skip", b"old\n"),
        ("overwrite", b"new\n"),
        ("append", b"old\nnew\n"),
        ("prepend", b"new\nold\n"),
    ],
)
def test_what_happens_to_a_sidecar_that_is_there_is_as_asked_for_and_happens_once(
    policy: OnExisting, expected: bytes, tmp_path: Path
) -> None:
    assert written(b"old\n", "new", policy, tmp_path) == expected
    assert not Sidecars(None, on_existing=policy).write(item(tmp_path / "a.jpg"), "new") or policy == "overwrite"
    assert (tmp_path / "a.txt").read_bytes() == expected


def test_a_sidecar_that_is_there_is_an_error_if_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.txt holds a caption already"):
        written(b"old", "new", "fail", tmp_path)
    assert (tmp_path / "a.txt").read_bytes() == b"old"


BOM_16 = codecs.BOM_UTF16_LE


@pytest.mark.parametrize(
    ("old", "appended", "prepended"),
    [
        (b"", b"new\n", b"new\n"),
        (b"old", b"old\nnew\n", b"new\nold"),
        (b"old\r\n", b"old\r\nnew\r\n", b"new\r\nold\r\n"),
        (b"a\r\nb", b"a\r\nb\r\nnew\r\n", b"new\r\na\r\nb"),
        (b"\xff caf\xe9\n", b"\xff caf\xe9\nnew\n", b"new\n\xff caf\xe9\n"),
        (codecs.BOM_UTF8 + b"old\n", codecs.BOM_UTF8 + b"old\nnew\n", codecs.BOM_UTF8 + b"new\nold\n"),
        (
            BOM_16 + "old".encode("utf-16-le"),
            BOM_16 + "old\nnew\n".encode("utf-16-le"),
            BOM_16 + "new\nold".encode("utf-16-le"),
        ),
        (b"one\n\nnewer\n new\n", b"one\n\nnewer\n new\nnew\n", b"new\none\n\nnewer\n new\n"),
    ],
)
def test_all_that_a_sidecar_held_stays_and_the_line_is_added_in_its_own_spelling(
    old: bytes, appended: bytes, prepended: bytes, tmp_path: Path
) -> None:
    assert written(old, "new", "append", tmp_path) == appended
    assert written(appended, "new", "append", tmp_path) == appended
    assert written(old, "new", "prepend", tmp_path) == prepended
    assert written(prepended, "new", "prepend", tmp_path) == prepended


def test_of_several_lines_only_those_that_are_not_there_are_added(tmp_path: Path) -> None:
    assert written(b"two\n", "one\ntwo\nthree\none", "append", tmp_path) == b"two\none\nthree\n"


def test_a_name_that_is_no_unicode_in_a_caption_is_written_in_escapes_once(tmp_path: Path) -> None:
    assert written(b"", "a dog in \udcff", "append", tmp_path) == b"a dog in \\udcff\n"
    assert written(b"a dog in \\udcff\n", "a dog in \udcff", "append", tmp_path) == b"a dog in \\udcff\n"


@pytest.mark.parametrize("policy", ["overwrite", "append"])
def test_a_link_becomes_a_file_and_its_target_stays_as_it_was(policy: OnExisting, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("old\n")
    (tmp_path / "a.txt").symlink_to(target)
    Sidecars(None, on_existing=policy).write(item(tmp_path / "a.jpg"), "new")
    assert target.read_text() == "old\n"
    assert not (tmp_path / "a.txt").is_symlink()
    assert (tmp_path / "a.txt").read_text() == ("new\n" if policy == "overwrite" else "old\nnew\n")


def test_a_link_to_nothing_counts_as_a_sidecar_and_nothing_is_written_through_it(tmp_path: Path) -> None:
    one = item(tmp_path / "a.jpg")
    (tmp_path / "a.txt").symlink_to(tmp_path / "nowhere")
    assert Sidecars(None).exists(one)
    assert Sidecars(None, on_existing="append").write(one, "new")
    assert (tmp_path / "a.txt").read_text() == "new\n"
    assert not (tmp_path / "nowhere").exists()


def test_a_pipe_or_a_folder_in_the_place_of_a_sidecar_is_an_error_and_no_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    (tmp_path / "b.txt").mkdir()
    for name in ("a.jpg", "b.jpg"):
        with pytest.raises(DataError, match="must be a text file"):
            Sidecars(None, on_existing="append").write(item(tmp_path / name), "new")


@pytest.mark.parametrize("kind", ["full", "error", "death"])
@pytest.mark.parametrize("policy", ["overwrite", "append", "prepend"])
def test_a_fault_at_any_call_leaves_the_old_sidecar_or_the_new(kind: Kind, policy: OnExisting, tmp_path: Path) -> None:
    one = item(tmp_path / "in" / "a" / "dog.jpg", below=tmp_path / "in")
    sidecars = Sidecars(tmp_path / "out", on_existing=policy)
    path = sidecars.path_for(one)
    new = {"overwrite": b"new\n", "append": b"old\nnew\n", "prepend": b"new\nold\n"}[policy]
    for old in (None, b"old\n"):
        expected = b"new\n" if old is None else new
        for fault in every_fault(kind):
            for left in path.parent.glob("*"):
                left.unlink()
            if old is None and path.parent.exists():
                path.parent.rmdir()
            elif old is not None:
                path.write_bytes(old)
            with fault:
                sidecars.write(one, "new")
            held = path.read_bytes() if path.exists() else None
            assert held in (old, expected)
            assert held == expected or fault.struck
            sidecars.write(one, "new")
            assert path.read_bytes() == expected
            assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_to_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"dog\.txt cannot be written \(File exists\)"):
        Sidecars(tmp_path / "file").write(item(tmp_path / "dog.jpg"), "new")
