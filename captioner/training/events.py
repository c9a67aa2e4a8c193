"""What happens while a network is trained, as `fit` tells it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class StepDone:
    """One batch was learnt."""

    epoch: int
    """How often all pictures were seen before."""
    step: int
    """Batches so far, this one and the skipped ones among them."""
    steps: int
    """Batches of the whole run."""
    loss: float | None
    """Cross-entropy, mean per word, in nats; None where captions are drawn and have a reward instead."""
    words: int
    seconds: float
    reward: float | None = None
    """Mean of the drawn captions, on the scale of CIDEr-D times 100; None where none are drawn."""


@dataclass(frozen=True)
class StepSkipped:
    """One batch was not learnt: its loss or gradient was not finite, or its loss exploded."""

    step: int
    loss: float
    pictures: list[str]
    """The names of the batch's pictures."""


@dataclass(frozen=True)
class MemoryShort:
    """Memory ran out; from now on this process computes a batch in parts of so many pictures, with the same result."""

    pictures_at_once: int


@dataclass(frozen=True)
class Evaluated:
    """The development pictures were captioned."""

    epoch: float
    """How often the training pictures have been seen."""
    step: int
    """Batches so far; 0: what an older model is worth before it learns from these pictures."""
    loss: float | None
    """Like that of `StepDone`, mean since the last evaluation; None before the first step too."""
    cider_d: float
    """Of greedy captions of the development pictures, times 100."""
    bleu_4: float
    """Likewise, times 100."""
    words_per_second: float | None
    seconds: float
    """Spent on learning since the last evaluation."""
    skipped: int
    """Batches skipped since the last evaluation."""
    best: bool
    """Whether this is the best evaluation so far; its weights are in `best/`."""
    examples: dict[str, str] = field(default_factory=dict)
    """The captions of a few development pictures, always the same ones, by their names."""
    reward: float | None = None
    """Like that of `StepDone`, mean since the last evaluation; None before the first step too."""


Event = StepDone | StepSkipped | MemoryShort | Evaluated
