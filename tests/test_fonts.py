"""Drawings write every script that a font of this machine knows."""

from pathlib import Path

import matplotlib
import pytest
from PIL import ImageFont

from captioner.inference import fonts

DEJAVU = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


def test_a_letter_that_pillow_lacks_is_taken_from_another_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "ELSEWHERE", ("there is no such font", DEJAVU))
    assert fonts.font_for("a dog", 20).getname() == ImageFont.load_default(20).getname()
    found = fonts.font_for("Собака бежит.", 20)
    assert (found.getname()[0], found.size) == ("DejaVu Sans", 20)


def test_letters_that_no_font_has_are_drawn_as_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "ELSEWHERE", (DEJAVU,))
    assert fonts.font_for("狗", 20).getname() == ImageFont.load_default(20).getname()
