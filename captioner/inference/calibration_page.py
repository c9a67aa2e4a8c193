"""A calibration as one stand-alone HTML page: reliability diagrams, risk-coverage curves, kinds of drawing.

It needs nothing but itself, as the page of an evaluation (`captioner.inference.report`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from captioner.inference.calibration import FOLDS, Measured
from captioner.inference.caption import HIGH, LOW
from captioner.inference.photographs import FALSE_ALARMS
from captioner.inference.reliability import BINS, Floats, Reliability
from captioner.inference.reliability_diagram import SIDE, TICKS, draw_reliability_diagram
from captioner.inference.standalone import standalone_page

_CURVE_POINTS = 100


class Row(NamedTuple):
    """One figure of words and of captions."""

    label: str
    note: str
    words: str
    captions: str


def figures(measured: Measured) -> list[Row]:
    """What was measured of words and captions, side by side."""
    columns = zip(_LABELS, _values(measured.words), _values(measured.captions), strict=True)
    return [Row(label, note, words, captions) for (label, note), words, captions in columns]


_LABELS = [
    ("Judged", ""),
    ("Right", "share of all of them"),
    ("Calibration error", f"mean of |said − came|, {BINS} bins of equally many"),
    ("The same by chance", "were every probability true"),
    ("AUROC", "chance that a right one is surer than a wrong one"),
    ("AUROC of log-probability", "what there was before"),
    ("Area under risk-coverage", "mean share wrong among the surest; less is better"),
    ("That of log-probability", "what there was before"),
    ("Gain", "95 % interval, drawing pictures"),
    ("Best possible area", "of one who knows the outcome"),
]


def _values(of: Reliability) -> list[str]:
    return [
        f"{of.cases:,}",
        f"{of.right:.1%}",
        f"{of.calibration_error:.3f}",
        f"{of.calibration_error_by_chance:.3f}",
        f"{of.auroc:.3f}",
        f"{of.raw_auroc:.3f}",
        f"{of.risk_area:.3f}",
        f"{of.raw_risk_area:.3f}",
        f"{of.gain.low:+.3f} to {of.gain.high:+.3f}",
        f"{of.best_risk_area:.3f}",
    ]


def render(measured: Measured, *, title: str, settings: Mapping[str, str]) -> str:
    """The HTML page; `settings` are what a reader must know to do it again, shown as given."""
    return _PAGE.render(
        title=title,
        measured=measured,
        rows=figures(measured),
        diagrams=[("Words", measured.words), ("Captions", measured.captions)],
        diagram=draw_reliability_diagram,
        curve=_curve,
        side=SIDE,
        ticks=TICKS,
        low=LOW,
        high=HIGH,
        folds=FOLDS,
        allowed=FALSE_ALARMS,
        settings=settings,
    )


def _curve(risks: Floats) -> str:
    """The points of an SVG polyline: coverage to the right, risk upwards."""
    places: Sequence[int] = sorted({round(len(risks) * step / _CURVE_POINTS) for step in range(1, _CURVE_POINTS + 1)})
    points = [(place / len(risks), risks[place - 1]) for place in places if place]
    return " ".join(f"{SIDE * across:.1f},{SIDE * (1 - risk):.1f}" for across, risk in points)


_PAGE = standalone_page("""\
{% extends "standalone" %}
{% block style %}
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1rem;
  align-items: start; }
.card h2 { margin: 0 0 .5rem; }
th, td { border-top: 1px solid var(--line); padding: .45rem 0; vertical-align: top; text-align: right; }
th { border-top: 0; font-weight: 600; }
th:first-child, td:first-child { text-align: left; padding-right: .6rem; }
td small { display: block; color: var(--quiet); line-height: 1.35; }
svg { width: 100%; max-width: 24rem; height: auto; display: block; overflow: visible; margin: 0 auto; }
svg text { fill: var(--quiet); font-size: 12px; }
.frame { fill: none; stroke: var(--line); }
.even { stroke: var(--quiet); stroke-dasharray: 4 4; }
.dot { fill: var(--mark); fill-opacity: .85; }
.curve { fill: none; stroke: var(--mark); stroke-width: 2.5; }
.before { fill: none; stroke: var(--quiet); stroke-width: 1.5; stroke-dasharray: 2 3; }
{% endblock %}
{% block content %}
<h1>{{ title }}</h1>
<p class="quiet">How far its confidence is to be trusted, measured on {{ "{:,}".format(measured.pictures) }} pictures,
each judged by what was fitted on others.</p>

<section class="card">
<h2>Figures</h2>
<table>
<tr><th></th><th>Words</th><th>Captions</th></tr>
{% for row in rows %}
<tr><td>{{ row.label }}<small>{{ row.note }}</small></td><td>{{ row.words }}</td><td>{{ row.captions }}</td></tr>
{% endfor %}
</table>
</section>

<h2>What was said, and what came</h2>
<p>Each dot is a fifteenth of the cases. On the dashed line, of those told “30 %” three in ten are right.</p>
<div class="columns">
{% for name, of in diagrams %}
<section class="card">
<h2>{{ name }}</h2>
{{ diagram(of.bins, of=name, error=of.calibration_error) | safe }}
</section>
{% endfor %}
</div>

<h2>If only the surest are kept</h2>
<p>To the right more and more cases are kept, the surest first; upwards the share of them that is wrong. The solid
line is the confidence, the dotted one the log-probability alone.</p>
<div class="columns">
{% for name, of in diagrams %}
<section class="card">
<h2>{{ name }}</h2>
<svg viewBox="-40 -10 {{ side + 60 }} {{ side + 50 }}" role="img"
     aria-label="Risk-coverage curve: area {{ "%.3f" | format(of.risk_area) }}">
<rect class="frame" width="{{ side }}" height="{{ side }}"/>
<polyline class="before" points="{{ curve(of.risks[1]) }}"/>
<polyline class="curve" points="{{ curve(of.risks[0]) }}"/>
{% for tick in ticks %}
<text x="{{ side * tick }}" y="{{ side + 18 }}" text-anchor="middle">{{ tick }}</text>
<text x="-8" y="{{ side * (1 - tick) + 4 }}" text-anchor="end">{{ tick }}</text>
{% endfor %}
<text x="{{ side / 2 }}" y="{{ side + 36 }}" text-anchor="middle">share kept</text>
<text x="8" y="16">share wrong</text>
</svg>
</section>
{% endfor %}
</div>

<div class="columns" style="margin-top: 3rem">
<section class="card">
<h2>Low, medium, high</h2>
<table>
<tr><th>Confidence</th><th>Captions</th><th>As good as a person's</th></tr>
{% for name, told in measured.levels.items() %}
<tr><td>{{ name }}<small>{{ {"low": "below %.0f %%" % (100 * low), "medium": "between",
"high": "from %.0f %% on" % (100 * high)}[name] }}</small></td>
<td>{{ "%.1f %%" | format(100 * told.share) }}</td><td>{{ "%.1f %%" | format(100 * told.good) }}</td></tr>
{% endfor %}
</table>
</section>
<section class="card">
<h2>What is no photograph</h2>
<table>
<tr><th>Never seen in the fit</th><th>AUROC</th><th>Called uncertain</th></tr>
{% for kind, told in measured.photographs.kinds.items() %}
<tr><td>{{ kind }}</td><td>{{ "%.4f" | format(told.auroc) }}</td>
<td>{{ "%.1f %%" | format(100 * told.uncertain) }}</td></tr>
{% endfor %}
<tr><td><b>photographs</b><small>mean AUROC, and false alarms</small></td>
<td>{{ "%.4f" | format(measured.photographs.auroc) }}</td>
<td>{{ "%.1f %%" | format(100 * measured.photographs.false_alarms) }}</td></tr>
</table>
</section>
</div>

<h2>How this was measured</h2>
<p>A word is right when its stem stands in one of the picture's references; function words claim nothing and are
left out. A caption is as good as a person's when its CIDEr-D reaches {{ "%.1f" | format(measured.human_bar) }}, the
median of all human captions, each scored against the others of its picture; the caption is scored against the same
sets of references, each leaving one out. That is likeness to what people wrote, which is not the same as truth.</p>
<p>All figures are out of fold: the pictures were dealt into {{ folds }} folds, and those of each judged by what was
fitted on the others. Of the drawings, each kind was judged by a fit that had never seen it. At most
{{ "%.0f %%" | format(100 * allowed) }} of the photographs may be called uncertain. The drawings are our own, so
real pages and charts may be harder.</p>
{% include "settings" %}
{% endblock %}
""")
