"""A model as HTML: what it is, how good and how sure it is, its words, and its card.

Every text is escaped and no picture is fetched, since a card and a vocabulary may come from a stranger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from captioner.inference.captioner import Captioner
from captioner.inference.reliability import Bin
from captioner.inference.reliability_diagram import draw_reliability_diagram

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


def draw_identity(name: str, captioner: Captioner) -> str:
    """What it is called, and what it is made of."""
    encoder, decoder = captioner.model.config.encoder, captioner.model.config.decoder
    learnt = sum(parameter.numel() for parameter in captioner.model.decoder.parameters())
    search = captioner.search
    choosing = f"beam of {search.beam_width}" if search.method == "beam" else "drawn at random"
    weights = f"{learnt / 1e6:.1f} million weights, " if learnt else ""  # an exported one shows none
    facts = {
        "Looks": f"{encoder.name}, pictures of {encoder.size} pixels a side{', and mirrored' if search.mirror else ''}",
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
            "<code>captioner calibrate</code> measures one on captioned pictures.</p>"
        )
    try:
        words, captions = measured["words"], measured["captions"]
        drawn = _draw_levels(measured["levels"]) + _draw_reliability(words, captions)
        about = f"Measured on {measured['pictures']:,} pictures that the fit had not seen."
        return f'<p class="hint">{about}</p>{drawn}{_draw_diagrams({"Words": words, "Captions": captions})}'
    except (KeyError, TypeError, ValueError, AttributeError):
        return '<p class="hint">No figures are stored with its calibration.</p>'


def draw_attention_figures(measured: Mapping[str, Any] | None) -> str:
    """How far its attention is to be trusted: the figures stored with the model, or how to measure them."""
    unknown = (
        '<p class="hint">No figures of its attention are stored with this model. '
        "<code>captioner explain --faithfulness DATA --store</code> measures them.</p>"
    )
    if measured is None:
        return unknown
    try:
        return _draw_deletions(measured)
    except (KeyError, TypeError, ValueError, AttributeError):
        return unknown


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
    return f'<p class="hint" role="status">{told}</p><ul tabindex="0" aria-label="Words">{shown}</ul>{rest}'


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


def _draw_diagrams(measured: Mapping[str, Mapping[str, Any]]) -> str:
    """A reliability diagram for each kind, and its bins as a table; a sentence where none are stored."""
    bins = {kind: _bins(of.get("bins")) for kind, of in measured.items()}
    if not all(bins.values()):
        return (
            '<p class="hint">No diagram: the bins are not stored with its calibration. '
            "<code>captioner calibrate</code> stores them.</p>"
        )
    drawn = "".join(
        f"<figure><figcaption>{kind}</figcaption>"
        f"{draw_reliability_diagram(bins[kind], of=kind, error=of['calibration_error'])}</figure>"
        for kind, of in measured.items()
    )
    sizes = " or ".join(f"{max(each.cases for each in of):,} {kind.lower()}" for kind, of in bins.items())
    tables = "".join(_draw_bins(kind, of) for kind, of in bins.items())
    return (
        f'<div class="diagrams">{drawn}</div><p class="hint">Each dot is up to {sizes} of about the same confidence: '
        "what was said of them across, the share that came out right upwards. On the dashed line, of those told 30 % "
        f"three in ten are right.</p><details><summary>The dots as numbers</summary>{tables}</details>"
    )


def _bins(stored: Sequence[Mapping[str, Any]] | None) -> list[Bin]:
    """Raises ValueError and its like where they are no bins."""
    bins = [Bin(int(each["cases"]), float(each["said"]), float(each["came"])) for each in stored or ()]
    if not all(each.cases > 0 and 0 <= each.said <= 1 and 0 <= each.came <= 1 for each in bins):
        raise ValueError(bins)
    return bins


def _draw_bins(kind: str, bins: Sequence[Bin]) -> str:
    rows = "".join(f"<tr><td>{each.said:.0%}</td><td>{each.came:.0%}</td><td>{each.cases:,}</td></tr>" for each in bins)
    return (
        f'<table><thead><tr><th scope="col">{kind}: said</th><th scope="col">came</th>'
        f'<th scope="col">how many</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def _draw_deletions(measured: Mapping[str, Any]) -> str:
    deleted, regions = int(measured["regions_deleted"]), int(measured["regions"])
    falls = {
        f"the {deleted} of {regions} it looked at most": measured["attended_fall"],
        f"{deleted} drawn at random": measured["random_fall"],
    }
    widest = max(1e-6, *(float(fall["high"]) for fall in falls.values()))
    rows = "".join(
        f'<tr style="--share: {max(0.0, float(fall["mean"])) / widest:.4f}"><th scope="row">{label}</th>'
        f"<td>{fall['mean']:.2f} <small>({fall['low']:.2f} – {fall['high']:.2f})</small></td></tr>"
        for label, fall in falls.items()
    )
    share = float(measured["attended_hurts_more"]["mean"])
    return (
        '<table class="levels"><thead><tr><th scope="col">Without these parts of the picture</th>'
        f'<th scope="col">a word loses, in nats</th></tr></thead><tbody>{rows}</tbody></table>'
        f'<p class="hint">{measured["content_words"]:,} content words on {measured["pictures"]:,} pictures, with 95 % '
        f"intervals. {share:.1%} of the words lose more without what they looked at than without random parts; the "
        "others do not depend on where it looked.</p>"
    )
