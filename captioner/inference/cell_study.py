"""The figures of a study of recurrent cells: what was measured, a table of it, and sentences that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import mean
from typing import NamedTuple

KINDS = {"attend": "with attention", "show_and_tell": "without attention"}
"""The decoders that are compared, by the names a recipe gives them."""
CELLS = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}
"""The cells, likewise."""

_BRIDGED = 0.9
"""A network that is right so often has learnt the copy task."""
_LATER = 10
"""At how many words' distance the gradients are told in words."""


class Trained(NamedTuple):
    """One captioner that was trained."""

    kind: str
    cell: str
    seed: int
    command: str
    """What trains it again."""
    parameters: int
    """Of its decoder."""
    losses: list[tuple[int, float]]
    """Steps, and the mean loss of the training pictures over the stretch that ends there, in nats a word."""
    cider_d: float
    """Of greedy captions of the development pictures by the model that was kept, times 100."""
    bleu_4: float
    fresh_flow: list[float]
    """Its `gradient_flow` before the first step."""
    trained_flow: list[float]
    """That of the model that was kept."""


class Copied(NamedTuple):
    """One network that was taught the copy task."""

    cell: str
    gap: int
    seed: int
    accuracy: float


class Spread(NamedTuple):
    """One figure of runs that differ in their seed."""

    mean: float
    low: float
    high: float

    def told(self, digits: int = 1) -> str:
        """Such as `21.3 (20.9 – 21.8)`; only `21.3` where there is nothing between which it could vary."""
        between = f" ({self.low:.{digits}f} – {self.high:.{digits}f})" if self.low < self.high else ""
        return f"{self.mean:.{digits}f}{between}"


class Row(NamedTuple):
    """One cell, with attention or without: what its runs came to."""

    kind: str
    cell: str
    label: str
    parameters: int
    cider_d: Spread
    bleu_4: Spread
    loss: Spread
    """The last."""
    runs: list[Trained]


def rows(trained: Sequence[Trained]) -> list[Row]:
    """The table: what has been trained, with attention first, each cell's seeds together."""
    groups: dict[tuple[str, str], list[Trained]] = {(kind, cell): [] for kind in KINDS for cell in CELLS}
    for run in trained:
        groups[run.kind, run.cell].append(run)
    return [
        Row(
            kind=kind,
            cell=cell,
            label=f"{CELLS[cell]}, {KINDS[kind]}",
            parameters=runs[0].parameters,
            cider_d=_spread(run.cider_d for run in runs),
            bleu_4=_spread(run.bleu_4 for run in runs),
            loss=_spread(run.losses[-1][1] for run in runs),
            runs=runs,
        )
        for (kind, cell), runs in groups.items()
        if runs
    ]


def findings(table: Sequence[Row], copied: Sequence[Copied], *, chance: float) -> list[str]:
    """What the figures say, in sentences that they choose."""
    return [*_best_cells(table), *_gain_of_attention(table), *_gradients_left(table), *_bridged(copied, chance)]


def _spread(values: Iterable[float]) -> Spread:
    numbers = list(values)
    return Spread(mean(numbers), min(numbers), max(numbers))


def _best_cells(table: Sequence[Row]) -> list[str]:
    sentences = []
    for kind, name in KINDS.items():
        ordered = sorted((row for row in table if row.kind == kind), key=lambda row: -row.cider_d.mean)
        if len(ordered) < 2:
            continue
        best, *others = ordered
        near = [CELLS[row.cell] for row in others if row.cider_d.high >= best.cider_d.low]
        whose = f"{name.capitalize()} the highest mean CIDEr-D is the {CELLS[best.cell]}’s, {best.cider_d.told()}"
        if len(best.runs) == 1:
            sentences.append(f"{whose}; from one seed each, which may be chance.")
        elif near:
            sentences.append(f"{whose}, but the range of the {' and the '.join(near)} overlaps with its own.")
        else:
            sentences.append(f"{whose}, clear of the others’.")
    return sentences


def _gain_of_attention(table: Sequence[Row]) -> list[str]:
    means = {(row.kind, row.cell): row.cider_d.mean for row in table}
    gains = [
        f"{means['attend', cell] - means['show_and_tell', cell]:+.1f} ({name})"
        for cell, name in CELLS.items()
        if {("attend", cell), ("show_and_tell", cell)} <= set(means)
    ]
    return [f"With attention instead of without, the mean CIDEr-D changes by {', '.join(gains)}."] if gains else []


def _gradients_left(table: Sequence[Row]) -> list[str]:
    sentences = []
    for kind, name in KINDS.items():
        here = [row for row in table if row.kind == kind and len(row.runs[0].fresh_flow) >= _LATER]
        if here:
            fresh, trained = (
                ", ".join(
                    f"{CELLS[row.cell]} {_share(mean(flow(run)[_LATER - 1] for run in row.runs))}" for row in here
                )
                for flow in FLOWS.values()
            )
            sentences.append(
                f"{name.capitalize()}, of the gradient that the next word sends to the first, a word {_LATER} places "
                f"after it sends this share: fresh {fresh}; trained {trained}."
            )
    return sentences


def _share(value: float) -> str:
    """Such as 0.25, or 1/300 for what would have many zeros."""
    if value >= 0.1:
        return f"{value:.2f}"
    return f"1/{1 / value:,.0f}" if value else "none"


def _bridged(copied: Sequence[Copied], chance: float) -> list[str]:
    told = []
    for cell, name in CELLS.items():
        lowest = {
            gap: min(copy.accuracy for copy in copied if (copy.cell, copy.gap) == (cell, gap))
            for gap in sorted({copy.gap for copy in copied if copy.cell == cell})
        }
        if lowest:
            reached = [gap for gap, accuracy in lowest.items() if accuracy >= _BRIDGED]
            told.append(f"{name} {max(reached) if reached else 'none'}")
    if not told:
        return []
    return [
        f"The longest gap over which every network still copied at least {_BRIDGED:.0%} of the symbols: "
        f"{', '.join(told)}; guessing gets {chance:.1%}."
    ]


FLOWS: dict[str, Callable[[Trained], list[float]]] = {
    "Gradients in fresh cells": lambda run: run.fresh_flow,
    "Gradients in trained cells": lambda run: run.trained_flow,
}
