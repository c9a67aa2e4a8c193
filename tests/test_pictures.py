"""The pictures of a folder by the names that people's files call them: found where only one can be meant, else told."""

from __future__ import annotations

import pytest

from captioner.data.formats.pictures import MISSING, Pictures
from captioner.data.rows import Dropped
from tests.layouts import pictures


@pytest.mark.parametrize(
    "name",
    ["/home/anna/mine/train/1.jpg", "C:\\Users\\anna\\mine\\train\\1.jpg", "../mine/train/1.jpg", "mine/train/1.jpg"],
)
def test_the_folders_of_another_computer_count_for_nothing(tmp_path, name):
    pictures(tmp_path, "train/1.jpg", "test/1.jpg", "train/old/1.jpg")
    assert Pictures(tmp_path).find(name) == "train/1.jpg"


def test_a_name_may_climb_from_its_folder_but_not_out_of_the_root(tmp_path):
    pictures(tmp_path, "secret.jpg", "f/images/a.jpg", "f/train/b.jpg")
    assert Pictures(tmp_path / "f").find("../images/a.jpg", near="train") == "images/a.jpg"
    assert Pictures(tmp_path / "f").find("../../secret.jpg", near="train") == Dropped(
        "picture", "../../secret.jpg", "path leads out of the folder"
    )


def test_a_picture_that_is_missing_in_its_folder_is_not_taken_from_another(tmp_path):
    pictures(tmp_path, "1.jpg", "train/1.jpg", "train/2.jpg", "test/3.jpg")
    found = Pictures(tmp_path)
    assert found.find("1.jpg", near="train") == "train/1.jpg"
    for name, near in (("3.jpg", "train"), ("train/3.jpg", ""), ("anna/train/3.jpg", "")):
        assert found.find(name, near=near) == Dropped("picture", name, MISSING)
    # A folder without pictures, such as that of the annotations, says nothing about where they are.
    assert found.find("3.jpg", near="annotations") == "test/3.jpg"


def test_capitals_and_a_suffix_left_out_count_only_where_nothing_fits_better(tmp_path):
    pictures(tmp_path, "Dog.JPG", "x/cat.jpg", "x/CAT.jpg", "bird.jpg", "bird.png")
    found = Pictures(tmp_path)
    assert found.find("dog.jpg") == found.find("dog") == found.find("DOG") == "Dog.JPG"
    assert found.find("cat.jpg") == "x/cat.jpg"
    assert found.find("Cat.jpg") == Dropped(
        "picture", "Cat.jpg", "several pictures have this name", "x/CAT.jpg, x/cat.jpg"
    )
    assert found.find("bird.png") == "bird.png"
    assert found.find("bird") == Dropped("picture", "bird", "several pictures have this name", "bird.jpg, bird.png")
    assert found.find("dog.png") == Dropped("picture", "dog.png", MISSING)


@pytest.mark.parametrize("name", [".", "..", "/", "train", "a/"])
def test_what_names_no_file_finds_none(tmp_path, name):
    pictures(tmp_path, "train/1.jpg")
    assert isinstance(Pictures(tmp_path).find(name), Dropped)
