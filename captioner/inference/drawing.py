"""Explanations as pictures: attention word by word, the gates, and the memory ledger as a stacked timeline.

Drawn with Pillow alone, at twice the size they are meant to be seen at, for fine screens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from captioner.inference.explanation import END_TEXT, ExplainedWord, Explanation, GateSummary
from captioner.inference.fonts import font_for
from captioner.inference.ledger import MemoryLedger

# Where the model looked a picture is lit, elsewhere it lies in shadow: colour, and opacity at its strongest.
_GLOW: Final = (255, 168, 64), 0.30
_SHADOW: Final = (14, 12, 20), 0.6
# Sides in pixels: of a heat map, which is stretched over the picture, and of a picture in the contact sheet.
_HEAT_SIDE: Final = 112
_TILE_SIDE: Final = 320

_PAPER: Final = "#faf9f6"
_INK: Final = "#1d2021"
_QUIET: Final = "#5c6063"
_LINE: Final = "#e4e1da"
_MARK: Final = "#2f6f5e"
_BAND: Final = "#a9cfc3"
_MARGIN: Final = 32

PICTURE_COLOUR: Final = "#2f6f5e"
"""Of what entered before the first word."""
WORD_COLOURS: Final = ("#e0a458", "#7a9cc6", "#c97b84", "#8fb573", "#a58bc2", "#d3b94c", "#6fb1b5", "#c98f62")
"""Of what entered at each word, in turn."""


def source_colour(source: int) -> str:
    """The colour of a source of the ledger, the same in every drawing of it."""
    return PICTURE_COLOUR if source == 0 else WORD_COLOURS[(source - 1) % len(WORD_COLOURS)]


def attention_overlay(attention: NDArray[np.float32], *, brightest: float) -> Image.Image:
    """An overlay, RGBA, of attention (grid height, grid width): clear where it reaches `brightest`, dark at 0."""
    light = np.sqrt(np.clip(attention / max(brightest, 1e-9), 0, 1))
    smooth = Image.fromarray(light.astype(np.float32)).resize((_HEAT_SIDE, _HEAT_SIDE), Image.Resampling.BICUBIC)
    light = np.clip(np.asarray(smooth), 0, 1)[..., None]
    (glow, most_glow), (shadow, most_shadow) = _GLOW, _SHADOW
    # The glow lies over the shadow: the usual "over" of two layers.
    above, below = most_glow * light**2, most_shadow * (1 - light)
    opacity = above + below * (1 - above)
    colour = (above * np.array(glow) + below * (1 - above) * np.array(shadow)) / np.maximum(opacity, 1e-9)
    return Image.fromarray(np.rint(np.concatenate([colour, opacity * 255], axis=-1)).astype(np.uint8))


def brightest_attention(words: Sequence[ExplainedWord]) -> float:
    """The most attention that any word gave any place: what all overlays of a caption are lit in relation to."""
    return max((float(word.attention.max()) for word in words if word.attention is not None), default=1.0)


def draw_attention(picture: Image.Image, explanation: Explanation) -> Image.Image:
    """A contact sheet of an upright RGB picture: one copy for each word, lit where the model looked."""
    tile = picture.copy()
    tile.thumbnail((_TILE_SIDE, _TILE_SIDE))
    across = max(1, min(4, len(explanation.said)))
    down = -(-len(explanation.said) // across)
    width = max(tile.width, _TILE_SIDE * 2 // 3)
    cell = (width + _MARGIN, tile.height + 84)
    title = explanation.caption.hedged or ""
    sheet, brush = _sheet(_MARGIN + across * cell[0], 2 * _MARGIN + 40 + down * cell[1], title)
    brightest = brightest_attention(explanation.said)
    for number, word in enumerate(explanation.said):
        x = _MARGIN + number % across * cell[0]
        y = 2 * _MARGIN + 40 + number // across * cell[1]
        sheet.paste(_lit(tile, word, brightest), (x, y))
        _write(brush, (x, y + tile.height + 8), _label(word.text), size=28, width=width - 70)
        _note(brush, (x + width, y + tile.height + 12), f"{word.probability:.0%}", 24, "ra")
    return sheet


def draw_gates(explanation: Explanation) -> Image.Image:
    """One strip for each gate, a column for each word: the mean, and the band that holds the middle 80 % of units."""
    names = ("forget", "input", "candidate", "output")
    left, column, strip = 200, 110, 180
    width = left + len(explanation.said) * column + _MARGIN
    sheet, brush = _sheet(width, 2 * _MARGIN + 40 + len(names) * strip + 60, "Gates: mean, and middle 80 % of units")
    top = 2 * _MARGIN + 40
    for row, name in enumerate(names):
        floor = -1.0 if name == "candidate" else 0.0
        low, high = top + row * strip + strip - 30, top + row * strip + 10
        brush.text((_MARGIN, (low + high) / 2), name, _INK, font_for(name, 28), anchor="lm")
        for value in (floor, 1.0):
            y = _between(low, high, value, floor)
            brush.line([(left, y), (width - _MARGIN, y)], _LINE, 2)
            _note(brush, (left - 12, y), f"{value:g}", 22, "rm")
        for time, word in enumerate(explanation.said):
            gate: GateSummary | None = getattr(word.gates, name, None)
            if gate is None:
                continue
            middle = left + time * column + column // 2
            ends = [_between(low, high, value, floor) for value in (gate.high, gate.low)]
            brush.rounded_rectangle([middle - 22, ends[0], middle + 22, max(ends[1], ends[0] + 2)], 8, _BAND)
            mean = _between(low, high, gate.mean, floor)
            brush.line([(middle - 26, mean), (middle + 26, mean)], _MARK, 5)
    _write_columns(brush, explanation.said, left, column, top + len(names) * strip)
    return sheet


def draw_ledger(ledger: MemoryLedger, explanation: Explanation) -> Image.Image:
    """A stacked timeline: of what the memory consisted as each word was said, the picture's share lowest."""
    left, column, height = 130, 110, 640
    words = explanation.said
    width = left + len(words) * column + 340
    sheet, brush = _sheet(width, height + 2 * _MARGIN + 100, "What the memory consists of, word by word")
    top = 2 * _MARGIN + 40
    for share in (0.0, 0.5, 1.0):
        _note(brush, (left - 16, top + height * (1 - share)), f"{share:.0%}", 22, "rm")
    shares = ledger.shares
    for time in range(len(words)):
        bottom = float(top + height)
        for source in range(time + 2):
            upper = bottom - height * float(shares[time, source])
            x = left + time * column
            brush.rectangle([x + 3, upper, x + column - 4, max(upper, bottom - 1)], source_colour(source))
            if source == time + 1 and bottom - upper >= 34:  # what has just come in
                _write_in(brush, _label(ledger.read[time]), x + column // 2, (upper + bottom) / 2, column - 14)
            bottom = upper
    _write_columns(brush, words, left, column, top + height + 8)
    bottom = float(top + height)
    for source, name in enumerate(["the picture", *ledger.read]):
        part = height * float(shares[-1, source])
        if part >= 24 or source == 0:
            told = f"{name if source == 0 else f'reading {_label(name)}'} {part / height:.0%}"
            brush.text((width - 330, bottom - part / 2), told, _INK, font_for(told, 24), anchor="lm")
        bottom -= part
    return sheet


def _label(word: str) -> str:
    return {END_TEXT: "(end)", "<start>": "(start)"}.get(word, word)


def _lit(tile: Image.Image, word: ExplainedWord, brightest: float) -> Image.Image:
    if word.attention is None:
        return tile
    overlay = attention_overlay(word.attention, brightest=brightest).resize(tile.size, Image.Resampling.BICUBIC)
    return Image.alpha_composite(tile.convert("RGBA"), overlay).convert("RGB")


def _sheet(width: int, height: int, title: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    sheet = Image.new("RGB", (width, height), _PAPER)
    brush = ImageDraw.Draw(sheet)
    _write(brush, (_MARGIN, _MARGIN), title, size=34, width=width - 2 * _MARGIN)
    return sheet, brush


def _write_columns(
    brush: ImageDraw.ImageDraw, words: Sequence[ExplainedWord], left: int, column: int, y: float
) -> None:
    for time, word in enumerate(words):
        _write_in(brush, _label(word.text), left + time * column + column // 2, y + 16, column - 8)


def _note(brush: ImageDraw.ImageDraw, place: tuple[float, float], text: str, size: int, anchor: str) -> None:
    """A small figure beside something, `place` where Pillow's `anchor` says."""
    brush.text(place, text, _QUIET, font_for(text, size), anchor=anchor)


def _write_in(brush: ImageDraw.ImageDraw, text: str, x: float, y: float, width: int) -> None:
    """One line around the middle (x, y), in letters small enough for `width` pixels."""
    size = 26
    while size > 12 and brush.textlength(text, font_for(text, size)) > width:
        size -= 2
    brush.text((x, y), text, _INK, font_for(text, size), anchor="mm")


def _write(brush: ImageDraw.ImageDraw, place: tuple[int, int], text: str, *, size: int, width: int) -> None:
    """One line, cut to `width` pixels."""
    font, line = font_for(text, size), text
    while line and brush.textlength(line, font) > width:
        line = line[:-1]
    brush.text(place, line if line == text else f"{line[:-1]}…", _INK, font)


def _between(low: float, high: float, value: float, floor: float) -> float:
    """Where a value from `floor` to 1 lies between two heights."""
    return low + (high - low) * (value - floor) / (1 - floor)
