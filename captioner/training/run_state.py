"""Everything that changes while a network is trained, as one file from which the run goes on as if never stopped."""

from __future__ import annotations

import copy
import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import get_cosine_schedule_with_warmup

from captioner.config import TrainingConfig
from captioner.durable import write_whole
from captioner.errors import TrainingError
from captioner.model.captioning import CaptioningModel


@dataclass
class Progress:
    """Where a run stands."""

    step: int = 0
    """Batches so far; the next one's number."""
    skipped_in_a_row: int = 0
    best_cider_d: float = float("-inf")
    evaluations_since_best: int = 0
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    """What `metrics.jsonl` holds."""
    # Since the last evaluation:
    loss_sum: float = 0.0
    words: int = 0
    seconds: float = 0.0
    skipped: int = 0


class RunState:
    """The weights, their average, the optimiser, the schedule and the progress of one run.

    Random numbers are no part of it: they follow from the seed and the step (see `captioner.training.noise`).
    """

    def __init__(self, model: CaptioningModel, settings: TrainingConfig, *, steps: int, identity: str) -> None:
        """`identity` is equal for runs that may go on from each other's state."""
        self.settings = settings
        self.decoder = model.decoder
        average = copy.deepcopy(model.decoder).eval()
        self.averaged = CaptioningModel(model.encoder, average, model.vocabulary, model.config)
        """The model with the exponential average of the weights."""
        self.optimizer = torch.optim.AdamW(
            self.decoder.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.schedule = get_cosine_schedule_with_warmup(self.optimizer, settings.warmup_steps, steps)
        self.identity = identity
        self.progress = Progress()

    def descend(self) -> None:
        """One step of gradient descent, with the gradients that are there."""
        self.optimizer.step()
        self.schedule.step()
        # Over the first steps a shorter average, so that it forgets the start.
        steps = self.schedule.last_epoch
        decay = min(self.settings.average_decay, (1 + steps) / (10 + steps))
        with torch.no_grad():
            pairs = zip(self.averaged.decoder.parameters(), self.decoder.parameters(), strict=True)
            for average, current in pairs:
                average.lerp_(current, 1 - decay)

    def save(self, path: Path) -> None:
        """Write the state to `path`, whole or not at all. Raises DataError when it cannot be written."""
        state = {
            "decoder": self.decoder.state_dict(),
            "average": self.averaged.decoder.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "progress": asdict(self.progress),
            "identity": self.identity,
        }
        # PyTorch tells a full disk as a RuntimeError when it writes to a file itself.
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_whole(path, buffer.getvalue())

    def load(self, path: Path) -> None:
        """Go on from a state that `save` wrote.

        Raises TrainingError when it is damaged, or of another run.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            identity = state["identity"]
        except Exception as error:  # a damaged file fails in many ways
            raise TrainingError(
                f"The state of the run in {path} is damaged ({error}); train into a new folder."
            ) from error
        if identity != self.identity:
            raise TrainingError(
                f"A run must be resumed with its own recipe, collection and --from, but those of {path} differ; "
                "give the same ones, or train into a new folder."
            )
        self.decoder.load_state_dict(state["decoder"])
        self.averaged.decoder.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.progress = Progress(**state["progress"])
