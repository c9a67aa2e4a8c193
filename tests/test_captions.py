"""Captions as people's files hold them: what is mended, what is left out, and that good ones stay as they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioner.data.captions import Limits, check, fault, mend
from captioner.errors import ConfigError


@pytest.mark.parametrize(
    ("caption", "mended", "what"),
    [
        ("\ufeffA dog", "A dog", ["control characters"]),
        ("A\x00dog\r\nruns\u2028", "A dog  runs", ["control characters"]),
        ("a \u202ekcalb\u202c dog", "a kcalb dog", ["control characters"]),
        ("Zucker\u00adguss auf Kuchen", "Zuckerguss auf Kuchen", ["control characters"]),
        ("ការ\u200bឡាន", "ការ ឡាន", ["control characters"]),
        ("<p>A <b>big</b> dog<br/></p>", "A  big  dog", ["markup or entities"]),
        ("Tom &amp; Jerry&#39;s caf&eacute;", "Tom & Jerry's café", ["markup or entities"]),
        ("a cafÃ© by the sea â€“ closed", "a café by the sea – closed", ["letters decoded wrongly"]),
        ("ÐºÐ¾Ñ‚ Ñ\x81Ð¿Ð¸Ñ‚", "кот спит", ["letters decoded wrongly"]),
    ],
)
def test_what_does_not_belong_in_a_caption_is_taken_out(caption, mended, what):
    assert mend(caption) == (mended, what)


@pytest.mark.parametrize(
    "caption",
    [
        "Zoë's  dog, 2\tyears <old> 🐕 .",
        "a < b and b > a & so on",
        "كلب يركض في الحديقة",
        "سگ می\u200cدود",
        "AT&T; a sign",
        "UMA MAÇÃ VERMELHA",
        "Ångström, Ñandú and Ø",
        "👩‍👧 at the sea",
        "R&D",
    ],
)
def test_a_good_caption_keeps_every_letter(caption):
    assert mend(caption) == (caption, [])


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("", "empty caption"),
        ("...!?", "empty caption"),
        ("🐕🐕", "empty caption"),
        ("dog", "one-word caption"),
        ("Dog.", "one-word caption"),
        ("<unk>", "placeholder instead of a caption"),
        ("<unk> <unk> [UNK]", "placeholder instead of a caption"),
        ("nan", "placeholder instead of a caption"),
        ("N/A", "placeholder instead of a caption"),
        ("#NAME?", "placeholder instead of a caption"),
        ("word " * 101, "caption too long"),
        ("word " * 10_000, "caption too long"),
        ("x" * 10_000, "caption too long"),
        ("a " + "x" * 61, "word without end"),
        ("a caf\ufffd table", "letters lost before (�)"),
        ("a caf\udce9 table", "not text of the expected encoding"),
        ("a dog", None),
        ("word " * 100, None),
        ("一只狗在草地上奔跑", None),
        ("狗", "one-word caption"),
        ("สุนัขวิ่ง", None),
        ("Donaudampfschifffahrtsgesellschaft am Ufer", None),
    ],
)
def test_a_caption_that_says_nothing_is_told_apart(caption, reason):
    assert fault(caption, Limits()) == reason


def test_every_caption_of_a_picture_is_judged_on_its_own():
    checked = check(["a dog<br>", "dog", "a dog", " "], Limits())
    assert checked.kept == ["a dog", "a dog"]
    assert checked.faults == [("one-word caption", "dog"), ("empty caption", " ")]
    assert checked.mended == ["markup or entities"]


def test_a_caption_shorter_than_was_asked_for_is_not_called_one_word():
    limits = Limits(min_words=4)
    assert fault("a dog runs", limits) == "caption too short"


@pytest.mark.parametrize("limits", [{"min_words": 0}, {"min_words": 3, "max_words": 2}])
def test_limits_that_fit_no_caption_are_refused(limits):
    with pytest.raises(ConfigError, match="least and most words"):
        Limits(**limits)


@given(st.text(max_size=60))
def test_a_caption_once_mended_needs_no_mending_of_its_control_characters(caption):
    mended, _ = mend(caption)
    assert "control characters" not in mend(mended)[1]
    assert mended == mended.strip()
    check([caption], Limits())
