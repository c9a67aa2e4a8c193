"""The benchmark as one picture: the ratios with the bars they should reach, the stages, and how time grows. SVG."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jinja2

from .figures import Figure

WIDTH = 900
_LEFT, _RIGHT, _ROW = 300, 130, 26
"""Room for names, room for numbers, and the height of a line, in pixels."""
_PANEL, _GAP = 195, 40
"""Side of a small panel of the growth, and the room between two."""
_PANELS = 4
"""In a line."""


class _Bar(NamedTuple):
    name: str
    width: float
    low: float
    high: float
    goal: float | None
    """Where the bar to reach stands, from the left."""
    met: bool | None
    told: str


class _Part(NamedTuple):
    """One stage, in a line that all of them fill."""

    name: str
    left: float
    width: float
    share: str
    told: str


class _Panel(NamedTuple):
    name: str
    left: float
    top: float
    points: list[tuple[float, float]]
    slope: float
    first: str
    last: str


def draw(sections: Mapping[str, Sequence[Figure]]) -> str:
    """The SVG of whatever sections there are; only figures that are ratios, stages or exponents can be seen in it."""
    every = [each for figures in sections.values() for each in figures]
    ratios = [each for each in every if each.unit == "times" and each.met is not None]
    stages = list(sections.get("stages", ()))
    growth = [each for each in sections.get("growth", ()) if each.points]
    below = _ROW * len(ratios) + (90 if ratios else 20)
    panels_top = below + (100 if stages else 0)
    lines = -(-len(growth) // _PANELS)
    return _SVG.render(
        width=WIDTH,
        height=panels_top + lines * (_PANEL + 2 * _GAP) + 30,
        left=_LEFT,
        row=_ROW,
        panel=_PANEL,
        bars=_bars(ratios),
        parts=_parts(stages),
        stages_top=below,
        panels=_panels(growth, panels_top + _GAP),
        panels_top=panels_top,
    )


def _bars(ratios: Sequence[Figure]) -> list[_Bar]:
    """Ratios on a logarithmic axis that begins at 1; what is below 1 has no width."""
    goals = [each.at_least or each.at_most or 1.0 for each in ratios]
    farthest = max([each.high or 1.0 for each in ratios] + goals, default=1.0)
    room = WIDTH - _LEFT - _RIGHT

    def place(ratio: float) -> float:
        return room * max(0.0, math.log(ratio)) / math.log(max(farthest, 2.0))

    return [
        _Bar(
            each.name,
            place(each.value or 1.0),
            place(each.low or 1.0),
            place(each.high or 1.0),
            place(goal),
            each.met,
            f"{each.value:.3g} ({'at least' if each.at_least else 'at most'} {goal:g})",
        )
        for each, goal in zip(ratios, goals, strict=True)
    ]


def _parts(stages: Sequence[Figure]) -> list[_Part]:
    room, left, parts = WIDTH - 40, 20.0, []
    for each in stages:
        width = room * (each.value or 0.0)
        parts.append(_Part(each.name, left, width, f"{100 * (each.value or 0.0):.0f} %", each.note))
        left += width
    return parts


def _panels(growth: Sequence[Figure], top: float) -> list[_Panel]:
    """Sizes and seconds, both logarithmic with the same unit, so that linear growth is the diagonal."""
    panels = []
    for number, each in enumerate(growth):
        across = [math.log(size / each.points[0][0]) for size, _ in each.points]
        up = [math.log(seconds) for _, seconds in each.points]
        middle = (max(up) + min(up)) / 2
        unit = _PANEL / max(across[-1], max(up) - min(up))
        panels.append(
            _Panel(
                each.name,
                20 + number % _PANELS * (_PANEL + 25),
                top + number // _PANELS * (_PANEL + 2 * _GAP),
                [(unit * x, _PANEL / 2 - unit * (y - middle)) for x, y in zip(across, up, strict=True)],
                each.value or 0.0,
                f"{each.points[0][0]:,}",
                f"{each.points[-1][0]:,}",
            )
        )
    return panels


_SVG = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{ width }} {{ height }}" width="{{ width }}"
     font-family="system-ui, sans-serif" font-size="13">
<style>
.paper { fill: #faf9f6; } text { fill: #1d2021; } .quiet { fill: #666a6d; }
.small { font-size: 11px; } .title { font-weight: 600; }
.bar { fill: #2f6f5e; } .missed { fill: #b5722c; } .whisker { stroke: #1d2021; }
.goal { stroke: #1d2021; stroke-width: 2; }
.frame { fill: #fff; stroke: #e4e1da; } .line { fill: none; stroke: #2f6f5e; stroke-width: 2; }
.one { stroke: #b9b5ab; stroke-dasharray: 4 4; }
@media (prefers-color-scheme: dark) {
  .paper { fill: #15181a; } text { fill: #e8e6e1; } .quiet { fill: #9aa0a4; }
  .bar { fill: #6fc2a8; } .missed { fill: #d99a55; } .whisker, .goal { stroke: #e8e6e1; }
  .frame { fill: #1e2225; stroke: #30363a; } .line { stroke: #6fc2a8; } .one { stroke: #565c60; }
}
</style>
<rect class="paper" width="100%" height="100%"/>
{% if bars %}
<text class="title" x="20" y="28">How many times as long: medians, least and most of the rounds, and the bar</text>
{% for each in bars %}
{% set y = 44 + loop.index0 * row %}
<text x="{{ left - 10 }}" y="{{ y + 13 }}" text-anchor="end">{{ each.name }}</text>
<rect class="{{ "bar" if each.met else "missed" }}" x="{{ left }}" y="{{ y }}" height="16"
      width="{{ each.width | round(1) }}"/>
<line class="whisker" x1="{{ left + each.low }}" x2="{{ left + each.high }}" y1="{{ y + 8 }}" y2="{{ y + 8 }}"/>
<line class="goal" x1="{{ left + each.goal }}" x2="{{ left + each.goal }}" y1="{{ y - 3 }}" y2="{{ y + 19 }}"/>
<text class="quiet small" x="{{ left + [each.high, each.goal] | max + 6 }}" y="{{ y + 12 }}">{{ each.told }}</text>
{% endfor %}
{% endif %}
{% if parts %}
<text class="title" x="20" y="{{ stages_top }}">Where the time of captioning a folder goes</text>
{% for each in parts %}
<rect class="bar" fill-opacity="{{ 1 if loop.index % 2 else 0.6 }}" x="{{ each.left | round(1) }}"
      y="{{ stages_top + 14 }}" width="{{ each.width | round(1) }}"
      height="22"><title>{{ each.name }}: {{ each.told }}</title></rect>
{% if each.width > 80 %}
<text class="quiet small" x="{{ each.left | round(1) }}"
      y="{{ stages_top + 52 }}">{{ each.name }} {{ each.share }}</text>
{% endif %}
{% endfor %}
{% endif %}
{% if panels %}
<text class="title" x="20" y="{{ panels_top }}">How time grows; dashed: twice as much takes twice as long</text>
{% for each in panels %}
<g transform="translate({{ each.left }} {{ each.top }})">
<rect class="frame" width="{{ panel }}" height="{{ panel }}"/>
<line class="one" x1="0" y1="{{ panel }}" x2="{{ panel }}" y2="0"/>
<polyline class="line" points="{% for x, y in each.points %}{{ "%.1f,%.1f " | format(x, y) }}{% endfor %}"/>
<text x="0" y="-6">{{ each.name }} <tspan class="quiet">{{ "%.2f" | format(each.slope) }}</tspan></text>
<text class="quiet small" x="0" y="{{ panel + 14 }}">{{ each.first }}</text>
<text class="quiet small" x="{{ panel }}" y="{{ panel + 14 }}" text-anchor="end">{{ each.last }}</text>
</g>
{% endfor %}
{% endif %}
</svg>
""")
