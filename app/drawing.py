"""What the model computed, as HTML that needs no script: choosing a word is a group of radio buttons.

Every text is escaped, since words come from a model file and names from a stranger's disk.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from captioner.data.images import ImageSource, read_image
from captioner.inference.captioner import Candidate
from captioner.inference.explanation import ExplainedWord, Explanation

# Sides in pixels: of a sample's thumbnail, of the picture under the attention, and of a heat map, which the
# browser stretches over it.
_SAMPLE_SIDE: Final = 192
_PICTURE_SIDE: Final = 800
_HEAT_SIDE: Final = 112

# Where the model looked a picture is lit, elsewhere it lies in shadow: colour, and opacity at its strongest.
_GLOW: Final = (255, 168, 64), 0.30
_SHADOW: Final = (14, 12, 20), 0.6


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


def draw_error(sentence: str) -> str:
    """Why there is no caption."""
    return f'<p class="error" role="alert">{escape(sentence)}</p>'


def draw_alternatives(candidates: Sequence[Candidate]) -> str:
    """All but the first candidate, each with its probability in relation to the first's; empty without any."""
    if len(candidates) < 2:
        return ""
    rows = []
    for candidate in candidates[1:]:
        ratio = math.exp(candidate.log_probability - candidates[0].log_probability)
        rows.append(
            f'<li style="--share: {min(ratio, 1):.3f}" title="log-probability {candidate.log_probability:.2f}">'
            f'<span>{escape(candidate.text)}</span> <span class="ratio">{ratio:.2f}×</span></li>'
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
    attentions = [word.attention for word in explanation.words if word.attention is not None]
    brightest = max((float(attention.max()) for attention in attentions), default=1.0)
    first = max(explanation.words, key=_focus)
    labels = "".join(_draw_word(word, brightest, chosen=word is first) for word in explanation.words)
    hint = (
        "Choose a word. The light lies where the model looked when it said the word."
        if attentions
        else "Choose a word. This model looks at the picture once, not word by word."
    )
    return (
        f'<h2>Word by word</h2><p class="hint">{hint}</p>'
        f'<div class="stage" style="--ratio: {upright.width / upright.height:.4f}" role="radiogroup" '
        f'aria-label="Words of the caption">'
        f'<img class="under" alt="The picture" src="{_embedded(upright, "JPEG", quality=82)}">{labels}</div>'
    )


def draw_heat(attention: NDArray[np.float32], brightest: float) -> Image.Image:
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


def _draw_word(word: ExplainedWord, brightest: float, *, chosen: bool) -> str:
    details = f"<b>{escape(word.text)}</b>: probability <b>{word.probability:.0%}</b>, given the words before it."
    heat = ""
    if word.attention is not None:
        overlay = _embedded(draw_heat(word.attention, brightest), "WEBP", quality=70)
        heat = f'<img class="heat" alt="" src="{overlay}">'
        details += f" {1 - word.not_looking:.0%} of the attention lay on the picture"
        details += f", {word.not_looking:.0%} on the model's memory." if word.not_looking > 0 else "."
    return (
        f'<label style="--share: {word.probability:.3f}"><input type="radio" name="word"{" checked" if chosen else ""}>'
        f'<span class="chip">{escape(word.text)}</span>{heat}<span class="details">{details}</span></label>'
    )


def _focus(word: ExplainedWord) -> float:
    return float(word.attention.max()) if word.attention is not None else 0.0


def _embedded(picture: Image.Image, kind: str, *, quality: int) -> str:
    file = io.BytesIO()
    picture.save(file, kind, quality=quality)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
