"""What the Caption tab shows, as HTML. The words of the sentence are a group of radio buttons.

Everything about a word has its place in the sentence as `data-of`, and `caption.js` shows that of the word pointed at
or chosen. Every text is escaped, since words come from a model file and names from a stranger's disk.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps

from captioner.data.images import read_image
from captioner.inference.caption import Candidate, Caption
from captioner.inference.drawing import attention_overlay, brightest_attention
from captioner.inference.explanation import END_TEXT, Alternative, ExplainedWord, Explanation
from captioner.inference.explanation_page import embedded, first_word
from captioner.text.vocabulary import SPECIAL_TOKENS

from .takeaway import AltText

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
            f'<button type="button" data-trigger="click" data-index="{place}" title="{name}">'
            f'<img alt="{name}" src="{embedded(thumbnail, "JPEG", quality=82)}"></button>'
        )
    return f'<p class="hint">Or try one</p><div class="samples">{"".join(buttons)}</div>'


def draw_sentence(sentence: str, words: Sequence[ExplainedWord] = (), *, chosen: int = 0) -> str:
    """The caption, large, with its words to choose from; without any where they do not make up the sentence."""
    places = _find(sentence, [word.text for word in words])
    if not places:
        return f'<p class="sentence">{escape(sentence)}</p>'
    parts, told = [], 0
    for place, (begins, ends) in enumerate(places):
        parts.append(escape(sentence[told:begins]))
        parts.append(
            f'<label class="word"><input type="radio" name="word" value="{place}" aria-describedby="about-{place}"'
            f"{' checked' if place == chosen else ''}>{escape(sentence[begins:ends])}</label>"
        )
        told = ends
    parts.append(escape(sentence[told:]))
    return f'<div class="sentence" role="radiogroup" aria-label="The words of the caption">{"".join(parts)}</div>'


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


def draw_steered() -> str:
    """That the visitor's wishes shaped the sentence, and the way back."""
    return (
        '<p class="note">Steered by your wishes. '
        '<button type="button" class="quiet" data-trigger="clear">Let it speak freely</button></p>'
    )


def draw_takes(sentence: str, alt: AltText) -> str:
    """Buttons to copy the sentence and its form as alt text, and to download the explanation."""
    told = " ".join([f"Copied: “{alt.text}”", *alt.findings, "Check that it says what the picture is for."])
    return (
        '<div class="takes">'
        f"{_draw_copy('Copy', sentence, 'Copied.')}{_draw_copy('Copy as alt text', alt.text, told)}"
        '<button type="button" class="quiet" data-trigger="submit">Download explanation</button>'
        '<span class="told" role="status"></span></div>'
    )


def draw_commands(lines: Mapping[str, str]) -> str:
    """Lines for a shell by what each gives, with a button to copy each."""
    return "".join(
        f'<p class="hint">{escape(gives)}</p><div class="takes"><pre><code>{escape(line)}</code></pre>'
        f'{_draw_copy("Copy", line, "Copied.")}<span class="told" role="status"></span></div>'
        for gives, line in lines.items()
    )


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


def draw_stage(picture: Image.Image, explanation: Explanation | None) -> str:
    """An upright RGB picture, and over it for each word, if any is explained, where the model looked."""
    shown = picture.copy()
    shown.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE))
    heats = _draw_heats(explanation) if explanation else ""
    return (
        f'<div class="stage" style="--ratio: {shown.width / shown.height:.4f}">'
        f'<img alt="The picture" src="{embedded(shown, "JPEG", quality=82)}">{heats}</div>'
    )


def _draw_heats(explanation: Explanation) -> str:
    brightest, first = brightest_attention(explanation.words), first_word(explanation)
    heats = []
    for place, word in enumerate(explanation.words):
        if word.attention is not None:
            overlay = embedded(attention_overlay(word.attention, brightest=brightest), "WEBP", quality=70)
            heats.append(f'<img class="heat{_shown(place, first)}" data-of="{place}" alt="" src="{overlay}">')
    return "".join(heats)


def draw_words(explanation: Explanation) -> str:
    """What is known of each word; empty without words."""
    if not explanation.words:
        return ""
    looks = any(word.attention is not None for word in explanation.words)
    hint = (
        "Point at a word of the sentence, or tap it: the light in the picture lies where the model looked."
        if looks
        else "Point at a word of the sentence, or tap it. This model looks at the picture once, not word by word."
    )
    first = first_word(explanation)
    said = [word.text for word in explanation.words]
    about = "".join(
        f'<div class="about{_shown(place, first)}" id="about-{place}" data-of="{place}">'
        f"{_draw_word(word, said[:place])}</div>"
        for place, word in enumerate(explanation.words)
    )
    return f'{about}<p class="hint">{hint}</p>'


def _draw_word(word: ExplainedWord, before: Sequence[str]) -> str:
    told = f"<b>{escape(word.text)}</b>: probability <b>{_percent(word.probability)}</b>, given the words before it."
    if word.attention is not None:
        told += f" {1 - word.not_looking:.0%} of the attention lay on the picture"
        told += f", {word.not_looking:.0%} on the model's memory." if word.not_looking > 0 else "."
    if word.confidence is not None:
        told += f" It is {_percent(word.confidence)} likely that a person would use it here."
    return f"<p>{told}</p>{_draw_others(word.alternatives, before)}"


def _draw_others(others: Sequence[Alternative], before: Sequence[str]) -> str:
    """The words it could have said instead, each a button to go on from it; empty for none."""
    if not others:
        return ""
    return f'<p class="others">It also considered {" ".join(_draw_other(other, before) for other in others)}</p>'


def _draw_other(other: Alternative, before: Sequence[str]) -> str:
    told = f'{escape(_spelt(other.text))} <span class="ratio">{_percent(other.probability)}</span>'
    shared = f'class="other" style="--share: {other.probability:.3f}"'
    if other.text in SPECIAL_TOKENS:
        return f"<span {shared}>{told}</span>"
    beginning = escape(" ".join([*before, other.text]))
    return f'<button type="button" {shared} data-beginning="{beginning}" title="Go on from here">{told}</button>'


def _draw_copy(label: str, text: str, told: str) -> str:
    return (
        f'<button type="button" class="quiet" data-copy="{escape(text)}" data-told="{escape(told)}">'
        f"{escape(label)}</button>"
    )


def _find(sentence: str, words: Sequence[str]) -> list[tuple[int, int]]:
    """Where in a sentence each of its words begins and ends; empty unless it ends with all of them, in their order."""
    places: list[tuple[int, int]] = []
    spelt, before = sentence.lower(), len(sentence)
    for word in reversed(words):
        begins = spelt.rfind(word, 0, before)
        if begins < 0 or len(spelt) != len(sentence):  # some letters are two as small ones
            return []
        places.append((begins, begins + len(word)))
        before = begins
    return places[::-1]


def _shown(place: int, first: int) -> str:
    return " shown" if place == first else ""


def _spelt(word: str) -> str:
    return "(to end)" if word == END_TEXT else word


def _percent(probability: float) -> str:
    return f"{probability:.0%}" if probability >= 0.005 else "&lt;1%"


def _prose(sentence: str) -> str:
    """A sentence with `code` in it."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(sentence))
