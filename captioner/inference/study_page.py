"""A study of recurrent cells as one stand-alone HTML page: its table, its curves, and how to read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any, NamedTuple

from captioner.inference.cell_study import CELLS, FLOWS, KINDS, Copied, Row, Trained, findings, rows
from captioner.inference.curve import HEIGHT, WIDTH, Curves, Point, curves
from captioner.inference.standalone import standalone_page


def render(trained: Sequence[Trained], copied: Sequence[Copied], *, chance: float, settings: dict[str, Any]) -> str:
    """The HTML page of a study, or of the part of it that is done.

    `chance` is the accuracy of guessing in the copy task, `settings` are shown as given.
    """
    table = rows(trained)
    return _PAGE.render(
        title="RNN, GRU and LSTM compared",
        table=table,
        seeds=max((len(row.runs) for row in table), default=0),
        findings=findings(table, copied, chance=chance),
        plots=_plots(table, copied),
        cells=CELLS,
        width=WIDTH,
        height=HEIGHT,
        settings=settings,
        chance=chance,
    )


class _Line(NamedTuple):
    """One line of a plot: the mean of the seeds, and a band from the lowest to the highest."""

    label: str
    cell: str
    kind: str
    mean: list[Point]
    band: list[Point]


class _Plot(NamedTuple):
    name: str
    across: str
    """What its axis to the right counts."""
    up: str
    lines: list[_Line]
    frame: Curves[tuple[str, str, str]]


def _plots(table: Sequence[Row], copied: Sequence[Copied]) -> list[_Plot]:
    plots = []
    if table:
        losses = {(row.kind, row.cell): [_settled(run.losses) for run in row.runs] for row in table}
        plots.append(_plot("Loss after the first fifth of the steps", losses, across="steps", up="nats a word"))
    for name, flow in FLOWS.items():
        flows = {(row.kind, row.cell): [_numbered(flow(run)) for run in row.runs] for row in table}
        if any(points for several in flows.values() for points in several):
            told = "gradient at the first word, next word’s = 1"
            plots.append(_plot(name, flows, across="words later", up=told, logarithmic=True))
    copies = {("", cell): [_copies(copied, cell, seed) for seed in _seeds(copied, cell)] for cell in CELLS}
    if copies := {key: several for key, several in copies.items() if several}:
        plots.append(_plot("Copy task", copies, across="distractors in the gap", up="percent right"))
    return plots


def _settled(losses: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
    """A loss without its steep beginning, beside which all that follows would look the same."""
    return losses[len(losses) // 5 :]


def _numbered(flow: Sequence[float]) -> list[tuple[float, float]]:
    """A flow as points; a gradient that has vanished altogether has no place on a logarithmic axis."""
    return [(later, share) for later, share in enumerate(flow, start=1) if share > 0]


def _seeds(copied: Sequence[Copied], cell: str) -> list[int]:
    return sorted({copy.seed for copy in copied if copy.cell == cell})


def _copies(copied: Sequence[Copied], cell: str, seed: int) -> list[tuple[float, float]]:
    return sorted((copy.gap, 100 * copy.accuracy) for copy in copied if (copy.cell, copy.seed) == (cell, seed))


def _plot(
    name: str,
    measured: Mapping[tuple[str, str], Sequence[Sequence[tuple[float, float]]]],
    *,
    across: str,
    up: str,
    logarithmic: bool = False,
) -> _Plot:
    """A plot of what was `measured` by kind and cell: the points of every seed."""
    points: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for (kind, cell), seeds in measured.items():
        heights: dict[float, list[float]] = {}
        for x, y in (point for seed in seeds for point in seed):
            heights.setdefault(x, []).append(y)
        for part, choose in (("mean", mean), ("low", min), ("high", max)):
            points[kind, cell, part] = [(x, choose(ys)) for x, ys in sorted(heights.items())]
    frame = curves(points, logarithmic=logarithmic)
    lines = [
        _Line(
            label=", ".join(filter(None, (CELLS[cell], KINDS.get(kind)))),
            cell=cell,
            kind=kind,
            mean=frame.points[kind, cell, "mean"],
            band=[*frame.points[kind, cell, "low"], *reversed(frame.points[kind, cell, "high"])],
        )
        for kind, cell in measured
    ]
    return _Plot(name, across, up, lines, frame)


_PAGE = standalone_page("""\
{% extends "standalone" %}
{% block style %}
:root { --rnn: #b4541f; --gru: #3763b0; --lstm: #2f6f5e; }
@media (prefers-color-scheme: dark) { :root { --rnn: #eb9a62; --gru: #8db1f2; --lstm: #6fc2a8; } }
.rnn { --own: var(--rnn); } .gru { --own: var(--gru); } .lstm { --own: var(--lstm); }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1rem; }
.card h3 { margin: 0; font-size: 1rem; }
.card > p { margin: 0 0 .6rem; font-size: .85rem; color: var(--quiet); }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { fill: var(--quiet); font-size: 10px; }
svg .mark { stroke: var(--line); }
svg polyline { fill: none; stroke: var(--own); stroke-width: 1.8; }
svg polygon { fill: var(--own); opacity: .14; }
svg circle { fill: var(--own); }
svg .show_and_tell polyline, .key .show_and_tell { stroke-dasharray: 4 3; }
.key { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; margin: 0 0 1rem; padding: 0; list-style: none;
  font-size: .9rem; }
.key svg { display: inline-block; width: 1.8rem; height: .6rem; margin-right: .45rem; }
.key line { stroke: var(--own, var(--quiet)); stroke-width: 2; }
.scroll { overflow-x: auto; }
th { font-weight: 400; color: var(--quiet); }
th, td { border-top: 1px solid var(--line); padding: .4rem 0 .4rem 1.2rem; text-align: right; white-space: nowrap; }
th { border-top: 0; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
details { margin-top: .8rem; font-size: .85rem; }
details p { max-width: none; margin: .6rem 0 0; }
code { overflow-wrap: anywhere; font-size: .85em; }
@media (max-width: 34rem) { main { padding: 2rem 1rem; } }
{% endblock %}
{% macro places(points) %}
{% for point in points %}{{ "%.1f,%.1f " | format(point.x, point.y) }}{% endfor %}
{% endmacro %}
{% macro figure(plot) %}
<svg viewBox="-38 -20 {{ width + 48 }} {{ height + 54 }}" role="img"
     aria-label="{{ plot.name }}, {{ plot.up }}:{% for line in plot.lines %} {{ line.label }} from
 {{ "%.3g" | format(line.mean[0].up) }} to {{ "%.3g" | format(line.mean[-1].up) }};{% endfor %}">
<text x="-36" y="-10">{{ plot.up }}</text>
{% for mark in plot.frame.up %}
<line class="mark" x2="{{ width }}" y1="{{ "%.1f" | format(mark.at) }}" y2="{{ "%.1f" | format(mark.at) }}"/>
<text x="-6" y="{{ "%.1f" | format(mark.at + 3.5) }}" text-anchor="end">{{ mark.label }}</text>
{% endfor %}
{% for mark in plot.frame.across %}
<text x="{{ "%.1f" | format(mark.at) }}" y="{{ height + 15 }}" text-anchor="middle">{{ mark.label }}</text>
{% endfor %}
<text x="{{ width / 2 }}" y="{{ height + 30 }}" text-anchor="middle">{{ plot.across }}</text>
{% for line in plot.lines %}
<g class="{{ line.cell }} {{ line.kind }}">
<polygon points="{{ places(line.band) }}"/>
<polyline points="{{ places(line.mean) }}"/>
{% for point in line.mean %}
<circle cx="{{ "%.1f" | format(point.x) }}" cy="{{ "%.1f" | format(point.y) }}" r="2"><title>{{ line.label }},
{{ "%.4g" | format(point.across) }} {{ plot.across }}: {{ "%.3g" | format(point.up) }}</title></circle>
{% endfor %}
</g>
{% endfor %}
</svg>
{% endmacro %}
{% block content %}
<h1>{{ title }}</h1>
<p class="quiet">The same pictures, the same budget, {{ seeds }} seed{{ "s" if seeds != 1 }}; captioners with
and without attention, and the cells alone.</p>
{% if table %}
<section class="card scroll">
<table>
<tr><th></th><th>CIDEr-D</th><th>BLEU-4</th><th>last loss</th><th>parameters</th></tr>
{% for row in table %}
<tr><td>{{ row.label }}</td><td>{{ row.cider_d.told() }}</td><td>{{ row.bleu_4.told() }}</td>
<td>{{ row.loss.told(2) }}</td><td>{{ "%.2f" | format(row.parameters / 1e6) }} million</td></tr>
{% endfor %}
</table>
</section>
<p class="quiet">The mean over the seeds and, in brackets, the lowest and the highest: greedy captions of the
development pictures, times 100, at the best evaluation of each run. Every cell has as many hidden units as the others,
and so not as many parameters. The loss is that of the training pictures, the mean over the last part of the curve.</p>
{% endif %}
{% if findings %}
<h2>What the figures say</h2>
<ul>
{% for finding in findings %}
<li>{{ finding }}</li>
{% endfor %}
</ul>
{% endif %}

<h2>Curves</h2>
<ul class="key">
{% for cell, name in cells.items() %}
<li class="{{ cell }}"><svg viewBox="0 0 28 8"><line x2="28" y1="4" y2="4"/></svg>{{ name }}</li>
{% endfor %}
<li><svg viewBox="0 0 28 8"><line x2="28" y1="4" y2="4"/></svg>with attention</li>
<li><svg viewBox="0 0 28 8"><line class="show_and_tell" x2="28" y1="4" y2="4"/></svg>without attention</li>
</ul>
<div class="columns">
{% for plot in plots %}
<section class="card">
<h3>{{ plot.name }}</h3>
{{ figure(plot) }}
</section>
{% endfor %}
</div>
<p class="quiet">Lines are means over the seeds, bands reach from the lowest seed to the highest.</p>

<h2>How to read them</h2>
<p><b>Loss</b> is the cross-entropy of the words that people said of the training pictures, each given those before it;
a point is the mean over the steps since the point before. The lower, the better a cell predicts what is said next.</p>
<p><b>Gradients.</b> A caption is read word by word. The loss at every later word sends a gradient back through all the
steps between to the first word; its norm at the first word’s embedding tells how strongly that later word can teach the
network what to keep of the first. It is divided by what comes from the very next word, so all curves begin at 1. A
curve that falls ten times as low at ten words means that a link over ten words is learnt from a tenth of the gradient.
Fresh cells are those before the first step of training, trained ones those that were kept; both read the same captions,
the longest of the development pictures. With attention there is a second way back, through where the words looked.</p>
<p><b>Copy task.</b> A cell sees one of several symbols, then so many distractors, and must say the symbol at the end:
nothing but memory helps. For each gap and seed a new network is taught with the same budget and judged on 1,000
new sequences; guessing gets {{ "%.1f" | format(100 * chance) }} percent.</p>

{% if table %}
<h2>Every figure and its command</h2>
<div class="card">
{% for row in table %}
<details><summary>{{ row.label }}</summary>
{% for run in row.runs %}
<p>CIDEr-D {{ "%.2f" | format(run.cider_d) }}, BLEU-4 {{ "%.2f" | format(run.bleu_4) }}<br>
<code>{{ run.command }}</code></p>
{% endfor %}
</details>
{% endfor %}
</div>
{% endif %}
<h2>Settings</h2>
{% include "settings" %}
{% endblock %}
""")
