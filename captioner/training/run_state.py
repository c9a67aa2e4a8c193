"""Everything that changes while a network is trained, as one file from which the run goes on as if never stopped."""

from __future__ import annotations

import copy
import io
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import get_cosine_schedule_with_warmup

from captioner.config import TrainingConfig
from captioner.durable import write_whole
from captioner.errors import TrainingError
from captioner.model.captioning import CaptioningModel
from captioner.model.last_blocks import split_encoder


@dataclass
class Progress:
    """Where a run stands."""

    step: int = 0
    """Batches so far; the next one's number."""
    skipped_in_a_row: int = 0
    best_cider_d: float = float("-inf")
    best_bleu_4: float = float("-inf")
    evaluations_since_best: int = 0
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    """What `metrics.jsonl` holds."""
    # Since the last evaluation:
    loss_sum: float = 0.0
    """Over all words."""
    reward_sum: float = 0.0
    """Over all pictures."""
    words: int = 0
    pictures: int = 0
    seconds: float = 0.0
    skipped: int = 0


class Learning(nn.Module):
    """The parts of a model that learn: its decoder and the last blocks of its encoder, if any."""

    def __init__(self, model: CaptioningModel) -> None:
        super().__init__()
        self.decoder = model.decoder
        self.last_blocks = split_encoder(model.encoder, model.config.training.tuned_blocks).last


class RunState:
    """The weights, their average, the optimiser, the schedule and the progress of one run.

    Random numbers are no part of it: they follow from the seed and the step (see `captioner.training.noise`).
    """

    def __init__(self, model: CaptioningModel, settings: TrainingConfig, *, steps: int, identity: str) -> None:
        """`identity` is equal for runs that may go on from each other's state."""
        self.settings = settings
        self.config = model.config
        self.current = Learning(model)
        self.averaged = _copy(model)
        """The model with the exponential average of the weights."""
        self.average = Learning(self.averaged)
        groups: list[dict[str, Any]] = [
            {"params": self.current.decoder.parameters()},
            {"params": self.current.last_blocks.parameters(), "lr": settings.encoder_learning_rate},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)
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
            pairs = zip(self.average.parameters(), self.current.parameters(), strict=True)
            for average, current in pairs:
                average.lerp_(current, 1 - decay)

    def save(self, path: Path) -> None:
        """Write the state to `path`, whole or not at all. Raises DataError when it cannot be written."""
        state = {
            "weights": self.current.state_dict(),
            "average": self.average.state_dict(),
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
        state = _read(path)
        if state["identity"] != self.identity:
            raise TrainingError(
                f"A run must be resumed with its own recipe, collection and --from, by the version of Captioner that "
                f"began it, but those of {path} differ; give the same ones, or train into a new folder."
            )
        self.current.load_state_dict(state["weights"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.progress = Progress(**state["progress"])


def take_average(model: CaptioningModel, path: Path) -> None:
    """Give a model of a run the averaged weights of the state in `path`. Raises TrainingError when that is damaged."""
    Learning(model).load_state_dict(_read(path)["average"])


def _read(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if missing := {"identity", "average"} - state.keys():
            raise KeyError(*missing)
    except Exception as error:  # a damaged file fails in many ways
        raise TrainingError(f"The state of the run in {path} is damaged ({error}); train into a new folder.") from error
    return state


def _copy(model: CaptioningModel) -> CaptioningModel:
    """The same model with weights of its own, but for an encoder that does not learn."""
    encoder, config = model.encoder, model.config
    if config.training.tuned_blocks:
        encoder = copy.deepcopy(encoder)
        config = replace(config, encoder=replace(config.encoder, weights="tuned"))
    decoder = copy.deepcopy(model.decoder)
    return CaptioningModel(encoder, decoder, model.vocabulary, config, precision=model.precision).eval()
