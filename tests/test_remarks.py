"""What is worth knowing of a collection before it is trained on."""

from __future__ import annotations

from captioner.data.remarks import remarks_on

PLENTY = [(f"word{n % 30} word{n % 29}", f"word{n % 28} word{n % 27}") for n in range(100)]


def remarks(train, **splits) -> str:
    return " ".join(remarks_on({"train": train, "validation": PLENTY} | splits))


def test_a_good_collection_needs_no_remark():
    assert remarks(PLENTY) == ""


def test_few_pictures_are_told():
    assert "Few training pictures, 30" in remarks(PLENTY[:30])


def test_a_vocabulary_that_the_usual_limit_empties_is_told():
    told = "Of {} different words in the training captions only {} occur 3 times or more"
    assert told.format(200, 0) in remarks([(f"word{n} other{n}",) for n in range(100)])
    assert told.format(1, 1) in remarks([("dog dog",)] * 100)


def test_captions_that_are_many_for_some_pictures_and_few_for_others_are_told():
    uneven = [of_picture * (50 if place == 0 else 1) for place, of_picture in enumerate(PLENTY)]
    assert "vary from 2 to 100 (median 2)" in remarks(uneven)
    assert "vary" not in remarks([*PLENTY[:50], *(of_picture * 2 for of_picture in PLENTY[50:])])


def test_scripts_without_spaces_ask_for_characters():
    told = remarks([("一只狗在草地上奔跑",), ("两只猫坐在椅子上",)] * 50)
    assert "vocabulary.units=characters" in told
    assert "Of 14 different words" in told


def test_missing_splits_are_told():
    assert "No picture is for training" in " ".join(remarks_on({"test": PLENTY}))
    assert "No picture is for validation" in " ".join(remarks_on({"train": PLENTY}))
