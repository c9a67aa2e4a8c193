"""Captions as people's files hold them: what can be mended is, what says nothing is left out.

A caption keeps its spelling. Taken out are only control characters (NUL, line ends, byte order marks, marks of writing
direction, soft hyphens), markup and entities of web pages, and the letters of text that was decoded the wrong way.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

from captioner.data.formats.texts import NOT_DECODED, undecodable
from captioner.errors import ConfigError
from captioner.text.vocabulary import normalise

LONGEST_WORD = 60
"""In letters. What is longer is no word of any language that writes spaces."""

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,31});")
_TAG = re.compile(
    r"</?(?:a|abbr|b|big|blockquote|body|br|center|cite|code|div|em|font|h[1-6]|hr|html|i|img|li|ol|p|pre|q|s|small|"
    r"span|strike|strong|sub|sup|table|tbody|td|th|tr|tt|u|ul)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
# Marks of byte order and of writing direction, soft hyphens, invisible joiners of words.
_UNSEEN = re.compile("[\u00ad\u061c\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_DECODED_WRONGLY = re.compile("[ÂÃÄÅÐÑØÙ][\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â€")
_PLACEHOLDERS = {"unk", "nan", "null", "none", "na", "undefined", "missing"}
_SPREADSHEET_ERROR = re.compile(r"\s*#(?:NAME\?|REF!|VALUE!|N/A|DIV/0!|NULL!|NUM!)\s*", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How short and how long a caption may be, in words; letters count where a script writes no spaces."""

    min_words: int = 2
    max_words: int = 100

    def __post_init__(self) -> None:
        if not 1 <= self.min_words <= self.max_words:
            raise ConfigError(
                f"A caption's least and most words must be 1 or more and in this order, but {self.min_words} and "
                f"{self.max_words} came."
            )


@dataclass
class Checked:
    """The captions of one picture after the check: those kept, why others were not, and what was mended in how many."""

    kept: list[str] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)
    """(reason, beginning of the caption)"""
    mended: list[str] = field(default_factory=list)


def check(captions: Iterable[str], limits: Limits) -> Checked:
    """Mend and judge the captions of one picture."""
    checked = Checked()
    for caption in captions:
        mended, what = mend(caption)
        reason = fault(mended, limits)
        if reason is None:
            checked.kept.append(mended)
            checked.mended += what
        else:
            checked.faults.append((reason, caption[:60]))
    return checked


def mend(caption: str) -> tuple[str, list[str]]:
    """The caption with what does not belong in it taken out, and the names of what that was; outer blanks go too."""
    steps = (
        ("letters decoded wrongly", _decoded_again),
        ("markup or entities", _without_markup),
        ("control characters", _without_controls),
    )
    text, what = caption.strip(), []
    for name, step in steps:
        mended = step(text)
        if mended != text:
            what.append(name)
        text = mended
    return text.strip(), what


def fault(caption: str, limits: Limits) -> str | None:
    """Why a mended caption is of no use, one of few reasons; None where it is."""
    if undecodable(caption):
        return NOT_DECODED
    if "\ufffd" in caption:
        return "letters lost before (�)"
    if _SPREADSHEET_ERROR.fullmatch(caption):
        return "placeholder instead of a caption"
    if len(caption) > limits.max_words * LONGEST_WORD:
        return "caption too long"
    words = normalise(caption, "characters")
    if not words:
        return "empty caption"
    if _PLACEHOLDERS.issuperset(words) or words == ["n", "a"]:
        return "placeholder instead of a caption"
    if len(words) < limits.min_words:
        return "one-word caption" if len(words) == 1 else "caption too short"
    if len(words) > limits.max_words:
        return "caption too long"
    if max(map(len, words)) > LONGEST_WORD:
        return "word without end"
    return None


def _decoded_again(text: str) -> str:
    """Text such as `cafÃ©`, whose UTF-8 was once read as Windows-1252, as what it is."""
    if _DECODED_WRONGLY.search(text):
        try:
            return b"".join(map(_byte, text)).decode("utf-8")
        except UnicodeError:
            pass
    return text


def _byte(letter: str) -> bytes:
    # Windows-1252 leaves five bytes undefined; most programs read them as control characters.
    return letter.encode("latin-1" if letter in "\x81\x8d\x8f\x90\x9d" else "cp1252")


def _without_markup(text: str) -> str:
    if "<" in text:
        text = _TAG.sub(" ", text)
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), text) if "&" in text else text


def _without_controls(text: str) -> str:
    text = _UNSEEN.sub("", text)
    return "".join(" " if _is_control(letter) else letter for letter in text)


def _is_control(letter: str) -> bool:
    # A tab is a blank like others. The space without width separates words in Khmer and Burmese.
    return letter == "\u200b" or (letter != "\t" and unicodedata.category(letter) in ("Cc", "Zl", "Zp"))
