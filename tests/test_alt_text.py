"""What speaks against a caption as alt text: one sentence for each thing, and none for a sound one."""

from __future__ import annotations

import pytest

from captioner.text.alt_text import LONGEST, lint_alt_text, mend_alt_text


@pytest.mark.parametrize(
    "sound",
    [
        "A brown dog runs over green grass.",
        "Two children play in the water!",
        "A man takes a picture of a bird.",
        "A girl holds a photograph of her dog.",
        "Who is the man in the mirror?",
        'A sign reads "stop."',
        "Ein Hund läuft über die Wiese.",
    ],
)
def test_a_sound_caption_has_no_findings(sound: str) -> None:
    assert lint_alt_text(sound) == []


@pytest.mark.parametrize(
    ("caption", "told"),
    [
        ("", "empty"),
        (" .", "empty"),
        ("An image of a dog.", '"image of"'),
        ("a close-up photo of a dog.", '"photo of"'),
        ("Picture of a dog.", '"picture of"'),
        ("This is a photograph showing a dog.", '"photograph of"'),
        ("A dog runs", "full stop"),
        ("A dog runs,", "full stop"),
        ("IMG_2041.jpg.", "IMG_2041.jpg"),
        ("A dog, from dog-at-beach.PNG.", "dog-at-beach.PNG"),
    ],
)
def test_each_fault_is_told_in_one_sentence(caption: str, told: str) -> None:
    [finding] = lint_alt_text(caption)
    assert told in finding
    assert finding.endswith(".")


def test_125_characters_are_enough() -> None:
    just = "A" * (LONGEST - 1) + "."
    assert LONGEST == 125
    assert lint_alt_text(just) == []
    [finding] = lint_alt_text("A" + just)
    assert "126 characters" in finding


def test_several_faults_are_several_findings() -> None:
    assert len(lint_alt_text("Image of dog.jpg")) == 3


@pytest.mark.parametrize(
    ("caption", "mended"),
    [
        ("A picture of a photo of two dogs", "Two dogs."),
        ("A dog runs.", "A dog runs."),
        ("犬が走る。", "犬が走る。"),
        ("A picture of", "A picture of."),
        (" ", ""),
    ],
)
def test_what_form_alone_can_mend_is_mended(caption: str, mended: str) -> None:
    assert mend_alt_text(caption) == mended
