"""What the model computed for each word of a caption.

Everything here is read off the network while it says the caption once more; nothing is estimated afterwards. It
tells what was computed, not why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captioner.inference.beam_tree import BeamTree, spell
from captioner.inference.caption import Caption
from captioner.inference.ledger import MemoryLedger, memory_ledger
from captioner.model.captioning import CaptioningModel, Trace
from captioner.model.cells import Gates
from captioner.search.tree import Tree
from captioner.text.vocabulary import END, SPECIAL_TOKENS, START

END_TEXT = SPECIAL_TOKENS[END]
"""How the end of the sentence is spelt among the words."""

_QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Alternative:
    """A word that could have been said instead."""

    text: str
    """`<end>` is the end of the sentence."""
    probability: float
    """That the model gave it in that place, between 0 and 1."""


@dataclass(frozen=True)
class GateSummary:
    """One gate at one word, over all hidden units: 0 to 1, the candidate -1 to 1."""

    mean: float
    spread: float
    """Standard deviation over the units."""
    low: float
    """A tenth of the units lie below."""
    median: float
    high: float
    """A tenth of the units lie above."""


@dataclass(frozen=True)
class WordGates:
    """The gates of the cell that speaks, at one word; None where the cell has no such gate.

    New memory = forget * old memory + input * candidate; the output gate says how much of it is shown.
    """

    forget: GateSummary | None
    input: GateSummary | None
    candidate: GateSummary
    output: GateSummary | None


@dataclass(frozen=True)
class ExplainedWord:
    """One word of a caption."""

    text: str
    probability: float
    """That the model gave this word after those before it, between 0 and 1; rules of the search play no part."""
    attention: NDArray[np.float32] | None
    """(grid height, grid width): how much it looked at each cell of the picture; None without attention.

    Sums to one, or to less where the model has a sentinel: the rest is `not_looking`.
    """
    not_looking: float
    """The share of attention on what the decoder remembers instead of on the picture."""
    alternatives: tuple[Alternative, ...] = ()
    """The likeliest other words in this place, likeliest first. One may be likelier than the word itself, since
    the search chooses whole sentences."""
    gates: WordGates | None = None
    confidence: float | None = None
    """The probability that a person would use it of this picture (see `Caption.word_confidences`)."""

    def as_json(self) -> dict[str, Any]:
        """Plain numbers and lists, rounded to 4 decimals; probabilities to 4 significant digits."""
        gates = self.gates and {
            name: gate and {statistic: round(value, 4) for statistic, value in gate.items()}
            for name, gate in asdict(self.gates).items()
        }
        return {
            "text": self.text,
            "probability": _significant(self.probability),
            "confidence": None if self.confidence is None else round(self.confidence, 4),
            "alternatives": [
                {"text": other.text, "probability": _significant(other.probability)} for other in self.alternatives
            ],
            "attention": None if self.attention is None else np.round(self.attention.astype(float), 4).tolist(),
            "not_looking": round(self.not_looking, 4),
            "gates": gates,
        }


@dataclass(frozen=True)
class Explanation:
    """A caption, word by word."""

    caption: Caption
    """What is said, what else the search found, and how sure the model is."""
    words: tuple[ExplainedWord, ...]
    end: ExplainedWord | None = None
    """The decision to stop after the last word; its text is `<end>`."""
    ledger: MemoryLedger | None = None
    """Of what the memory consisted at each word and at the end; None for a plain RNN (see `ledger.NO_LEDGER`)."""
    tree: BeamTree | None = None
    """Every hypothesis of the search; None for greedy search, which weighs one."""

    @property
    def text(self) -> str:
        """The caption as a sentence."""
        return self.caption.text or ""

    @property
    def said(self) -> tuple[ExplainedWord, ...]:
        """The words, and the end where it is known."""
        return self.words if self.end is None else (*self.words, self.end)

    @property
    def log_probability(self) -> float:
        """Natural logarithm of the probability of the whole sentence."""
        return sum(math.log(max(word.probability, np.finfo(float).tiny)) for word in self.said)

    def as_json(self) -> dict[str, Any]:
        """Everything but the single hidden units, as plain lists and dicts."""
        return {
            "caption": self.text,
            "log_probability": round(self.log_probability, 4),
            "confidence": None if self.caption.confidence is None else round(self.caption.confidence, 4),
            "uncertain": self.caption.uncertain,
            "candidates": [
                {"text": other.text, "log_probability": round(other.log_probability, 4)}
                for other in self.caption.candidates
            ],
            "words": [word.as_json() for word in self.words],
            "end": self.end and self.end.as_json(),
            "memory_ledger": self.ledger and self.ledger.as_json(),
            "beam_tree": self.tree and [branch.as_json() for branch in self.tree.branches],
        }


def explain(
    model: CaptioningModel,
    said: Sequence[int],
    trace: Trace,
    *,
    caption: Caption,
    tree: Tree | None = None,
    alternatives: int = 5,
) -> Explanation:
    """Report what the network computed for each word of a caption.

    Args:
        model: what said it.
        said: the words (ids) of the caption's first candidate.
        trace: of saying them.
        caption: what is known of it already.
        tree: of the search that found it.
        alternatives: how many other words to name in each place.
    """
    grid = (model.encoder.grid_height, model.encoder.grid_width)
    confidences = [*(caption.word_confidences or [None] * len(said)), None]
    explained = []
    for time, (word, confidence) in enumerate(zip([*said, END], confidences, strict=True)):
        attention, not_looking = _looked(trace, time, grid)
        explained.append(
            ExplainedWord(
                text=model.vocabulary.words[word],
                probability=float(trace.log_probabilities[time].exp()),
                attention=attention,
                not_looking=not_looking,
                alternatives=_alternatives(trace.distributions[time], model.vocabulary.words, word, alternatives),
                gates=_summaries(trace.gates[time]),
                confidence=confidence,
            )
        )
    ledger = None
    if trace.gates[0].forget is not None:
        read = [SPECIAL_TOKENS[START], *model.vocabulary.decode(said)]
        ledger = memory_ledger(trace, read=read, cell=_whose_memory(model))
    spelt = None if tree is None else spell(tree, model.vocabulary.words, model.vocabulary.decode(said))
    return Explanation(caption, tuple(explained[:-1]), explained[-1], ledger, spelt)


def _looked(trace: Trace, time: int, grid: tuple[int, int]) -> tuple[NDArray[np.float32] | None, float]:
    """Where a step looked (grid height, grid width), and how much of its attention was not on the picture."""
    if trace.weights is None:
        return None, 0.0
    weights = trace.weights[time].float().cpu().numpy()
    regions = grid[0] * grid[1]
    return weights[:regions].reshape(grid), float(weights[regions:].sum())


def _alternatives(distribution: Tensor, words: Sequence[str], said: int, count: int) -> tuple[Alternative, ...]:
    """The `count` likeliest words of log-probabilities (vocabulary,) but the one said."""
    others = distribution.clone()
    others[said] = -torch.inf
    likeliest = others.topk(min(count, len(words)))
    return tuple(
        Alternative(words[word], math.exp(log_probability))
        for log_probability, word in zip(likeliest.values.tolist(), likeliest.indices.tolist(), strict=True)
        if log_probability > -math.inf
    )


def _summaries(gates: Gates) -> WordGates:
    summaries = {name: None if gate is None else _summary(gate) for name, gate in gates._asdict().items()}
    return WordGates(**summaries)  # type: ignore[arg-type]


def _summary(gate: Tensor) -> GateSummary:
    units = gate.cpu().double()
    low, median, high = units.quantile(torch.tensor(_QUANTILES, dtype=units.dtype)).tolist()
    return GateSummary(float(units.mean()), float(units.std(correction=0)), low, median, high)


def _whose_memory(model: CaptioningModel) -> str:
    memory = "cell state" if model.config.decoder.cell == "lstm" else "hidden state"
    if model.decoder.speaking_cell == "language":
        return (
            f"the {memory} of the language cell, the one that speaks; it starts empty, and the picture reaches it "
            "only through attention"
        )
    return f"the {memory} of the decoder's one cell"


def _significant(probability: float) -> float:
    return float(f"{probability:.4g}")
