"""Letters for drawings: Pillow's own font, or where a letter is none of its own, one of this machine that has it."""

from __future__ import annotations

import functools

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# What Linux, Windows and macOS have for other scripts than Latin; Pillow finds fonts of the system by name.
ELSEWHERE = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "arialuni.ttf"),
    *("NotoSansArabic-Regular.ttf", "NotoSansDevanagari-Regular.ttf", "NotoSansThai-Regular.ttf"),
    *("segoeui.ttf", "msyh.ttc", "meiryo.ttc", "malgun.ttf", "Nirmala.ttf", "LeelawUI.ttf"),
    *("Arial Unicode.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc", "Thonburi.ttc"),
)


def font_for(text: str, size: float) -> Font:
    """A font of so many pixels that has all letters of the text; Pillow's own, which draws boxes, if none has."""
    letters = set(text) - set(" \n")
    fonts = (_font(name, size) for name in (None, *ELSEWHERE))
    suitable = (font for font in fonts if font is not None and all(_knows(font, letter) for letter in letters))
    return next(suitable, None) or ImageFont.load_default(size)


@functools.lru_cache(maxsize=256)
def _font(name: str | None, size: float) -> Font | None:
    """The font of the system with that name, or Pillow's own."""
    try:
        return ImageFont.load_default(size) if name is None else ImageFont.truetype(name, size)
    except OSError:
        return None


@functools.lru_cache(maxsize=4096)
def _knows(font: Font, letter: str) -> bool:
    # What a font draws for a code that is no letter of any script it draws for all that it lacks.
    return bytes(font.getmask(letter)) != bytes(font.getmask("\U0010ffff"))
