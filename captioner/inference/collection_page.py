"""A prepared collection as one stand-alone HTML page: pictures with their captions, and what the captions are like."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import datasets

from captioner.data.collection import Prepared
from captioner.data.remarks import units_of
from captioner.inference.standalone import inlined, standalone_page
from captioner.text.vocabulary import normalise

SAMPLES = 8
"""Pictures shown of each split."""
COMMONEST = 40
"""Words shown."""
NAMES = 20
"""Names shown of what was left out for one reason."""
THUMBNAIL = 360
"""Longest side of a picture in the page, in pixels."""

_CAPTIONS_SHOWN = 5
_LONGEST = 40


class _Bar(NamedTuple):
    label: str
    number: int
    share: float
    """Of the highest bar, 0 to 1."""


class _Sample(NamedTuple):
    image_id: str
    source: str
    captions: list[str]
    more: int


def render(prepared: Prepared, *, title: str) -> str:
    """The HTML page of a prepared collection; the same collection gives the same page."""
    captions = [of_picture for part in prepared.collection.values() for of_picture in part["captions"][:]]
    units = units_of(captions)
    lengths: Counter[int] = Counter()
    words: Counter[str] = Counter()
    for of_picture in captions:
        for caption in of_picture:
            said = normalise(caption, units)
            lengths[min(len(said), _LONGEST)] += 1
            words.update(said)
    report = prepared.report
    return _PAGE.render(
        title=title,
        report=report,
        pictures=sum(report.pictures.values()),
        captions=sum(report.captions.values()),
        unit={"words": "words", "characters": "letters"}[units],
        lengths=_lengths(lengths),
        words=_bars(sorted(words.items(), key=lambda entry: (-entry[1], entry[0]))[:COMMONEST]),
        different=len(words),
        once=sum(count == 1 for count in words.values()),
        dropped=[(unit, reason, losses) for (unit, reason), losses in report.reasons().items()],
        names=NAMES,
        samples={split: _samples(part) for split, part in prepared.collection.items()},
    )


def _lengths(lengths: Counter[int]) -> list[_Bar]:
    """How many captions have each number of words, from none to the longest; the last bar may stand for more."""
    named = [(str(words) if words < _LONGEST else f"{words}+", lengths[words]) for words in range(1, max(lengths) + 1)]
    return _bars(named)


def _bars(counts: list[tuple[str, int]]) -> list[_Bar]:
    highest = max(count for _, count in counts)
    return [_Bar(label, count, count / highest) for label, count in counts]


def _samples(part: datasets.Dataset) -> list[_Sample]:
    """Pictures at equal distances through a split."""
    undecoded = part.cast_column("image", datasets.Image(decode=False))
    places = sorted({number * len(part) // SAMPLES for number in range(SAMPLES)})
    samples = []
    for row in (undecoded[place] for place in places):
        captions = row["captions"]
        source = inlined(row["image"]["bytes"], longest=THUMBNAIL)
        shown = captions[:_CAPTIONS_SHOWN]
        samples.append(_Sample(row["image_id"], source, shown, len(captions) - len(shown)))
    return samples


_PAGE = standalone_page("""\
{% extends "standalone" %}
{% block style %}
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1rem; }
.card h2 { margin: 0 0 .5rem; }
th { font-weight: 400; color: var(--quiet); text-align: left; }
th, td { border-top: 1px solid var(--line); padding: .4rem .6rem .4rem 0; vertical-align: top; }
tr:first-child > * { border-top: 0; }
th.number, td.number { text-align: right; padding-right: 0; padding-left: .6rem; }
details { font-size: .85rem; color: var(--quiet); overflow-wrap: anywhere; }
details ul { margin: .2rem 0 .4rem; padding-left: 1.1rem; }
svg { display: block; width: 100%; height: auto; }
svg rect { fill: var(--mark); }
svg text { fill: var(--quiet); font: 11px system-ui, sans-serif; text-anchor: middle; }
.words { columns: 12rem; column-gap: 1.5rem; font-size: .9rem; }
.words div { display: flex; justify-content: space-between; gap: 1rem; break-inside: avoid;
  background: linear-gradient(var(--line), var(--line)) left / calc(var(--share) * 100%) 100% no-repeat;
  padding: 0 .4rem; margin-bottom: 2px; border-radius: 3px; }
.words span { color: var(--quiet); font-variant-numeric: tabular-nums; }
.samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 1rem; }
figure { margin: 0; overflow: hidden; padding: 0 !important; }
figure img { display: block; width: 100%; height: 10rem; object-fit: contain; background: var(--line); }
figcaption { padding: .7rem .9rem .9rem; font-size: .85rem; line-height: 1.4; overflow-wrap: anywhere; }
figcaption p { margin: 0 0 .4rem; }
figcaption .quiet { font-size: .78rem; margin: 0; }
{% endblock %}
{% block content %}
<h1>{{ title }}</h1>
<p class="quiet">{{ "{:,}".format(pictures) }} pictures with {{ "{:,}".format(captions) }} captions.
Fingerprint {{ report.fingerprint[:16] }}.</p>
{% if report.remarks %}
<ul>
{% for remark in report.remarks %}
<li>{{ remark }}</li>
{% endfor %}
</ul>
{% endif %}

<div class="columns">
<section class="card">
<h2>Kept</h2>
<table>
<tr><th></th><th class="number">pictures</th><th class="number">captions</th></tr>
{% for split, count in report.pictures.items() %}
<tr><td>{{ split }}</td><td class="number">{{ "{:,}".format(count) }}</td>
<td class="number">{{ "{:,}".format(report.captions[split]) }}</td></tr>
{% endfor %}
</table>
{% if report.mended %}
<h2 style="margin-top: 1.5rem">Mended</h2>
<table>
{% for what, count in report.mended.items() %}
<tr><td>{{ what }} taken out</td><td class="number">{{ "{:,}".format(count) }} captions</td></tr>
{% endfor %}
</table>
{% endif %}
</section>
<section class="card">
<h2>Left out</h2>
{% if dropped %}
<table>
{% for unit, reason, losses in dropped %}
<tr><td>{{ reason }}
<details><summary>which</summary><ul>
{% for loss in losses[:names] %}
<li>{{ loss.name }}{% if loss.detail %}: {{ loss.detail }}{% endif %}</li>
{% endfor %}
{% if losses | length > names %}<li>and {{ losses | length - names }} more, all in report.json</li>{% endif %}
</ul></details></td>
<td class="number">{{ "{:,}".format(losses | length) }} {{ unit }}{{ "s" if losses | length > 1 }}</td></tr>
{% endfor %}
</table>
{% else %}
<p>Nothing.</p>
{% endif %}
</section>
</div>

<h2>{{ unit | capitalize }} in a caption</h2>
<div class="card">
<svg viewBox="0 0 {{ 24 * (lengths | length) }} 130" role="img" aria-label="How many captions have how many {{ unit }}"
     style="max-width: {{ 36 * (lengths | length) }}px">
{% for bar in lengths %}
<g transform="translate({{ 24 * loop.index0 }} 0)"><title>{{ bar.number }} captions of {{ bar.label }}</title>
<rect x="2" y="{{ "%.1f" | format(108 - 104 * bar.share) }}" width="20" height="{{ "%.1f" | format(104 * bar.share) }}"
      rx="2"/><text x="12" y="124">{{ bar.label }}</text></g>
{% endfor %}
</svg>
</div>

<h2>Commonest of {{ "{:,}".format(different) }} different {{ unit }} ({{ "{:,}".format(once) }} occur once)</h2>
<div class="card words">
{% for bar in words %}
<div style="--share: {{ "%.3f" | format(bar.share) }}"><b>{{ bar.label }}</b><span>
{{- "{:,}".format(bar.number) }}</span></div>
{% endfor %}
</div>

{% for split, pictures in samples.items() %}
<h2>Some of {{ split }}</h2>
<div class="samples">
{% for sample in pictures %}
<figure class="card">
<img src="{{ sample.source }}" alt="{{ sample.captions[0] }}">
<figcaption dir="auto">
{% for caption in sample.captions %}
<p dir="auto">{{ caption }}</p>
{% endfor %}
<p class="quiet">{{ sample.image_id }}{% if sample.more %} · {{ sample.more }} more captions{% endif %}</p>
</figcaption>
</figure>
{% endfor %}
</div>
{% endfor %}
{% endblock %}
""")
