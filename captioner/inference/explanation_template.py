"""The HTML of an explanation, for jinja2; `explanation_page` fills it in."""

PAGE = """\
{% extends "standalone" %}
{% block style %}
h1 { font-size: clamp(1.7rem, 1.2rem + 2vw, 2.5rem); line-height: 1.2; letter-spacing: -.015em; margin: 0 0 .5rem;
  overflow-wrap: anywhere; text-wrap: balance; }

.stage { display: grid; grid-template-columns: minmax(0, 1fr); gap: 1rem; position: relative; margin-top: 1.5rem; }
.stage .under, .stage .heat { display: block; width: min(100%, 30rem * var(--ratio)); aspect-ratio: var(--ratio);
  border-radius: 10px; }
.stage .heat { position: absolute; left: 0; top: 0; opacity: 0; pointer-events: none; transition: opacity .2s; }
.chips { display: flex; flex-wrap: wrap; gap: .45rem; }
.chips label { display: contents; }
.chips input { position: absolute; opacity: 0; }
.chip { display: inline-block; cursor: pointer; padding: .3rem .8rem .35rem; border: 1px solid var(--line);
  border-radius: 9px; font-size: 1.1rem; background:
  linear-gradient(var(--mark), var(--mark)) no-repeat bottom left / calc(var(--share) * 100%) 3px var(--card); }
.chip.ends { color: var(--quiet); }
.chip:hover { border-color: var(--mark); }
:checked ~ .chip { background-color: var(--wash); border-color: var(--mark); color: var(--ink); }
:focus-visible ~ .chip { outline: 2px solid var(--mark); outline-offset: 2px; }
:checked ~ .heat { opacity: 1; }
.detail { display: none; order: 1; width: 100%; min-height: 15rem; padding-top: .8rem; }
.detail > span { display: block; margin-bottom: .35rem; }
.detail .rival { display: grid; grid-template-columns: 6.5rem minmax(0, 1fr) 6.5rem; gap: .8rem; align-items: center;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; line-height: 1.3; }
.detail .rival .meter { width: 100%; margin: 0; }
.detail .rival:not(.said) .meter i { opacity: .45; }
.detail .said { font-weight: 600; }
:checked ~ .detail { display: block; }

.meter { display: inline-block; width: 4.5rem; height: .5rem; border-radius: 3px; background: var(--line);
  vertical-align: 6%; margin-right: .5rem; overflow: hidden; }
.meter i { display: block; height: 100%; background: var(--mark); width: calc(var(--share) * 100%); }
.other { display: inline-block; margin-right: .9rem; white-space: nowrap; }
.likelier { text-decoration: underline dotted; text-underline-offset: 3px; }
.also { margin: .3rem 0 0; padding-left: 1.1rem; }

@media (min-width: 52rem) {
  .stage { grid-template-columns: min(30rem, 30rem * var(--ratio)) minmax(0, 1fr); gap: 2rem; align-items: start; }
  .stage .under, .stage .heat { width: min(30rem, 30rem * var(--ratio)); }
}
@media (max-width: 36rem) {
  main { padding: 2rem 1rem; }
  .meter { width: 2.2rem; }
  .other { display: block; }
}
{% include "inside.css" %}
{% endblock %}
{% block content %}
<h1>{{ title }}</h1>
{% if explanation.caption.uncertain %}
<p>This looks unlike the photographs the model knows.</p>
{% elif confidence %}
<p>Confidence: <b>{{ explanation.caption.level }}</b>. It is {{ confidence }} likely to be as good as a person’s.</p>
{% endif %}
<p class="quiet">What the model computed while it said this about <b>{{ name }}</b>. These are the numbers
inside the network, not its reasons: a number that is large need not be the cause of anything.</p>

<div class="stage" style="--ratio: {{ "%.4f" | format(ratio) }}">
<img class="under" src="{{ picture }}" alt="The picture: {{ name }}">
<div class="panel">
<p class="quiet">{% if looks %}Choose a word. The light lies where the model looked when it said it.
{%- else %}Choose a word. This model looks at the picture once, before the first word.{% endif %}
 The line under each word is as long as the word was probable.</p>
<div class="chips" role="radiogroup" aria-label="Words of the caption">
{% for word in words %}
<label style="--share: {{ "%.3f" | format(word.share) }}">
<input type="radio" name="word"{% if loop.index0 == first %} checked{% endif %}>
<span class="chip{% if word.ends %} ends{% endif %}">{{ word.text }}</span>
{% if word.overlay %}<img class="heat" alt="" src="{{ word.overlay }}">{% endif %}
<span class="detail">
<span>How probable each word was here, after the words before it:</span>
{% for other in [word] + word.others %}
<span class="rival{% if loop.first %} said{% endif %}"><span>{{ other.text }}</span>
<span class="meter" style="--share: {{ "%.3f" | format(other.share) }}"><i></i></span>
<span>{{ other.percent }}</span></span>
{% endfor %}
{% if word.overlay %}
<span class="quiet">{{ word.on_picture }} of its attention lay on the picture
{%- if remembers %}, {{ word.on_memory }} on the model’s own memory{% endif %}.</span>
{% endif %}
{% if word.confidence %}
<span class="quiet">It is {{ word.confidence }} likely that a person would use this word of this picture.</span>
{% endif %}
</span>
</label>
{% endfor %}
</div>
</div>
</div>

{% if also_found %}
<h2>Also found</h2>
<p class="quiet">The other sentences the search ended with, and how probable each is beside the one above; it weighs
length too.</p>
<ul class="also">
{% for other in also_found %}
<li>{{ other.text }} <small class="quiet">{{ other.ratio }}&nbsp;×</small></li>
{% endfor %}
</ul>
{% endif %}

<h2>The words, and those they beat</h2>
<p class="quiet">How probable each word was after those before it, and the likeliest others. The search
weighs whole sentences, so a word may win though another was likelier in its place; those are
<span class="likelier">underlined</span>. The sentence as a whole had a probability of about
{{ sentence_probability }}.</p>
<div class="card scroll">
<table>
<tr><th>word</th><th>probability</th><th>instead of</th>
{% if remembers %}<th class="wide">looked at the picture</th>{% endif %}</tr>
{% for word in words %}
<tr><td class="word">{{ word.text }}</td>
<td class="number"><span class="meter" style="--share: {{ "%.3f" | format(word.share) }}"><i></i></span>
{{- word.percent }}</td>
<td>{% for other in word.others[:3] %}<span class="other{% if other.likelier %} likelier{% endif %}">{{ other.text }}
<small class="quiet">{{ other.percent }}</small></span> {% endfor %}</td>
{% if remembers %}<td class="number wide">{{ word.on_picture }}</td>{% endif %}</tr>
{% endfor %}
</table>
</div>

{% include "inside.html" %}

<p class="quiet" style="margin-top: 3rem"><small>Model {{ model }}. The same numbers are in explanation.json beside
this file.</small></p>
{% endblock %}
"""

INSIDE = """\
<h2>What it remembered, and since when</h2>
{% if ledger %}
<p class="quiet">A network like this keeps a memory, and every part of it entered at some moment. Each bar is the
whole memory when the word on its left was said. Green is what it had from <b>the picture</b> before the first word;
each other colour came in as it read one earlier word (first of all a signal to start). Follow a colour down to see
it fade.</p>
<div class="card">
<div class="stream">
<div>{% for word in words %}<div class="label">{{ word.text }}</div>{% endfor %}</div>
<div class="plot" style="height: {{ row * (parts | length) }}px">
<svg viewBox="0 0 100 {{ row * (parts | length) }}" preserveAspectRatio="none" role="img"
     aria-label="Shares of the memory by when they entered, one bar for each word">
{% for ribbon in ribbons %}
<polygon points="{{ ribbon.points }}" fill="{{ ribbon.colour }}" fill-opacity=".38"/>
{% endfor %}
{% for bar_parts in parts %}
{% set y = loop.index0 * row %}
{% for part in bar_parts %}
<rect x="{{ "%.2f" | format(part.x) }}" y="{{ y }}" width="{{ "%.2f" | format(part.width) }}" height="{{ bar }}"
      fill="{{ part.colour }}"/>
{% endfor %}
{% endfor %}
</svg>
{% for bar_parts in parts %}
{% set y = loop.index0 * row %}
{% for part in bar_parts if part.room != "none" %}
<span class="{% if part.source == 0 %}picture {% endif %}{{ part.room }}"
      style="left: {{ "%.2f" | format(part.x) }}%; width: {{ "%.2f" | format(part.width) }}%; top: {{ y }}px"
      title="{{ part.name }}: {{ "%.0f" | format(part.width) }} %">{{ part.name }}
{%- if part.width >= 20 %}<em> {{ "%.0f" | format(part.width) }}&nbsp;%</em>{% endif %}</span>
{% endfor %}
{% endfor %}
</div>
</div>
<ul class="key quiet" aria-label="Colours, with shares at the end of the sentence">
{% for part in parts[-1] %}
<li><i style="background: {{ part.colour }}"></i>{{ part.name }} {{ "%.0f" | format(part.width) }}&nbsp;%</li>
{% endfor %}
</ul>
</div>
<p class="quiet" style="margin-top: 1rem">At the first word {{ "%.0f" | format(parts[0][0].width) }} % of the memory
was from before it; at the end {{ "%.0f" | format(parts[-1][0].width) }} % still was.
{% if looks %}That does not mean that the picture is forgotten: at every word the network looks again, and what it
sees enters together with the word it reads.{% endif %}</p>
<p class="quiet"><small>Exact, not estimated: this is {{ ledger.cell }}, and the parts add up to it (largest
difference {{ "%.0e" | format(ledger.largest_error) }}). A share is the sum of absolute values over the memory’s
{{ "{:,}".format(ledger.memory.shape[1]) }} units, so parts that cancel each other both count.</small></p>
{% else %}
<p class="quiet">{{ no_ledger }}</p>
{% endif %}

{% if gates %}
<h2>The gates</h2>
<p class="quiet">Gates decide, for each unit of the memory, what is kept, let in and shown. The band holds the middle
80 % of the units, the upright mark is their mean<span class="wide">; below it stand mean ± spread (the standard
deviation over the units)</span>.</p>
<dl>{% for label, told in gates %}<dt>{{ label }}</dt><dd>{{ told }}</dd>{% endfor %}</dl>
<div class="card scroll">
<table class="gates">
<tr><th>word</th>{% for label, _ in gates %}<th>{{ label }}</th>{% endfor %}</tr>
{% for word in words %}
<tr><td class="word">{{ word.text }}</td>
{% for band in word.gates %}
<td>
<svg viewBox="0 0 100 14" preserveAspectRatio="none" role="img"
  aria-label="mean {{ "%.0f" | format(band.mean) }} % of the scale">
<rect width="100" height="2" y="6" fill="var(--line)"/>
<rect x="{{ "%.1f" | format(band.start) }}" width="{{ "%.1f" | format(band.width) }}" y="2" height="10"
  fill="var(--wash)"/>
<rect x="{{ "%.1f" | format(band.mean - 1) }}" width="2" height="14" fill="var(--mark)"/></svg>
<small class="quiet wide">{{ band.told }}</small>
</td>
{% endfor %}</tr>
{% endfor %}
</table>
</div>
{% endif %}

{% if tree %}
<h2>The sentences it weighed</h2>
<p class="quiet">The search keeps a few beginnings in mind and drops the rest at every word. Here are those it kept,
the likeliest on top; the thick line leads to the sentence it chose
{%- if explanation.tree.by_consensus %}: not the one of the best score, but the one most like all those it found
{%- endif %}.</p>
<div class="card scroll" tabindex="0">
<svg class="lattice" viewBox="0 0 {{ tree.width }} {{ tree.height }}" style="max-width: {{ tree.width }}px;
     min-width: {{ tree.width * 3 // 4 }}px" role="img"
     aria-label="The beginnings kept at each word">
{% for link in tree.links %}<path d="{{ link.path }}"{% if link.chosen %} class="chosen"{% endif %}/>{% endfor %}
{% for spot in tree.spots %}
<text x="{{ "%.0f" | format(spot.x) }}" y="{{ "%.0f" | format(spot.y) }}"
  {%- if spot.chosen %} class="chosen"{% endif %}{% if goes_on %} data-beginning="{{ spot.beginning }}"{% endif %}>
{{- spot.text }}<title>{{ spot.told }}</title></text>
{% endfor %}
</svg>
</div>
<p class="quiet" style="margin-top: 1.2rem">And all of them, with what was dropped and what spoke against it. A score is
the logarithm of a beginning’s probability, divided by a power of its length: nearer to zero is better. To hear how
the model would go on from any of them, {{ how_to_go_on }}.</p>
{% macro score(twig) %}{{ ("%.2f" | format(twig.branch.score)) | replace("-", "−") }}{% endmacro %}
{% macro go_on(twig) %}
{% if goes_on %}
<button type="button" title="go on from here" aria-label="go on from “{{ twig.branch.beginning or "the start" }}”"
        data-beginning="{{ twig.branch.beginning or "" }}">↪</button>
{% endif %}
{% endmacro %}
{% macro grow(twig) %}
<div class="branch">{{ go_on(twig) }}
<details{% if twig.chosen %} open class="chosen"{% endif %}>
<summary><b>{{ twig.text or "start" }}</b>
{% if twig.branch.parent is not none %}<small class="quiet">{{ score(twig) }}</small>{% endif %}
</summary>
{% for child in twig.kept %}{{ leaf(child) if not child.kept and not child.dropped else grow(child) }}{% endfor %}
{% if twig.dropped %}
<details class="dropped"><summary class="quiet"><small>{{ twig.dropped | length }} dropped</small></summary>
{% for child in twig.dropped %}{{ leaf(child) }}{% endfor %}
</details>
{% endif %}
</details></div>
{% endmacro %}
{% macro leaf(twig) %}
<div class="leaf{% if twig.chosen %} chosen{% endif %}">{{ go_on(twig) }}<b>{{ twig.text }}</b>
<small class="quiet">{{ score(twig) }} · {{ "was chosen" if twig.chosen else twig.branch.fate }}</small></div>
{% endmacro %}
<div class="card tree">{{ grow(twig) }}</div>
{% endif %}
"""
"""What went on inside: the memory, the gates and the search. A part of the page, and fit for a page of others."""

INSIDE_STYLE = """\
h2 { font-size: 1.3rem; margin: 3.5rem 0 .3rem; }
p { max-width: 46rem; margin: .3rem 0 1rem; }
.quiet { color: var(--quiet); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.2rem; }
.scroll { overflow-x: auto; }
small { font-size: .82rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; font-size: .82rem; color: var(--quiet); padding: 0 .8rem .4rem 0; }
td { border-top: 1px solid var(--line); padding: .5rem .8rem .5rem 0; vertical-align: middle; }
td:last-child, th:last-child { padding-right: 0; }
td.word { font-weight: 600; }
td.number { white-space: nowrap; }
.stream { display: grid; grid-template-columns: max-content minmax(0, 1fr); column-gap: 1rem; }
.stream .label { height: {{ row }}px; line-height: {{ bar }}px; font-weight: 600; text-align: right; max-width: 9rem;
  overflow: hidden; text-overflow: ellipsis; }
.plot { position: relative; container-type: inline-size; }
.plot svg { position: absolute; inset: 0; width: 100%; height: 100%; border-radius: 4px; }
.plot span { position: absolute; height: {{ bar }}px; line-height: {{ bar }}px; padding: 0 .4rem; overflow: hidden;
  white-space: nowrap; font-size: .85rem; color: #1d2021; }
.plot span.picture { color: #fff; }
.plot em { font-style: normal; }
.key { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; padding: 0; margin: 1rem 0 0; list-style: none; }
.key i { display: inline-block; width: .8rem; height: .8rem; border-radius: 3px; margin-right: .4rem; }

.gates svg { display: block; width: 100%; min-width: 3rem; height: 14px; }
.gates td { padding: .45rem .8rem .45rem 0; line-height: 1.2; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; margin: 0 0 1.2rem; max-width: 46rem; }
dt { font-weight: 600; }
dd { margin: 0; color: var(--quiet); overflow-wrap: anywhere; }

.lattice { display: block; width: 100%; font-size: 14px; }
.lattice text { fill: var(--quiet); }
.lattice text.chosen { fill: var(--ink); font-weight: 700; }
.lattice path { fill: none; stroke: var(--quiet); stroke-opacity: .45; stroke-width: 1.2; }
.lattice path.chosen { stroke: var(--mark); stroke-opacity: 1; stroke-width: 3; }
.tree { margin-top: 1.2rem; overflow-x: auto; }
.tree .branch, .tree .leaf, .tree .dropped { margin-left: .55rem; border-left: 1px solid var(--line);
  padding-left: .65rem; }
.tree > .branch { margin-left: 0; border: 0; padding: 0; }
.tree summary { cursor: pointer; padding: .12rem 0; }
.tree .chosen > summary b, .tree .leaf.chosen b { color: var(--mark); }
.tree .leaf { padding-top: .12rem; padding-bottom: .12rem; }
.lattice [data-beginning] { cursor: pointer; }
.lattice [data-beginning]:hover { fill: var(--mark); }
.tree button { background: none; border: 0; float: left; padding: 0 .5rem 0 0; font: inherit;
  color: var(--quiet); cursor: pointer; }
.tree button:is(:hover, :focus-visible) { color: var(--mark); }
summary:focus-visible { outline: 2px solid var(--mark); }
@container (max-width: 43rem) { .plot span.little { display: none; } }
@container (max-width: 27rem) { .plot span.some, .plot em { display: none; } }
@media (max-width: 36rem) {
  .card { padding: .8rem .9rem; }
  .wide { display: none; }
  .tree .branch, .tree .leaf, .tree .dropped { margin-left: .25rem; padding-left: .4rem; }
}
"""
"""Its looks. It needs the colours --card, --ink, --quiet, --line, --mark and --wash."""
