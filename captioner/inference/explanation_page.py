"""An explanation as one HTML file to read: it needs nothing but itself, and runs no script.

Its style and pictures are inside, it names no other host, and its Content-Security-Policy forbids it to fetch
anything. Choosing a word is a group of radio buttons. Every text in it is escaped, since words come from a model
file and names from a stranger's disk.
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import replace
from typing import Any, NamedTuple

from markupsafe import Markup
from PIL import Image

from captioner.inference.beam_tree import BeamTree, Branch
from captioner.inference.caption import Caption
from captioner.inference.diagram import BAR, ROW, Band, gate_band, lattice, ledger_parts, ledger_ribbons
from captioner.inference.drawing import attention_overlay, brightest_attention
from captioner.inference.explanation import END_TEXT, ExplainedWord, Explanation
from captioner.inference.explanation_template import INSIDE, INSIDE_STYLE, PAGE
from captioner.inference.ledger import NO_LEDGER
from captioner.inference.standalone import standalone_page
from captioner.search.fate import Fate
from captioner.text.function_words import FUNCTION_WORDS

PICTURE_SIDE = 900
"""Longest side of the picture in the page, in pixels."""

_GATES = {
    "forget": ("Keep", "the forget gate: how much of the old memory stays; 1 keeps all", 0.0),
    "input": ("Let in", "the input gate: how much of what is new comes in", 0.0),
    "candidate": ("What is new", "the candidate: the new content itself, from −1 to 1", -1.0),
    "output": ("Show", "the output gate: how much of the memory is used for the next word", 0.0),
}

_PAGE = standalone_page(PAGE, **{"inside.html": INSIDE, "inside.css": INSIDE_STYLE})
_FRAGMENT = _PAGE.environment.from_string(
    '<style>.inside { {% include "inside.css" %} }</style><div class="inside">{% include "inside.html" %}</div>'
)


class _Word(NamedTuple):
    """A word as the page shows it; percentages as text."""

    text: str
    ends: bool
    share: float
    percent: str
    others: list[_Other]
    overlay: str
    on_picture: str
    on_memory: str
    confidence: str | None
    gates: list[Band | None]


class _Other(NamedTuple):
    text: str
    percent: str
    share: float
    likelier: bool


class _Candidate(NamedTuple):
    text: str
    ratio: str
    """How probable it is beside the sentence chosen."""


class _Twig(NamedTuple):
    """A branch of the search as the page shows it, with all that goes on from it."""

    branch: Branch
    text: str
    chosen: bool
    kept: list[_Twig]
    dropped: list[_Twig]


def render_explanation(explanation: Explanation, picture: Image.Image, *, name: str, model: str) -> str:
    """The page.

    Args:
        explanation: what to show.
        picture: what was captioned, upright RGB.
        name: what to call the picture.
        model: which model captioned it.
    """
    shown = picture.copy()
    shown.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    brightest = brightest_attention(explanation.said)
    return _PAGE.render(
        title=explanation.caption.hedged or "",
        name=name,
        model=model,
        picture=embedded(shown, "JPEG", quality=84),
        ratio=shown.width / shown.height,
        first=first_word(explanation),
        remembers=any(word.not_looking > 0 for word in explanation.words),
        sentence_probability=_odds(explanation.log_probability),
        confidence=_told(explanation.caption.confidence),
        also_found=_also_found(explanation.caption),
        how_to_go_on=Markup("give its words as <code>captioner explain --beginning</code>"),
        goes_on=False,
        **_inside(explanation, [_word(word, brightest) for word in explanation.said]),
    )


def render_inside(explanation: Explanation) -> str:
    """The memory, the gates and the search of that page, as a piece of HTML for a page of others.

    It brings its looks with it, which touch nothing else there, but for the colours: that page says what
    --card, --ink, --quiet, --line, --mark and --wash are. It also listens: what stands for a branch of the search has
    the branch's words in its attribute `data-beginning`, and a click on it asks to go on from there.
    """
    words = [_word(replace(word, attention=None), brightest=1.0) for word in explanation.said]
    return _FRAGMENT.render(
        how_to_go_on="choose its word above or its ↪ here", goes_on=True, **_inside(explanation, words)
    )


def _inside(explanation: Explanation, words: list[_Word]) -> dict[str, Any]:
    ledger, tree = explanation.ledger, explanation.tree
    parts = ledger_parts(ledger) if ledger else []
    return {
        "explanation": explanation,
        "words": words,
        "looks": any(word.attention is not None for word in explanation.words),
        "gates": [(label, told) for gate, (label, told, _) in _GATES.items() if words and _has_gate(explanation, gate)],
        "ledger": ledger,
        "no_ledger": NO_LEDGER,
        "parts": parts,
        "ribbons": ledger_ribbons(parts),
        "row": ROW,
        "bar": BAR,
        "tree": tree and lattice(tree),
        "twig": tree and _twig(tree, tree.branches[0], tree.chosen),
    }


def _word(word: ExplainedWord, brightest: float) -> _Word:
    overlay = ""
    if word.attention is not None:
        overlay = embedded(attention_overlay(word.attention, brightest=brightest), "WEBP", quality=70)
    others = [
        _Other(_spelt(other.text), _percent(other.probability), other.probability, other.probability > word.probability)
        for other in word.alternatives
    ]
    gates = word.gates
    bands = [] if gates is None else [(getattr(gates, name), lowest) for name, (_, _, lowest) in _GATES.items()]
    return _Word(
        text=_spelt(word.text),
        ends=word.text == END_TEXT,
        share=word.probability,
        percent=_percent(word.probability),
        others=others,
        overlay=overlay,
        on_picture=_percent(1 - word.not_looking),
        on_memory=_percent(word.not_looking),
        confidence=_told(word.confidence),
        gates=[gate_band(gate, lowest=lowest) for gate, lowest in bands if gate is not None],
    )


def _also_found(caption: Caption) -> list[_Candidate]:
    found = []
    for other in caption.candidates[1:]:
        ratio = math.exp(other.log_probability - caption.candidates[0].log_probability)
        told = "under 0.01" if ratio < 0.005 else f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"
        found.append(_Candidate(other.text, told))
    return found


def _has_gate(explanation: Explanation, gate: str) -> bool:
    gates = explanation.said[0].gates
    return gates is not None and getattr(gates, gate) is not None


def first_word(explanation: Explanation) -> int:
    """The place of the word to show first: the content word that looked hardest at one spot."""
    focus = [
        0.0 if word.attention is None or word.text in FUNCTION_WORDS else float(word.attention.max())
        for word in explanation.words
    ]
    return focus.index(max(focus)) if focus else 0


def _twig(tree: BeamTree, branch: Branch, chosen: frozenset[int]) -> _Twig:
    going_on = [_twig(tree, child, chosen) for child in tree.children(branch.number)]
    kept = [twig for twig in going_on if twig.kept or twig.dropped or twig.chosen or twig.branch.fate is Fate.KEPT]
    dropped = [twig for twig in going_on if twig not in kept]
    return _Twig(branch, _spelt(branch.text), branch.number in chosen, kept, dropped)


def _spelt(word: str) -> str:
    return "(end)" if word == END_TEXT else word


def _percent(share: float) -> str:
    """Such as `42 %`, and near the ends of the scale `0.3 %`, `99.6 %` or `under 0.1 %`."""
    if 0 < share < 0.001:
        return "under 0.1\N{NARROW NO-BREAK SPACE}%"
    digits = 1 if 0 < share < 0.0995 or 0.99 < share < 0.9995 else 0
    return f"{100 * share:.{digits}f}\N{NARROW NO-BREAK SPACE}%"


def _told(confidence: float | None) -> str | None:
    return None if confidence is None else _percent(confidence)


def _odds(log_probability: float) -> str:
    """Such as `12 %` or `1 in 3,400`, to two digits."""
    if log_probability > math.log(0.01):
        return _percent(math.exp(log_probability))
    ratio = float(f"{math.exp(min(-log_probability, 100)):.2g}")
    return f"1 in {ratio:,.0f}"


def embedded(picture: Image.Image, kind: str, *, quality: int) -> str:
    """A picture as an address that holds it, for the `src` of an `img`."""
    file = io.BytesIO()
    picture.save(file, kind, quality=quality)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
