"""ZIP archives of anybody's: what is read of them, and what is refused."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from captioner.data import zip_archive
from captioner.data.archives import zip_pictures
from captioner.data.member_names import MemberNames
from captioner.data.zip_archive import Zip
from captioner.errors import DataError, ImageError

Members = Iterable[tuple[str | zipfile.ZipInfo, bytes]]


def pack(path: Path, members: Members, method: int = zipfile.ZIP_DEFLATED) -> str:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return str(path)


def pictures(path: str, **limits: int) -> dict[str, bytes | str]:
    """Content, or the error's sentence, by the path inside."""
    return {
        inside: str(content) if isinstance(content, ImageError) else content
        for inside, content in zip_pictures(path, lambda inside: True, **limits)
    }


def test_pictures_come_in_order_without_folders_hidden_files_and_what_is_no_picture(tmp_path: Path) -> None:
    members: Members = [
        ("trip/", b""),
        ("trip/b.JPG", b"B"),
        ("__MACOSX/._b.JPG", b"x"),
        ("inner.zip", b"PK"),
        ("a.png", b"A"),
    ]
    assert list(pictures(pack(tmp_path / "x.zip", members)).items()) == [("trip/b.JPG", b"B"), ("a.png", b"A")]


def test_names_never_lead_out_and_never_meet(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = pack(
            tmp_path / "x.zip", [("../a.jpg", b"1"), ("/a.jpg", b"2"), ("t\\..\\b.jpg", b"3"), ("/a.jpg", b"4")]
        )
    assert pictures(path) == {"a.jpg": b"1", "a#2.jpg": b"2", "t/b.jpg": b"3", "a#3.jpg": b"4"}


def test_names_that_no_file_could_have_are_cut_to_what_one_can() -> None:
    names = MemberNames()
    assert names.name("a/" * 1500 + "x.jpg") == "a/" * 63 + "x.jpg"
    assert names.name("b" * 1_000_000 + ".jpg") == "b" * 124 + ".jpg"
    assert names.name("b" * 1_000_000 + ".jpg") == "b" * 124 + "#2.jpg"
    assert names.name("a/" * 1_000_000 + ".hidden.jpg") is None


def test_members_of_one_name_are_numbered_in_a_time_that_grows_as_they_do() -> None:
    names = MemberNames()
    assert [names.name(name) for name in ("a#3.jpg", "a.jpg", "a.jpg", "a.jpg", "a#3.jpg")] == [
        *("a#3.jpg", "a.jpg", "a#2.jpg", "a#4.jpg", "a#3#2.jpg")
    ]
    # Were every number tried again, these would take hours.
    assert [names.name("a.jpg") for _ in range(200_000)][-1] == "a#200004.jpg"


def test_an_archive_without_pictures_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds none"):
        pictures(pack(tmp_path / "x.zip", [("inner.zip", b"PK")]))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\5\6" + bytes(18) + b"and more"])
def test_what_is_no_archive_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    if content.startswith(b"PK"):
        with pytest.raises(DataError, match="holds none"):
            pictures(str(path))
    else:
        assert "x.zip must be a whole ZIP archive" in str(pictures(str(path))[""])


def test_an_archive_cut_short_is_a_sentence(tmp_path: Path) -> None:
    path = Path(pack(tmp_path / "x.zip", [("a.jpg", b"A" * 100)]))
    path.write_bytes(path.read_bytes()[:-30])
    assert "x.zip must be a whole ZIP archive" in str(pictures(str(path))[""])


def test_a_damaged_member_costs_itself_alone(tmp_path: Path) -> None:
    path = Path(pack(tmp_path / "x.zip", [("a.jpg", b"AAAA"), ("b.jpg", b"BBBB")], zipfile.ZIP_STORED))
    path.write_bytes(path.read_bytes().replace(b"AAAA", b"AAxA"))
    found = pictures(str(path))
    assert "a.jpg must be a whole member of its archive" in str(found["a.jpg"])
    assert found["b.jpg"] == b"BBBB"


def test_a_member_with_a_password_and_one_packed_in_a_greedy_way_are_sentences(tmp_path: Path) -> None:
    path = Path(pack(tmp_path / "x.zip", [("a.jpg", b"A")]))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1  # the flag in the list of members
    path.write_bytes(content)
    assert "it is encrypted; pack it without one" in str(pictures(str(path))["a.jpg"])
    greedy = pack(tmp_path / "y.zip", [("a.jpg", b"A" * 100)], zipfile.ZIP_LZMA)
    assert "must be packed by Deflate" in str(pictures(greedy)["a.jpg"])


def test_a_link_is_a_sentence(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("a.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "a link or a device" in str(pictures(pack(tmp_path / "x.zip", [(link, b"/etc/passwd")]))["a.jpg"])


def test_a_picture_may_have_so_many_bytes_and_no_more(tmp_path: Path) -> None:
    found = pictures(pack(tmp_path / "x.zip", [("a.jpg", bytes(1_000_000)), ("b.jpg", bytes(1_000_001))]), most=10**6)
    assert found["a.jpg"] == bytes(1_000_000)
    assert "must have at most 1 MB" in str(found["b.jpg"])


def test_a_member_that_is_larger_than_it_says_is_not_unpacked(tmp_path: Path) -> None:
    path = Path(pack(tmp_path / "x.zip", [("a.jpg", bytes(50_000_000))]))
    content = bytearray(path.read_bytes())
    size = content.index(b"PK\1\2") + 24
    content[size : size + 4] = (10).to_bytes(4, "little")
    path.write_bytes(content)
    assert "must be a whole member of its archive" in str(pictures(str(path))["a.jpg"])


def test_an_archive_that_expands_like_an_attack_ends_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_archive, "_HARMLESS", 1 << 20)
    path = pack(tmp_path / "x.zip", [(f"{number}.jpg", bytes(1 << 20)) for number in range(3)])  # to 1/1000
    found = pictures(path)
    assert list(found) == ["0.jpg", ""]
    assert "as only an attack does" in str(found[""])


def test_a_list_of_members_that_is_too_long_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_archive, "_MAX_DIRECTORY", 70_000)
    path = pack(tmp_path / "x.zip", [(f"{number}" * 60 + ".jpg", b"") for number in range(900)])
    assert "its list of members is too long" in str(pictures(path)[""])


def test_an_archive_is_closed_after_use(tmp_path: Path) -> None:
    with Zip(pack(tmp_path / "x.zip", [("a.jpg", b"A")])) as archive:
        [member] = archive.members()
        assert archive.read(member) == b"A"
    assert isinstance(archive.read(member), ImageError)
