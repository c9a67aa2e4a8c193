"""A training run as one stand-alone HTML page: its curves, what it says of some pictures, its figures and settings.

It is made from the files in the run's folder alone: `metrics.jsonl`, `recipe.json`, `environment.json` and, kept for
this page, `examples.json` with a few of the development pictures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import datasets

from captioner.durable import write_whole
from captioner.errors import DataError
from captioner.inference.curve import HEIGHT, WIDTH, Curve, curve
from captioner.inference.standalone import inlined, standalone_page
from captioner.training.development import example_pictures
from captioner.training.events import Evaluated

PAGE = "report.html"
THUMBNAIL = 320
"""Longest side of a picture in the page, in pixels."""
CAPTIONS_SHOWN = 6
"""Of each example picture, beside the one of the best evaluation."""


class Run(NamedTuple):
    """What a run's folder tells."""

    recipe: dict[str, Any]
    environment: dict[str, Any]
    evaluations: list[Evaluated]
    examples: list[dict[str, Any]]
    """Of each picture whose captions are shown `image_id`, `references` and `picture`, the `src` of an `img`."""


def show_examples(development: datasets.Dataset) -> list[dict[str, Any]]:
    """The `Run.examples` of these development pictures. Raises ImageError when a picture cannot be read."""
    undecoded = development.cast_column("image", datasets.Image(decode=False))
    rows = (undecoded[number] for number in example_pictures(len(development)))
    return [
        {
            "image_id": row["image_id"],
            "references": row["captions"],
            "picture": inlined(row["image"]["bytes"], longest=THUMBNAIL),
        }
        for row in rows
    ]


def follow_run(folder: Path, examples: list[dict[str, Any]]) -> None:
    """Bring the page of a run up to date, whole or not at all. Raises DataError as `write_run_page` does."""
    write_whole(folder / "examples.json", json.dumps(examples, ensure_ascii=False))
    write_run_page(folder)


def write_run_page(folder: Path) -> Path:
    """Make `report.html` of a run -> its path. Raises DataError when the folder holds no run or cannot be written."""
    write_whole(folder / PAGE, render(read_run(folder), title=f"The run {folder.resolve().name}"))
    return folder / PAGE


def read_run(folder: Path) -> Run:
    """What the files of a run tell. Raises DataError when they are not there or not what training writes."""
    try:
        # A line without its end is being written.
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
        parts = [
            json.loads((folder / name).read_text(encoding="utf-8")) for name in ("recipe.json", "environment.json")
        ]
        examples = folder / "examples.json"
        return Run(
            recipe=parts[0],
            environment=parts[1],
            evaluations=[Evaluated(**json.loads(line)) for line in lines],
            examples=json.loads(examples.read_text(encoding="utf-8")) if examples.exists() else [],
        )
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"A run's folder must be as `captioner train` writes it, but {folder} is not ({error}); give the --out of "
            "a run."
        ) from error


def render(run: Run, *, title: str) -> str:
    """The HTML page of a run."""
    best = next((evaluated for evaluated in reversed(run.evaluations) if evaluated.best), None)
    return _PAGE.render(
        title=title,
        run=run,
        best=best,
        curves=_curves(run.evaluations),
        width=WIDTH,
        height=HEIGHT,
        shown=_shown(run.evaluations, best),
        settings=dict(_flat(run.recipe)),
    )


def _curves(evaluations: Sequence[Evaluated]) -> dict[str, Curve]:
    """The figures over the epochs; before the first step there is neither loss nor reward."""
    points = {
        "Loss, in nats a word": [(each.epoch, each.loss) for each in evaluations if each.loss is not None],
        "Reward of drawn captions": [(each.epoch, each.reward) for each in evaluations if each.reward is not None],
        "CIDEr-D": [(each.epoch, each.cider_d) for each in evaluations],
        "BLEU-4": [(each.epoch, each.bleu_4) for each in evaluations],
    }
    return {name: curve(places) for name, places in points.items() if places}


def _shown(evaluations: Sequence[Evaluated], best: Evaluated | None) -> list[Evaluated]:
    """A few evaluations at equal distances, from the first to the last, and the best."""
    last = len(evaluations) - 1
    places = {round(number * last / (CAPTIONS_SHOWN - 1)) for number in range(CAPTIONS_SHOWN)}
    return [each for place, each in enumerate(evaluations) if each.examples and (place in places or each is best)]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Settings with their full names, as a recipe's overrides spell them."""
    pairs: list[tuple[str, Any]] = []
    for name, value in settings.items():
        pairs += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]
    return pairs


_PAGE = standalone_page("""\
{% extends "standalone" %}
{% block style %}
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(18rem, 100%), 1fr)); gap: 1rem; }
.card h2 { margin: 0 0 .5rem; font-size: 1rem; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { fill: var(--quiet); font-size: 11px; }
svg .mark { stroke: var(--line); }
svg polyline { fill: none; stroke: var(--mark); stroke-width: 2; }
svg circle { fill: var(--mark); }
svg .best { fill: var(--card); stroke: var(--mark); stroke-width: 2; }
.scroll { overflow-x: auto; margin-top: 1rem; }
th { font-weight: 400; color: var(--quiet); }
th, td { border-top: 1px solid var(--line); padding: .35rem 0 .35rem 1rem; text-align: right; white-space: nowrap; }
th { border-top: 0; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tr.best td { background: var(--wash); font-weight: 600; }
figure.card { display: grid; grid-template-columns: 11rem 1fr; padding: 0; margin: 0 0 1rem; overflow: hidden; }
figure img { width: 100%; height: auto; }
figcaption { padding: .8rem 1rem .9rem; font-size: .9rem; min-width: 0; overflow-wrap: anywhere; }
figcaption p { margin: 0; display: grid; grid-template-columns: 2.5rem 1fr; gap: .6rem; }
figcaption p > :first-child { font-weight: 400; color: var(--quiet); font-size: .8rem; }
figcaption .best { font-weight: 600; }
details { font-size: .8rem; color: var(--quiet); margin-top: .4rem; }
details ul { margin: .3rem 0 0; padding-left: 1rem; }
@media (max-width: 34rem) {
  main { padding: 2rem 1rem; }
  figure.card { grid-template-columns: 1fr; }
}
{% endblock %}
{% macro epoch(number) %}{{ "%.4g" | format(number) }}{% endmacro %}
{% block content %}
{% set rewarded = "Reward of drawn captions" in curves %}
<h1>{{ title }}</h1>
{% if not best %}
<p class="quiet">Nothing has been evaluated yet.</p>
{% else %}
<p class="quiet">{{ run.evaluations | length }} evaluation{{ "s" if run.evaluations | length > 1 }}, the last after
epoch {{ epoch(run.evaluations[-1].epoch) }}. The best is that after epoch {{ epoch(best.epoch) }}, whose weights are
in <code>best/</code>: CIDEr-D {{ "%.1f" | format(best.cider_d) }}, BLEU-4 {{ "%.1f" | format(best.bleu_4) }}.</p>

<div class="columns">
{% for name, curve in curves.items() %}
<section class="card">
<h2>{{ name }}</h2>
<svg viewBox="-34 -8 {{ width + 44 }} {{ height + 42 }}" role="img"
     aria-label="{{ name }}: from {{ "%.3g" | format(curve.points[0].up) }}
 to {{ "%.3g" | format(curve.points[-1].up) }}">
{% for mark in curve.up %}
<line class="mark" x2="{{ width }}" y1="{{ "%.1f" | format(mark.at) }}" y2="{{ "%.1f" | format(mark.at) }}"/>
<text x="-6" y="{{ "%.1f" | format(mark.at + 4) }}" text-anchor="end">{{ mark.label }}</text>
{% endfor %}
{% for mark in curve.across %}
<text x="{{ "%.1f" | format(mark.at) }}" y="{{ height + 16 }}" text-anchor="middle">{{ mark.label }}</text>
{% endfor %}
<text x="{{ width / 2 }}" y="{{ height + 31 }}" text-anchor="middle">epochs</text>
<polyline points="{% for point in curve.points %}{{ "%.1f,%.1f " | format(point.x, point.y) }}{% endfor %}"/>
{% for point in curve.points %}
<circle cx="{{ "%.1f" | format(point.x) }}" cy="{{ "%.1f" | format(point.y) }}"
{%- if point.across == best.epoch %} class="best" r="5"{% else %} r="2.5"{% endif %}>
<title>epoch {{ epoch(point.across) }}: {{ "%.4g" | format(point.up) }}</title></circle>
{% endfor %}
</svg>
</section>
{% endfor %}
</div>

{% if shown %}
<h2>What it said after so many epochs</h2>
<div>
{% for example in run.examples %}
<figure class="card">
<img src="{{ example.picture }}" alt="{{ example.references[0] }}">
<figcaption>
{% for each in shown if example.image_id in each.examples %}
<p{% if each is sameas best %} class="best"{% endif %}><span>{{ epoch(each.epoch) }}</span>
<span dir="auto">{{ each.examples[example.image_id] }}</span></p>
{% endfor %}
<details><summary>what people said</summary>
<ul>
{% for reference in example.references %}
<li dir="auto">{{ reference }}</li>
{% endfor %}
</ul></details>
</figcaption>
</figure>
{% endfor %}
</div>
{% endif %}

<h2>Figures</h2>
<div class="card scroll">
<table>
<tr><th>epochs</th><th>steps</th><th>{{ "reward" if rewarded else "loss" }}</th><th>CIDEr-D</th><th>BLEU-4</th>
<th>words/s</th><th>minutes</th><th>skipped</th></tr>
{% for each in run.evaluations %}
<tr{% if each is sameas best %} class="best"{% endif %}><td>{{ epoch(each.epoch) }}</td>
<td>{{ "{:,}".format(each.step) }}</td>
<td>{% if each.loss is not none %}{{ "%.3f" | format(each.loss) }}
{%- elif each.reward is not none %}{{ "%.1f" | format(each.reward) }}{% else %}–{% endif %}</td>
<td>{{ "%.1f" | format(each.cider_d) }}</td><td>{{ "%.1f" | format(each.bleu_4) }}</td>
<td>{{ "–" if each.words_per_second is none else "{:,.0f}".format(each.words_per_second) }}</td>
<td>{{ "%.1f" | format(each.seconds / 60) }}</td><td>{{ each.skipped }}</td></tr>
{% endfor %}
</table>
</div>
<p class="quiet">CIDEr-D and BLEU-4 are of greedy captions of all development pictures, times 100;
{% if rewarded %}
the reward is the CIDEr-D
{%- if settings.get("training.bleu_weight") %} and {{ settings["training.bleu_weight"] }} times the BLEU-4{% endif %},
with the end of the caption as its last word, of captions drawn for the training pictures
{% else %}
the loss is that of the training pictures
{% endif %}
since the evaluation before. A beam search and intervals: <code>captioner evaluate</code>.</p>
{% endif %}

<h2>Recipe</h2>
{% include "settings" %}
<h2>Environment</h2>
{% with settings = run.environment %}{% include "settings" %}{% endwith %}
{% endblock %}
""")
