"""A model as HTML: what it is, how good and how sure it is, its words, and its card.

Every text is escaped and no picture is fetched, since a card and a vocabulary may come from a stranger.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from captioner.inference.captioner import Captioner

MOST_WORDS: Final = 200
"""Of a vocabulary at once; a search finds the others."""

_CELLS = {"rnn": "recurrent network", "gru": "GRU", "lstm": "LSTM"}
_READING = {
    "show_and_tell": "that is shown the picture once",
    "attend": "that looks anew at each word",
    "top_down": "in two layers: one looks anew at each word, one speaks",
}
_RELIABILITY = [
    ("Judged", "cases", "{:,}"),
    ("Right", "right", "{:.1%}"),
    ("Calibration error", "calibration_error", "{:.3f}"),
    ("The same by chance, were every probability true", "calibration_error_by_chance", "{:.3f}"),
    ("A right one is surer than a wrong one (AUROC)", "auroc", "{:.3f}"),
    ("The same by log-probability alone", "raw_auroc", "{:.3f}"),
]

# None are stored with a model, so they stand nowhere but in its card.
_ATTENTION_FIGURES = (
    '<p class="hint">How far its attention is to be trusted is not stored with a model: where it was measured, its '
    "card tells the figures. <code>captioner explain --faithfulness</code> measures them.</p>"
)


def draw_identity(name: str, captioner: Captioner) -> str:
    """What it is called, and what it is made of."""
    encoder, decoder = captioner.model.config.encoder, captioner.model.config.decoder
    learnt = sum(parameter.numel() for parameter in captioner.model.decoder.parameters())
    search = captioner.search
    choosing = f"beam of {search.beam_width}" if search.method == "beam" else "drawn at random"
    weights = f"{learnt / 1e6:.1f} million weights, " if learnt else ""  # an exported one shows none
    facts = {
        "Looks": f"{encoder.name}, pictures of {encoder.size} pixels a side",
        "Speaks": f"{_CELLS[decoder.cell]} of {decoder.hidden_size} units, {weights}{_READING[decoder.kind]}",
        "Knows": f"{len(captioner.model.vocabulary.counts):,} words",
        "Chooses": f"{choosing}, {search.min_length} to {search.max_length} words",
    }
    rows = "".join(f"<dt>{label}</dt><dd>{escape(told)}</dd>" for label, told in facts.items())
    mark = escape(captioner.name.rpartition("@")[2])
    return f'<h2>{escape(name)} <small title="The beginning of its fingerprint">{mark}</small></h2><dl>{rows}</dl>'


def draw_confidence_figures(measured: Mapping[str, Any] | None) -> str:
    """How far its confidence is to be trusted: the figures stored with the model, or that there are none."""
    if measured is None:
        return (
            '<p class="hint">This model has no calibration, so its captions tell no confidence. '
            f"<code>captioner calibrate</code> measures one on captioned pictures.</p>{_ATTENTION_FIGURES}"
        )
    try:
        drawn = _draw_levels(measured["levels"]) + _draw_reliability(measured["words"], measured["captions"])
        about = f"Measured on {measured['pictures']:,} pictures that the fit had not seen."
    except (KeyError, TypeError, ValueError, AttributeError):
        return f'<p class="hint">No figures are stored with its calibration.</p>{_ATTENTION_FIGURES}'
    return (
        f'<p class="hint">{about}</p>{drawn}<p class="hint">The curves behind these figures are drawn by '
        f"<code>captioner calibrate</code>.</p>{_ATTENTION_FIGURES}"
    )


def draw_words(counts: Mapping[str, int], searched: str) -> str:
    """The words that hold a text, commonest first, each with how often it occurred in training."""
    searched = searched.strip().lower()
    found = [(word, count) for word, count in counts.items() if searched in word]
    if not found:
        return f'<p role="status">No word that it can say holds “{escape(searched[:50])}”.</p>'
    shown = "".join(f"<li>{escape(word)} <span>{count:,}</span></li>" for word, count in found[:MOST_WORDS])
    more = len(found) - MOST_WORDS
    told = f"{len(found):,} words" if len(found) != 1 else "1 word"
    rest = f'<p class="hint">and {more:,} more, which are rarer</p>' if more > 0 else ""
    return f'<p class="hint" role="status">{told}</p><ul>{shown}</ul>{rest}'


def draw_card(card: str | None) -> str:
    """A card's Markdown: pictures left out, HTML shown as text, headings below the page's own."""
    if card is None:
        return '<p class="hint">This model came without a card.</p>'
    text = card.partition("\n---")[2].partition("\n")[2] if card.startswith("---") else card
    tokens = _MARKDOWN.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
    drawn: str = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
    return drawn


def _link_elsewhere(self: Any, tokens: list[Token], place: int, options: Any, env: Any) -> str:
    tokens[place].attrs |= {"rel": "noopener noreferrer nofollow", "target": "_blank"}
    drawn: str = self.renderToken(tokens, place, options, env)
    return drawn


_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
_MARKDOWN.add_render_rule("link_open", _link_elsewhere)


def _draw_levels(levels: Mapping[str, Mapping[str, float]]) -> str:
    rows = "".join(
        f'<tr style="--share: {float(told["good"]):.4f}"><th scope="row">{escape(level)}</th>'
        f"<td>{told['share']:.0%}</td><td>{told['good']:.0%}</td></tr>"
        for level, told in levels.items()
    )
    return (
        '<table class="levels"><thead><tr><th scope="col">Confidence</th><th scope="col">of captions</th>'
        f'<th scope="col">as good as a person’s</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def _draw_reliability(words: Mapping[str, float], captions: Mapping[str, float]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{label}</th><td>{form.format(words[key])}</td><td>{form.format(captions[key])}</td></tr>'
        for label, key, form in _RELIABILITY
    )
    return (
        '<table><thead><tr><td></td><th scope="col">Words</th><th scope="col">Captions</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )
