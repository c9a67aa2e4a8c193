"""An evaluation as something to read: rows of figures, and one stand-alone HTML page.

The page needs nothing but itself: its style and its pictures are inside, it names no other host, and its
Content-Security-Policy forbids it to fetch anything. Every text in it is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from captioner.data.images import ImageSource
from captioner.inference.evaluation import BOOTSTRAP, NORMALISATION, Evaluation, Scored
from captioner.inference.standalone import inlined, standalone_page

THUMBNAIL = 480
"""Longest side of a picture in the page, in pixels: twice what is shown, for fine screens."""

QUALITY = {
    "cider_d": ("CIDEr-D", "words shared with references; rare ones weigh more"),
    "bleu_1": ("BLEU-1", "share of words found in a reference"),
    "bleu_2": ("BLEU-2", "the same with pairs of words"),
    "bleu_3": ("BLEU-3", "with three in a row"),
    "bleu_4": ("BLEU-4", "with four in a row"),
    "rouge_l": ("ROUGE-L", "longest common run of words, gaps allowed"),
    "meteor": ("METEOR (NLTK)", "exact words and stems; not the METEOR 1.5 of papers"),
}
"""What each metric is called, and a note on it."""

FAULTS = {
    "dangling_end": ("Dangling end", "captions whose last word is “the”, “with” or the like"),
    "unknown_word": ("Unknown word", "captions that say <unk>"),
    "repeated_word": ("Repeated word", "captions that say a word twice in a row"),
    "repeated_phrase": ("Repeated phrase", "captions that say two words in a row again later"),
    "singular_for_two": ("Singular for two", "captions that begin like “a man and a dog is”"),
}
"""What each fault is called, and a note on it."""


class Figure(NamedTuple):
    """One measured thing, ready to be shown."""

    label: str
    value: str
    interval: str
    """Such as `50.1 – 54.6`; empty where there is none."""
    note: str


def quality_figures(evaluation: Evaluation) -> list[Figure]:
    """How like the references the captions are: one figure per metric, the most telling first."""
    figures = []
    for name, (label, note) in QUALITY.items():
        interval = evaluation.intervals.get(name)
        told = f"{interval.low:.1f} – {interval.high:.1f}" if interval else ""
        figures.append(Figure(label, f"{getattr(evaluation.scores, name):.1f}", told, note))
    return figures


def language_figures(evaluation: Evaluation) -> list[Figure]:
    """How the captions read, whatever the pictures show, and how fast they came."""
    scores = evaluation.scores
    used = f"{scores.vocabulary_used:,} of {evaluation.vocabulary_size:,}"
    novel = "not known" if scores.novel is None else f"{scores.novel:.1%}"
    rows = [
        ("Length ratio", f"{scores.length_ratio:.2f}", "words over words of the closest reference"),
        ("Vocabulary used", used, "different words said, of those the model can say"),
        ("Novel captions", novel, "not one of the training captions word for word"),
        *_fault_rows(evaluation),
        *(
            (
                f"Wrong {kind}",
                f"{told.share:.1%} of {told.claims:,}",
                "claims that the references contradict",
            )
            for kind, told in evaluation.contradicted.items()
        ),
        ("Not captioned", f"{len(evaluation.failed):,}", "pictures that could not be read; in no score"),
        ("Pictures per second", f"{evaluation.pictures_per_second:.1f}", "reading, CNN and search together"),
    ]
    return [Figure(label, value, "", note) for label, value, note in rows]


def _fault_rows(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    rows = []
    for name, (label, note) in FAULTS.items():
        own, people = getattr(evaluation.faults, name), getattr(evaluation.reference_faults, name)
        rows.append((label, f"{own:.1%}", f"{note}; {people:.1%} of the references"))
    return rows


def render(
    evaluation: Evaluation,
    *,
    title: str,
    settings: Mapping[str, str],
    picture: Callable[[str], ImageSource],
) -> str:
    """The HTML page of an evaluation.

    Args:
        evaluation: what to show.
        title: what was evaluated, as the heading of the page.
        settings: what a reader must know to do it again, shown as given.
        picture: the picture of an `image_id`; asked for those shown only.

    Raises:
        ImageError: a picture to be shown cannot be read.
    """
    best, worst = evaluation.best_and_worst()
    return _PAGE.render(
        title=title,
        evaluation=evaluation,
        quality=quality_figures(evaluation),
        language=language_figures(evaluation),
        histogram=_histogram([scored.cider_d for scored in evaluation.scored]),
        examples=[
            ("The best, with their references", [_example(scored, picture) for scored in best]),
            ("The worst, with theirs", [_example(scored, picture) for scored in worst]),
        ],
        settings=settings,
        remarks=[NORMALISATION, BOOTSTRAP],
    )


class _Example(NamedTuple):
    scored: Scored
    source: str


class _Bar(NamedTuple):
    label: str
    pictures: int
    height: float


def _example(scored: Scored, picture: Callable[[str], ImageSource]) -> _Example:
    return _Example(scored, inlined(picture(scored.image_id), longest=THUMBNAIL))


def _histogram(values: Sequence[float], *, width: int = 20, bars: int = 10) -> list[_Bar]:
    """How many values lie in each step of `width`, the last one open; heights in percent of the highest."""
    counts = [0] * bars
    for value in values:
        counts[min(bars - 1, int(value // width))] += 1
    labels = [str(width * step) for step in range(bars - 1)] + [f"{width * (bars - 1)}+"]
    return [_Bar(label, count, 100 * count / max(counts)) for label, count in zip(labels, counts, strict=True)]


_PAGE = standalone_page("""\
{% extends "standalone" %}
{% block style %}
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1rem;
  align-items: start; margin-top: 1rem; }
.card h2 { margin: 0 0 .5rem; }
td { border-top: 1px solid var(--line); padding: .45rem .6rem .45rem 0; vertical-align: top; }
tr:first-child td { border-top: 0; }
th { text-align: right; font-weight: 400; color: var(--quiet); padding: 0 0 .3rem .6rem; }
th:first-child { text-align: left; padding-left: 0; }
td small { display: block; color: var(--quiet); line-height: 1.35; }
td.value small { font-weight: 400; }
td.value { text-align: right; font-weight: 600; white-space: nowrap; padding-right: 0; }
.bars { display: flex; align-items: flex-end; gap: 4px; height: 9rem; }
.bars div { flex: 1; min-width: 0; height: 100%; display: flex; flex-direction: column; justify-content: flex-end; }
.bars i { display: block; background: var(--mark); border-radius: 3px 3px 0 0; min-height: 1px; }
.bars span { font-size: .72rem; text-align: center; color: var(--quiet); white-space: nowrap; }
figure.card { display: grid; grid-template-columns: 11rem 1fr; padding: 0; margin: 0 0 1rem; overflow: hidden; }
figure img { width: 100%; height: auto; }
figcaption { padding: .8rem 1rem .9rem; font-size: .85rem; line-height: 1.4; min-width: 0; }
figcaption b { font-size: 1rem; display: block; }
figcaption ul { margin: .4rem 0 0; padding-left: 1rem; }
figcaption .quiet { font-size: .8rem; overflow-wrap: anywhere; }
@media (max-width: 34rem) {
  main { padding: 2rem 1rem; }
  figure.card { grid-template-columns: 1fr; }
}
{% endblock %}
{% block content %}
<h1>{{ title }}</h1>
<p class="quiet">{{ "{:,}".format(evaluation.scored | length) }} pictures, judged by
{{ "{:,}".format(evaluation.references) }} reference captions.</p>

<div class="columns">
{% for heading, figures in [("Likeness to the references", quality), ("Language and speed", language)] %}
<section class="card">
<h2>{{ heading }}</h2>
<table>
{% for figure in figures %}
<tr><td>{{ figure.label }}<small>{{ figure.note }}</small></td>
<td class="value">{{ figure.value }}<small>{{ figure.interval }}</small></td></tr>
{% endfor %}
</table>
</section>
{% endfor %}
</div>

<h2>Pictures by their own CIDEr-D</h2>
<div class="card bars">
{% for bar in histogram %}
<div title="{{ bar.pictures }} pictures"><span>{{ bar.pictures }}</span>
<i style="height: {{ "%.1f" | format(bar.height) }}%"></i><span>{{ bar.label }}</span></div>
{% endfor %}
</div>

<div class="columns">
<section class="card">
<h2>By the caption's length</h2>
<table>
<tr><th>words</th><th>pictures</th><th>CIDEr-D</th><th>BLEU-4</th></tr>
{% for group in evaluation.by_length %}
<tr><td>{{ group.least }}{% if group.most > group.least %} – {{ group.most }}{% endif %}</td>
<td class="value">{{ "{:,}".format(group.pictures) }}</td><td class="value">{{ "%.1f" | format(group.cider_d) }}</td>
<td class="value">{{ "%.1f" | format(group.bleu_4) }}</td></tr>
{% endfor %}
</table>
</section>
{% if evaluation.by_noun %}
<section class="card">
<h2>By what is shown</h2>
<p class="quiet">The references' commonest nouns: on how many pictures people name them, for how many of these
the caption does, too, and how many of the captions that say them people bear out. “Dogs” is another word than
“dog”.</p>
<table>
<tr><th></th><th>pictures</th><th>said</th><th>rightly</th><th>CIDEr-D</th></tr>
{% for noun in evaluation.by_noun %}
<tr><td>{{ noun.noun }}</td><td class="value">{{ "{:,}".format(noun.pictures) }}</td>
<td class="value">{{ "{:.0%}".format(noun.said) }}</td>
<td class="value">{% if noun.right is none %}–{% else %}{{ "{:.0%}".format(noun.right) }}{% endif %}</td>
<td class="value">{{ "%.1f" | format(noun.cider_d) }}</td></tr>
{% endfor %}
</table>
</section>
{% endif %}
</div>

<div class="columns">
{% for heading, pictures in examples if pictures %}
<section>
<h2>{{ heading }}</h2>
{% for example in pictures %}
<figure class="card">
<img src="{{ example.source }}" alt="{{ example.scored.caption }}">
<figcaption>
<b>{{ example.scored.caption }}</b>
<span class="quiet">CIDEr-D {{ "%.0f" | format(example.scored.cider_d) }} · {{ example.scored.image_id }}</span>
<ul class="quiet">
{% for reference in example.scored.references %}
<li>{{ reference }}</li>
{% endfor %}
</ul>
</figcaption>
</figure>
{% endfor %}
</section>
{% endfor %}
</div>

{% if evaluation.failed %}
<h2>Not captioned</h2>
<ul>
{% for picture in evaluation.failed[:20] %}
<li>{{ picture.image_id }}: {{ picture.error }}</li>
{% endfor %}
</ul>
{% if evaluation.failed | length > 20 %}<p>And {{ evaluation.failed | length - 20 }} more.</p>{% endif %}
{% endif %}

<h2>How this was measured</h2>
{% for remark in remarks %}
<p>{{ remark }}</p>
{% endfor %}
<p>CIDEr-D takes the rarity of words from these references, so compare it only on the same pictures; it may
exceed 100. BLEU is over all captions of a row at once, by NLTK, without smoothing. All scores are on the scale of
papers.</p>
{% include "settings" %}
{% endblock %}
""")
