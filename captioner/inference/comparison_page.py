"""A comparison of two models as something to read: rows of figures, and one stand-alone HTML page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from captioner.data.images import ImageSource
from captioner.inference.comparison import Compared, Comparison
from captioner.inference.evaluation import BOOTSTRAP, NORMALISATION
from captioner.inference.report import QUALITY
from captioner.inference.standalone import inlined, standalone_page
from captioner.text.bootstrap import Change, Interval

SHOWN = 24
"""Pictures on the page that got better, and as many that got worse."""
THUMBNAIL = 360
"""Longest side of a picture in the page, in pixels."""


class Figure(NamedTuple):
    """One metric of both models, ready to be shown."""

    label: str
    note: str
    old: str
    old_interval: str
    new: str
    new_interval: str
    gain: str
    gain_interval: str
    verdict: str
    """What the interval of the gain says: better, worse, or that it may be chance."""


def figures(comparison: Comparison) -> list[Figure]:
    """Every metric, the most telling first."""
    return [_figure(*QUALITY[name], comparison.changes[name]) for name in QUALITY if name in comparison.changes]


def _figure(label: str, note: str, change: Change) -> Figure:
    return Figure(
        label,
        note,
        f"{change.old:.1f}",
        _told(change.old_interval),
        f"{change.new:.1f}",
        _told(change.new_interval),
        f"{change.gain:+.1f}",
        _told(change.gain_interval, signed=True),
        _verdict(change),
    )


def _told(interval: Interval, *, signed: bool = False) -> str:
    return f"{interval.low:+.1f} to {interval.high:+.1f}" if signed else f"{interval.low:.1f} – {interval.high:.1f}"


def _verdict(change: Change) -> str:
    if change.gain_interval.low > 0:
        return "better"
    if change.gain_interval.high < 0:
        return "worse"
    return "the same" if change.gain_interval == (0, 0) else "may be chance"


def in_a_sentence(comparison: Comparison) -> str:
    """How many captions changed, and how."""
    changed, better, worse = map(len, (comparison.changed, comparison.better, comparison.worse))
    pictures = len(comparison.pictures)
    if not changed:
        return f"Not one of {pictures:,} captions changed."
    same = changed - better - worse
    return (
        f"{changed:,} of {pictures:,} captions changed: {better:,} score higher, {worse:,} lower"
        f"{f', {same:,} the same' if same else ''}."
    )


def refusal(comparison: Comparison, metric: str, *, min_gain: float) -> str:
    """Why a model that is worse is refused."""
    change = comparison.changes[metric]
    chance = " It may be chance: more pictures would tell." if _verdict(change) == "may be chance" else ""
    return (
        f"Refused: {QUALITY[metric][0]} must gain at least {min_gain:g} but went from {change.old:.2f} to "
        f"{change.new:.2f}, by {change.gain:+.2f} (95 % interval {_told(change.gain_interval, signed=True)}).{chance}"
    )


def render(
    comparison: Comparison,
    *,
    title: str,
    settings: Mapping[str, str],
    picture: Callable[[str], ImageSource],
) -> str:
    """The HTML page of a comparison.

    Args:
        comparison: what to show.
        title: what was compared, as the heading of the page.
        settings: what a reader must know to do it again, shown as given.
        picture: the picture of an `image_id`; asked for those shown only.

    Raises:
        ImageError: a picture to be shown cannot be read.
    """
    groups = [("Better", comparison.better), ("Worse", comparison.worse)]
    return _PAGE.render(
        title=title,
        summary=in_a_sentence(comparison),
        figures=figures(comparison),
        gains=_gains(comparison.changes),
        groups=[(name, len(pictures), _examples(pictures[:SHOWN], picture)) for name, pictures in groups if pictures],
        failed=comparison.failed,
        settings=settings,
        remarks=[NORMALISATION, BOOTSTRAP],
    )


class _Example(NamedTuple):
    compared: Compared
    source: str


def _examples(pictures: Sequence[Compared], picture: Callable[[str], ImageSource]) -> list[_Example]:
    return [_Example(compared, inlined(picture(compared.image_id), longest=THUMBNAIL)) for compared in pictures]


class _Gain(NamedTuple):
    """Where one gain and its interval lie, in percent of a line that has 0 in its middle."""

    at: float
    low: float
    high: float


def _gains(changes: Mapping[str, Change]) -> dict[str, _Gain]:
    farthest = max(abs(bound) for change in changes.values() for bound in (*change.gain_interval, change.gain))
    scale = 48 / farthest if farthest else 0.0
    return {
        QUALITY[name][0]: _Gain(*(50 + scale * value for value in (change.gain, *change.gain_interval)))
        for name, change in changes.items()
    }


_PAGE = standalone_page("""\
{% extends "standalone" %}
{% macro side(pieces, own) %}
{% for piece in pieces if piece.fate in ("kept", own) %}
{% if piece.fate == "kept" %}{{ piece.words | join(" ") }}
{% elif own == "added" %}<ins>{{ piece.words | join(" ") }}</ins>
{% else %}<del>{{ piece.words | join(" ") }}</del>
{% endif %}
{% endfor %}
{% endmacro %}
{% block style %}
:root { --better: #2f6f5e; --worse: #a63d2f; --worse-wash: #f3d9d3; }
@media (prefers-color-scheme: dark) { :root { --better: #6fc2a8; --worse: #e58a78; --worse-wash: #55302a; } }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1rem; }
.scroll { overflow-x: auto; }
th { font-weight: 400; color: var(--quiet); }
th, td { border-top: 1px solid var(--line); padding: .45rem 0 .45rem 1.2rem; vertical-align: top; text-align: right;
  white-space: nowrap; }
th { border-top: 0; }
th:first-child, td:first-child { text-align: left; padding-left: 0; white-space: normal; }
td small { display: block; color: var(--quiet); line-height: 1.35; }
.line { width: 12rem; }
.line svg { display: block; width: 12rem; height: 2.4rem; }
.line line { stroke: var(--quiet); stroke-width: 2; vector-effect: non-scaling-stroke; }
.line .zero { stroke: var(--line); }
.line circle { fill: var(--ink); }
.line.better line:not(.zero) { stroke: var(--better); } .line.better circle { fill: var(--better); }
.line.worse line:not(.zero) { stroke: var(--worse); } .line.worse circle { fill: var(--worse); }
figure.card { display: grid; grid-template-columns: 10rem 1fr; padding: 0; margin: 0 0 1rem; overflow: hidden; }
figure img { width: 100%; height: auto; }
figcaption { padding: .8rem 1rem .9rem; font-size: .9rem; line-height: 1.45; min-width: 0; overflow-wrap: anywhere; }
figcaption p { margin: 0 0 .3rem; display: grid; grid-template-columns: 2.6rem 1fr 2.2rem; gap: .4rem; }
figcaption p > :first-child, figcaption p > :last-child { color: var(--quiet); font-size: .8rem; }
figcaption p > :last-child { text-align: right; font-variant-numeric: tabular-nums; }
ins { background: var(--wash); text-decoration: none; border-radius: 3px; padding: 0 .15em; }
del { background: var(--worse-wash); border-radius: 3px; padding: 0 .15em; }
details { font-size: .8rem; color: var(--quiet); margin-top: .4rem; }
details ul { margin: .3rem 0 0; padding-left: 1rem; }
@media (max-width: 34rem) {
  main { padding: 2rem 1rem; }
  td:first-child small, .line { display: none; }
  th, td { padding-left: .5rem; }
  figure.card { grid-template-columns: 1fr; }
}
{% endblock %}
{% block content %}
<h1>{{ title }}</h1>
<p class="quiet">{{ summary }}</p>

<section class="card scroll">
<table>
<tr><th></th><th>old</th><th>new</th><th>gain</th><th class="line">95 % interval of the gain</th></tr>
{% for figure in figures %}
{% set gain = gains[figure.label] %}
<tr><td>{{ figure.label }}<small>{{ figure.note }}</small></td>
<td>{{ figure.old }}<small>{{ figure.old_interval }}</small></td>
<td>{{ figure.new }}<small>{{ figure.new_interval }}</small></td>
<td><b>{{ figure.gain }}</b><small>{{ figure.gain_interval }}</small></td>
<td class="line {{ figure.verdict }}"><svg viewBox="0 0 100 20" role="img" aria-label="{{ figure.verdict }}">
<title>{{ figure.verdict }}</title><line class="zero" x1="50" x2="50" y1="0" y2="20"/>
<line x1="{{ "%.1f" | format(gain.low) }}" x2="{{ "%.1f" | format(gain.high) }}" y1="10" y2="10"/>
<circle cx="{{ "%.1f" | format(gain.at) }}" cy="10" r="2.6"/></svg></td></tr>
{% endfor %}
</table>
</section>

<div class="columns">
{% for name, count, examples in groups %}
<section>
<h2>{{ name }}: {{ "{:,}".format(count) }}{% if count > examples | length %}, the
{{ examples | length }} of greatest change{% endif %}</h2>
{% for example in examples %}
{% set compared = example.compared %}
<figure class="card">
<img src="{{ example.source }}" alt="{{ compared.new }}">
<figcaption>
<p><span>old</span><span dir="auto">{{ side(compared.difference, "removed") }}</span>
<span>{{ "%.0f" | format(compared.old_cider_d) }}</span></p>
<p><span>new</span><span dir="auto">{{ side(compared.difference, "added") }}</span>
<span>{{ "%.0f" | format(compared.new_cider_d) }}</span></p>
<details><summary>{{ "%+.0f" | format(compared.gain) }} CIDEr-D · {{ compared.image_id }}</summary>
<ul>
{% for reference in compared.references %}
<li dir="auto">{{ reference }}</li>
{% endfor %}
</ul></details>
</figcaption>
</figure>
{% endfor %}
</section>
{% endfor %}
</div>

{% if failed %}
<h2>Not captioned</h2>
<ul>
{% for picture in failed[:20] %}
<li>{{ picture.image_id }}: {{ picture.error }}</li>
{% endfor %}
</ul>
{% if failed | length > 20 %}<p>And {{ failed | length - 20 }} more.</p>{% endif %}
{% endif %}

<h2>How this was measured</h2>
{% for remark in remarks %}
<p>{{ remark }}</p>
{% endfor %}
<p>The interval of a gain comes from the same draws for both models, so a gain can be sure where the intervals of
the two overlap. The number beside a caption is its own CIDEr-D; “better” and “worse” go by it, and one
caption's CIDEr-D says little. All scores are on the scale of papers.</p>
{% include "settings" %}
{% endblock %}
""")
