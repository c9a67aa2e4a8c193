"""Many pictures: which are found, in which order, and what stands for each."""

from __future__ import annotations

from pathlib import Path

import pytest

from captioner import Candidate, Caption, DataError
from captioner.data.samples import sample_pictures
from captioner.inference.bulk import as_record, find_pictures


def test_folders_are_searched_to_the_bottom_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "deep/er/c.webp", "deep/d.txt", "deep/e.tiff"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in find_pictures([tmp_path])]
    assert found == ["a.png", "b.JPG", "deep/e.tiff", "deep/er/c.webp"]


def test_a_file_that_is_named_is_taken_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "scan").touch()
    assert list(find_pictures([tmp_path / "scan"])) == [tmp_path / "scan"]


def test_a_path_that_leads_nowhere_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no"):
        list(find_pictures([tmp_path / "nowhere.jpg"]))
    with pytest.raises(DataError, match="holds none"):
        list(find_pictures([tmp_path]))


def test_a_record_has_the_same_keys_for_a_caption_and_for_an_error() -> None:
    good = as_record(Path("a.jpg"), Caption((Candidate("A dog.", -2.5, ("a", "dog")),)), model="m@1")
    bad = as_record(Path("b.jpg"), Caption(error="It is broken."), model="m@1")
    assert good.keys() == bad.keys()
    assert good["candidates"] == [{"text": "A dog.", "log_probability": -2.5}]
    assert (bad["caption"], bad["candidates"], bad["error"]) == (None, [], "It is broken.")


def test_the_sample_photographs_are_there() -> None:
    assert len(sample_pictures()) == 4
