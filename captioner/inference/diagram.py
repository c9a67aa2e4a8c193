"""Where everything lies in the diagrams of an explanation's page: numbers for inline SVG, no drawing."""

from __future__ import annotations

import itertools
from typing import Literal, NamedTuple

import numpy as np

from captioner.inference.beam_tree import BeamTree, Branch
from captioner.inference.drawing import source_colour
from captioner.inference.explanation import END_TEXT, GateSummary
from captioner.inference.ledger import MemoryLedger
from captioner.search.fate import Fate
from captioner.text.vocabulary import SPECIAL_TOKENS, START

ROW, BAR = 46, 30
"""Heights in pixels: from one word of the ledger to the next, and of its bar; between two bars run ribbons."""

_LINE, _TOP, _LETTER, _GAP = 30, 24, 9.2, 40


Room = Literal["none", "little", "some", "enough"]
"""For a name in its bar: none, where bars are about 700 pixels wide, where they are 450, or even on a telephone."""


class Part(NamedTuple):
    """One source's part of the memory at one word; `x` and `width` are percentages."""

    source: int
    name: str
    colour: str
    x: float
    width: float
    room: Room


class Ribbon(NamedTuple):
    """What remains of a part at the next word: the corners of a polygon, in percent across and pixels down."""

    points: str
    colour: str


class Band(NamedTuple):
    """A gate at one word, in percent of its scale."""

    start: float
    width: float
    mean: float
    told: str
    """Mean and spread as they are."""


class Spot(NamedTuple):
    """A hypothesis in the lattice; pixels."""

    text: str
    beginning: str
    """Everything it says."""
    told: str
    x: float
    y: float
    chosen: bool


class Link(NamedTuple):
    """From a hypothesis to one that goes on from it: the path of an SVG curve."""

    path: str
    chosen: bool


class Lattice(NamedTuple):
    """The hypotheses that were kept, a column for each step."""

    width: int
    height: int
    spots: list[Spot]
    links: list[Link]


def ledger_parts(ledger: MemoryLedger) -> list[list[Part]]:
    """For each step the parts of its memory, side by side, oldest first."""
    names = ["picture", *("start" if word == SPECIAL_TOKENS[START] else word for word in ledger.read)]
    rows = []
    for time, shares in enumerate(100 * ledger.shares):
        ends = np.cumsum(shares)
        row = []
        for source in range(time + 2):
            name, width = names[source], float(shares[source])
            left = float(ends[source]) - width
            row.append(Part(source, name, source_colour(source), left, width, _room(name, width)))
        rows.append(row)
    return rows


def _room(name: str, width: float) -> Room:
    needed = 7.5 * len(name) + 12  # pixels
    if 1.5 * width >= needed:
        return "enough"
    return "some" if 4.5 * width >= needed else "little" if 7 * width >= needed else "none"


def ledger_ribbons(rows: list[list[Part]]) -> list[Ribbon]:
    """What joins each part with itself at the next word."""
    ribbons = []
    for time, (above, below) in enumerate(itertools.pairwise(rows)):
        top, bottom = time * ROW + BAR, (time + 1) * ROW
        for upper, lower in zip(above, below, strict=False):
            corners = [
                (upper.x, top),
                (upper.x + upper.width, top),
                (lower.x + lower.width, bottom),
                (lower.x, bottom),
            ]
            ribbons.append(Ribbon(" ".join(f"{x:.2f},{y}" for x, y in corners), upper.colour))
    return ribbons


def gate_band(gate: GateSummary, *, lowest: float) -> Band:
    """The middle 80 % of a gate's units, on the scale from `lowest` to 1."""
    low, high, mean = (100 * (value - lowest) / (1 - lowest) for value in (gate.low, gate.high, gate.mean))
    return Band(low, high - low, mean, f"{gate.mean:z.2f} ± {gate.spread:.2f}".replace("-", "−"))


def lattice(tree: BeamTree) -> Lattice:
    """The hypotheses that were kept, each step's best on top, and how they go on from each other."""
    chosen = tree.chosen
    kept = [b for b in tree.branches if b.fate in (Fate.KEPT, Fate.STOPPED, Fate.BEST) or b.number in chosen]
    columns: dict[int, list[int]] = {}
    depth: dict[int, int] = {}
    for branch in kept:
        depth[branch.number] = 0 if branch.parent is None else depth[branch.parent] + 1
        columns.setdefault(depth[branch.number], []).append(branch.number)
    places: dict[int, tuple[float, float]] = {}
    left = 4.0
    for _, numbers in sorted(columns.items()):
        numbers.sort(key=lambda number: -tree.branches[number].log_probability)
        for line, number in enumerate(numbers):
            places[number] = (left, _TOP + line * _LINE)
        left += _LETTER * max(len(_shown(tree.branches[number])) for number in numbers) + _GAP
    spots, links = [], []
    for branch in kept:
        on_path = branch.number in chosen
        spots.append(Spot(_shown(branch), branch.beginning or "", _told(branch), *places[branch.number], on_path))
        if branch.parent is not None:
            parent = tree.branches[branch.parent]
            start_x, start_y = places[branch.parent]
            start = start_x + _LETTER * len(_shown(parent)) + 4, start_y - 5
            end_x, end_y = places[branch.number]
            links.append(Link(_curve(start, (end_x - 5, end_y - 5)), on_path))
    height = _TOP + max(map(len, columns.values())) * _LINE
    return Lattice(round(left), height, spots, sorted(links, key=lambda link: link.chosen))


def _shown(branch: Branch) -> str:
    return "start" if branch.parent is None else "(end)" if branch.text == END_TEXT else branch.text


def _told(branch: Branch) -> str:
    return f"“{branch.beginning or 'start'}” {branch.fate}; score {branch.score:.2f}"


def _curve(start: tuple[float, float], end: tuple[float, float]) -> str:
    """An SVG path that leaves and arrives level."""
    (from_x, from_y), (to_x, to_y) = start, end
    middle = (from_x + to_x) / 2
    return f"M{from_x:.0f} {from_y:.0f}C{middle:.0f} {from_y:.0f} {middle:.0f} {to_y:.0f} {to_x:.0f} {to_y:.0f}"
