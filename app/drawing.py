"""What the model computed, as HTML that needs no script: choosing a word is a group of radio buttons.

Every text is escaped, since words come from a model file and names from a stranger's disk.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps

from captioner.data.images import ImageSource, read_image
from captioner.inference.caption import Candidate, Caption
from captioner.inference.drawing import attention_overlay, brightest_attention
from captioner.inference.explanation import END_TEXT, Alternative, ExplainedWord, Explanation

# Sides in pixels: of a sample's thumbnail, and of the picture under the attention.
_SAMPLE_SIDE: Final = 192
_PICTURE_SIDE: Final = 800


def draw_samples(pictures: Sequence[Path]) -> str:
    """A button with a thumbnail for each picture, its value the picture's place; empty for none."""
    if not pictures:
        return ""
    buttons = []
    for place, path in enumerate(pictures):
        thumbnail = ImageOps.fit(read_image(path), (_SAMPLE_SIDE, _SAMPLE_SIDE))
        name = escape(path.stem.rstrip("0123456789"))
        buttons.append(
            f'<button type="button" value="{place}" title="{name}">'
            f'<img alt="{name}" src="{_embedded(thumbnail, "JPEG", quality=82)}"></button>'
        )
    return f'<p class="hint">Or try one</p><div class="samples">{"".join(buttons)}</div>'


def draw_sentence(text: str) -> str:
    """The caption, large."""
    return f'<p class="sentence">{escape(text)}</p>'


def draw_confidence(caption: Caption) -> str:
    """How sure the model is, in a word: people make more of it than of a number, which they see if they ask for it.

    Empty when the model has no calibration.
    """
    if caption.uncertain:
        return '<p class="confidence">This looks unlike the photographs the model knows.</p>'
    if caption.confidence is None:
        return ""
    told = f"{_percent(caption.confidence)} likely to be as good as a person’s"
    return (
        f'<p class="confidence"><span title="{told}">Confidence: <b>{caption.level}</b>'
        f'<span class="heard">, {told}</span></span></p>'
    )


def draw_error(sentence: str) -> str:
    """Why there is no caption."""
    return f'<p class="error" role="alert">{_prose(sentence)}</p>'


def draw_notes(sentences: Sequence[str]) -> str:
    """What there is to know about a wish that was granted."""
    return "".join(f'<p class="note">{_prose(sentence)}</p>' for sentence in sentences)


def draw_alternatives(candidates: Sequence[Candidate]) -> str:
    """All but the first candidate, each with its probability in relation to the first's; empty without any."""
    if len(candidates) < 2:
        return ""
    rows = []
    for candidate in candidates[1:]:
        ratio = math.exp(candidate.log_probability - candidates[0].log_probability)
        told = f"{ratio:.2f}" if ratio >= 0.005 else "&lt;0.01"
        rows.append(
            f'<li style="--share: {min(ratio, 1):.3f}" title="log-probability {candidate.log_probability:.2f}">'
            f'<span>{escape(candidate.text)}</span> <span class="ratio">{told}×</span></li>'
        )
    return (
        "<h2>Also found</h2>"
        '<p class="hint">How probable each is beside the sentence above; the search weighs length too.</p>'
        f"<ol>{''.join(rows)}</ol>"
    )


def draw_words(picture: ImageSource, explanation: Explanation) -> str:
    """The words to choose from, and the picture with the attention of the chosen one; empty without words."""
    if not explanation.words:
        return ""
    upright = read_image(picture, at_least=_PICTURE_SIDE)
    upright.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE))
    brightest = brightest_attention(explanation.words)
    first = max(explanation.words, key=_focus)
    labels = "".join(_draw_word(word, brightest, chosen=word is first) for word in explanation.words)
    hint = (
        "Choose a word. The light lies where the model looked when it said the word."
        if any(word.attention is not None for word in explanation.words)
        else "Choose a word. This model looks at the picture once, not word by word."
    )
    return (
        f'<h2>Word by word</h2><p class="hint">{hint}</p>'
        f'<div class="stage" style="--ratio: {upright.width / upright.height:.4f}" role="radiogroup" '
        f'aria-label="Words of the caption">'
        f'<img class="under" alt="The picture" src="{_embedded(upright, "JPEG", quality=82)}">'
        f'<div class="chips">{labels}</div></div>'
    )


def _draw_word(word: ExplainedWord, brightest: float, *, chosen: bool) -> str:
    details = f"<b>{escape(word.text)}</b>: probability <b>{_percent(word.probability)}</b>, given the words before it."
    heat = ""
    if word.attention is not None:
        overlay = _embedded(attention_overlay(word.attention, brightest=brightest), "WEBP", quality=70)
        heat = f'<img class="heat" alt="" src="{overlay}">'
        details += f" {1 - word.not_looking:.0%} of the attention lay on the picture"
        details += f", {word.not_looking:.0%} on the model's memory." if word.not_looking > 0 else "."
    if word.confidence is not None:
        details += f" It is {_percent(word.confidence)} likely that a person would use it here."
    details += _draw_others(word.alternatives)
    return (
        f'<label style="--share: {word.probability:.3f}"><input type="radio" name="word"{" checked" if chosen else ""}>'
        f'<span class="chip">{escape(word.text)}</span>{heat}<span class="details">{details}</span></label>'
    )


def _draw_others(others: Sequence[Alternative]) -> str:
    """The words it could have said instead, on a line of their own; empty for none."""
    if not others:
        return ""
    drawn = " ".join(
        f'<span class="other" style="--share: {other.probability:.3f}">{escape(_spelt(other.text))} '
        f'<span class="ratio">{_percent(other.probability)}</span></span>'
        for other in others
    )
    return f'<span class="others">It also considered {drawn}</span>'


def _spelt(word: str) -> str:
    return "(to end)" if word == END_TEXT else word


def _percent(probability: float) -> str:
    return f"{probability:.0%}" if probability >= 0.005 else "&lt;1%"


def _prose(sentence: str) -> str:
    """A sentence with `code` in it."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(sentence))


def _focus(word: ExplainedWord) -> float:
    return float(word.attention.max()) if word.attention is not None else 0.0


def _embedded(picture: Image.Image, kind: str, *, quality: int) -> str:
    file = io.BytesIO()
    picture.save(file, kind, quality=quality)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
