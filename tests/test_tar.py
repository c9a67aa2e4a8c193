"""Tar archives that strangers made: whole, cut, lying about sizes, packed a thousandfold."""

from __future__ import annotations

import gzip
import os
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioner.data import tar
from captioner.data.limits import MAX_BYTES
from captioner.data.tar import Tar
from captioner.errors import ImageError
from tests.tar_files import END, member, pack

A = member("a.jpg", b"A" * 700)


def read_all(path: Path) -> tuple[list[tuple[str, bytes | ImageError]], ImageError | None]:
    """What can be had of every member, and the error that the archive ended with."""
    found: list[tuple[str, bytes | ImageError]] = []
    try:
        with Tar(str(path)) as archive:
            found.extend((each.path, archive.read(each)) for each in archive.members())
    except ImageError as error:
        return found, error
    return found, None


def write(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_members_come_in_order_packed_or_not_whatever_the_name_says(tmp_path: Path, mode: str) -> None:
    path = pack(tmp_path / "x.tar", [("b.jpg", b"B" * 1000), ("sub/a.txt", b""), ("c.png", b"C")], mode)
    assert read_all(path) == ([("b.jpg", b"B" * 1000), ("sub/a.txt", b""), ("c.png", b"C")], None)


def test_no_path_leads_out_and_no_two_are_alike(tmp_path: Path) -> None:
    names = ["./a.jpg", "../a.jpg", "/etc/p.jpg", "x/../../a.jpg", "a#2.jpg", "..", "x//b.jpg"]
    path = pack(tmp_path / "x.tar", [(name, name.encode()) for name in names])
    found, error = read_all(path)
    assert error is None
    assert [inside for inside, _ in found] == ["a.jpg", "a#2.jpg", "etc/p.jpg", "x/a.jpg", "a#2#2.jpg", "x/b.jpg"]
    assert found[1][1] == b"../a.jpg"


def test_hidden_members_and_folders_are_passed_over(tmp_path: Path) -> None:
    folder = member("folder.jpg", kind=tarfile.DIRTYPE)
    path = write(tmp_path / "x.tar", member("._a.jpg", b"-"), member(".git/b.jpg", b"-"), folder, A, END)
    assert read_all(path) == ([("a.jpg", b"A" * 700)], None)


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_errors_of_their_own(tmp_path: Path, kind: bytes) -> None:
    found, error = read_all(write(tmp_path / "x.tar", A, member("b.jpg", kind=kind), member("c.jpg", b"C"), END))
    assert error is None
    assert [found[0], found[2]] == [("a.jpg", b"A" * 700), ("c.jpg", b"C")]
    assert isinstance(found[1][1], ImageError)
    assert "link or a device" in str(found[1][1])


def test_names_come_back_byte_for_byte_long_ones_and_those_that_are_no_utf8(tmp_path: Path) -> None:
    long = "ü" * 150 + ".jpg"
    with tarfile.open(tmp_path / "long.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo(long))
    assert read_all(tmp_path / "long.tar") == ([(long, b"")], None)
    ((inside, _),), error = read_all(write(tmp_path / "latin.tar", member("caf\udce9.jpg", b"x"), END))
    assert (os.fsencode(inside), error) == (b"caf\xe9.jpg", None)


@settings(max_examples=60, deadline=None)
@given(end=st.integers(0, 7 * 512), packed=st.booleans())
def test_a_cut_archive_gives_its_whole_members_and_then_an_error(
    tmp_path_factory: pytest.TempPathFactory, end: int, packed: bool
) -> None:
    whole = A + member("b.jpg", b"B" * 10) + END
    # Without compression, so that what is cut off is known.
    cut = gzip.compress(whole, compresslevel=0)[: end + 18] if packed else whole[:end]
    found, error = read_all(write(tmp_path_factory.mktemp("cut") / "x.tar", cut))
    assert found == [("a.jpg", b"A" * 700), ("b.jpg", b"B" * 10)][: len(found)]
    if not packed:
        # The first zero block ends an archive; what is cut off behind it is padding.
        assert (error is None) == (end >= len(whole) - 512)
    if error is None:
        assert len(found) == 2
    else:
        assert "must be a whole tar archive" in str(error)


def test_a_broken_header_is_an_error_and_no_silent_end(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tar", A, b"garbage!" * 64, member("b.jpg", b"B"), END)
    found, error = read_all(path)
    assert [inside for inside, _ in found] == ["a.jpg"]
    assert error is not None
    assert error.kind == "damaged"


def test_a_member_that_claims_ten_gigabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    found, error = read_all(write(tmp_path / "x.tar", A, member("bomb.jpg", b"", size=10 * 2**30), END))
    assert isinstance(found[1][1], ImageError)
    assert found[1][1].kind == "too large"
    assert error is not None  # where the ten gigabytes should be, the file ends


def test_a_member_of_just_the_limit_may_be_read(tmp_path: Path) -> None:
    found, _ = read_all(write(tmp_path / "x.tar", member("a.jpg", b"", size=MAX_BYTES), END))
    assert found == []  # it was tried: there is nothing to read


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_name_of_ten_gigabytes_is_refused_before_it_is_read(tmp_path: Path, kind: bytes) -> None:
    found, error = read_all(write(tmp_path / "x.tar", A, member("n", b"", size=10 * 2**30, kind=kind), END))
    assert [inside for inside, _ in found] == ["a.jpg"]
    assert error is not None
    assert "too long" in str(error)


def test_headers_that_lead_backwards_or_nest_forever_come_to_an_end(tmp_path: Path) -> None:
    backwards = write(tmp_path / "back.tar", A, member("b.jpg", b"", size=-1536), END)
    assert read_all(backwards)[1] is not None
    record = b"18 size=-99999999\n"
    pax = write(tmp_path / "pax.tar", A, member("p", record, kind=tarfile.XHDTYPE), member("b.jpg", b"B"), END)
    assert read_all(pax)[1] is not None
    nested = member("n", b"name\0", kind=tarfile.GNUTYPE_LONGNAME) * 3_000
    assert read_all(write(tmp_path / "nested.tar", nested, A, END))[1] is not None


def test_a_list_of_holes_without_end_is_too_long(tmp_path: Path) -> None:
    keys = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "b.jpg", "GNU.sparse.realsize": "9"}
    body = b"".join(b"%d %s=%s\n" % (len(k) + len(v) + 5, k.encode(), v.encode()) for k, v in keys.items())
    holes = b"99999999\n" + b"0\n" * 600_000
    found, error = read_all(
        write(tmp_path / "x.tar", A, member("p", body, kind=tarfile.XHDTYPE), member("b.jpg", holes), END)
    )
    assert [inside for inside, _ in found] == ["a.jpg"]
    assert error is not None
    assert "too long" in str(error)


def test_a_gzip_bomb_ends_with_an_error_and_flat_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar, "_HARMLESS", 8 << 20)
    size = 32 << 20
    bomb = gzip.compress(A + member("zeros.bin", b"", size=size) + bytes(size) + END, compresslevel=1)
    path = write(tmp_path / "x.tar.gz", bomb)
    tracemalloc.start()
    try:
        with Tar(str(path)) as archive, pytest.raises(ImageError, match="more than 100 times"):
            list(archive.members())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


def test_no_header_is_kept_once_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tar", *(member(f"{number}.jpg") for number in range(2_000)), END)
    with Tar(str(path)) as archive:
        members = archive.members()
        for _ in zip(range(500), members, strict=False):
            pass
        tracemalloc.start()
        try:
            assert sum(1 for _ in members) == 1_500
            grown, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    # Only the hashes of the names stay: a header that did would take a kilobyte.
    assert grown < 1_500 * 150


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "broken or missing"), (b"no tar at all", "broken"), (b"\x28\xb5\x2f\xfd--", "Zstandard")],
)
def test_what_is_no_tar_is_one_sentence(tmp_path: Path, content: bytes, reason: str) -> None:
    found, error = read_all(write(tmp_path / "x.tar", content))
    assert found == []
    assert error is not None
    assert reason in str(error)


def test_a_pipe_keeps_nobody_waiting_and_what_is_gone_is_missing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.tar")
    with pytest.raises(ImageError, match="pipe"):
        Tar(str(tmp_path / "x.tar"))
    with pytest.raises(ImageError) as caught:
        Tar(str(tmp_path / "gone.tar"))
    assert caught.value.kind == "missing"


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_is_overwritten_nothing_but_an_image_error_comes_out(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(A + member("b.jpg", b"B" * 10) + END)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    found, _ = read_all(write(tmp_path_factory.mktemp("bent") / "x.tar", bytes(content)))
    assert len(found) <= 2
