"""Pictures in tar archives: which are given, WebDataset samples, and one again by its name."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from captioner.data import archives
from captioner.data.archives import Sample, read_tar_picture, tar_pictures, tar_samples
from captioner.data.limits import MAX_BYTES
from captioner.errors import DataError, ImageError
from tests.tar_files import END, member, pack


def everything(inside: str) -> bool:
    return True


def test_only_wanted_members_named_like_pictures_are_given(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", [("a.JPG", b"A"), ("a.txt", b"a dog"), ("b.png", b"B"), ("c.jpg", b"C")])
    assert list(tar_pictures(str(path), everything)) == [("a.JPG", b"A"), ("b.png", b"B"), ("c.jpg", b"C")]
    assert list(tar_pictures(str(path), lambda inside: inside == "c.jpg")) == [("c.jpg", b"C")]


def test_a_damaged_archive_ends_with_its_error(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", [("a.jpg", b"A"), ("b.jpg", b"B")])
    path.write_bytes(path.read_bytes()[:1100])
    (first, (inside, error)) = tar_pictures(str(path), everything)
    assert (first, inside) == (("a.jpg", b"A"), "")
    assert isinstance(error, ImageError)
    assert error.kind == "damaged"


def test_an_archive_without_pictures_says_so_even_if_none_was_wanted(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", [("a.txt", b"a dog")])
    with pytest.raises(DataError, match="holds none"):
        list(tar_pictures(str(path), everything))
    assert list(tar_pictures(str(pack(path, [("a.jpg", b"A")])), lambda inside: False)) == []


def test_a_sample_is_the_files_that_share_their_name_up_to_the_first_dot(tmp_path: Path) -> None:
    files = [("s/0.jpg", b"0"), ("s/0.txt", b"zero"), ("s/0.seg.PNG", b"map"), ("README", b""), ("1.jpg", b"1")]
    assert list(tar_samples(pack(tmp_path / "x.tar", files))) == [
        Sample("s/0", {"jpg": b"0", "txt": b"zero", "seg.png": b"map"}),
        Sample("1", {"jpg": b"1"}),
    ]


def test_a_sample_packed_twice_is_two_samples(tmp_path: Path) -> None:
    files = [("0.jpg", b"0"), ("0.txt", b"zero"), ("0.jpg", b"1"), ("0.txt", b"one")]
    assert [sample.files for sample in tar_samples(pack(tmp_path / "x.tar", files))] == [
        {"jpg": b"0", "txt": b"zero"},
        {"jpg": b"1", "txt": b"one"},
    ]


def test_a_damaged_shard_gives_its_whole_samples_and_then_raises(tmp_path: Path) -> None:
    files = [("0.jpg", b"0"), ("0.txt", b"zero"), ("1.jpg", b"1"), ("1.txt", b"one")]
    path = pack(tmp_path / "x.tar", files)
    path.write_bytes(path.read_bytes()[: 3 * 1024 + 10])
    samples = tar_samples(path)
    assert next(samples).key == "0"
    with pytest.raises(DataError, match="whole tar archive"):
        next(samples)


def test_a_file_that_cannot_be_had_is_an_error_within_its_sample(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(member("0.txt", b"zero") + member("0.jpg", kind=b"2") + END)
    ((sample,)) = tar_samples(path)
    assert sample.files["txt"] == b"zero"
    assert isinstance(sample.files["jpg"], ImageError)


def test_the_files_of_a_sample_share_one_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_BYTES == 200_000_000
    monkeypatch.setattr(archives, "MAX_BYTES", 5)
    (sample,) = tar_samples(pack(tmp_path / "x.tar", [("0.a", b"123"), ("0.b", b"456"), ("0.c", b"78")]))
    assert [content if isinstance(content, bytes) else content.kind for content in sample.files.values()] == [
        b"123",
        "too large",
        b"78",
    ]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_any_picture_comes_again_by_its_name_in_any_order(tmp_path: Path, mode: str) -> None:
    files = [(f"{number}.jpg", b"%d" % number) for number in range(20)] + [("3.jpg", b"again")]
    path = str(pack(tmp_path / "x.tar", files, mode))
    assert [read_tar_picture(path, f"{number}.jpg") for number in (5, 19, 0, 5, 7)] == [b"5", b"19", b"0", b"5", b"7"]
    assert read_tar_picture(path, "3#2.jpg") == b"again"


def test_a_picture_that_is_gone_is_missing_and_a_rewritten_archive_is_read_anew(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", [("a.jpg", b"old")])
    assert read_tar_picture(str(path), "a.jpg") == b"old"
    pack(path, [("b.jpg", b""), ("a.jpg", b"young")])
    os.utime(path, ns=(0, 0))
    assert read_tar_picture(str(path), "a.jpg") == b"young"
    with pytest.raises(ImageError) as caught:
        read_tar_picture(str(path), "c.jpg")
    assert caught.value.kind == "missing"
    path.unlink()
    with pytest.raises(ImageError) as caught:
        read_tar_picture(str(path), "a.jpg")
    assert caught.value.kind == "missing"


def test_threads_may_read_from_different_archives_at_one_time(tmp_path: Path) -> None:
    paths = [str(pack(tmp_path / f"{which}.tar", [("a.jpg", b"%d" % which)])) for which in range(4)]
    wrong = []

    def read(which: int) -> None:
        wrong.extend(which for _ in range(50) if read_tar_picture(paths[which], "a.jpg") != b"%d" % which)

    threads = [threading.Thread(target=read, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
