"""Telling TensorBoard, Weights & Biases or trackio the figures of a run as they come; none of them is needed."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from captioner.errors import ConfigError, TrainingError
from captioner.training.events import Evaluated, Event, StepDone

Service = Literal["tensorboard", "wandb", "trackio"]

STEPS_BETWEEN = 10
"""Of so many steps the loss of one is told."""

_PROJECT = "captioner"

_Log = Callable[[int, dict[str, float]], None]
"""What takes the step and figures by their names."""


@contextlib.contextmanager
def tracking(service: Service | None, folder: Path) -> Iterator[Callable[[Event], None]]:
    """What to tell every event of the run in `folder`, for `service` to keep; None keeps nothing.

    Raises ConfigError when the service is not installed; what is called raises TrainingError when it cannot begin.
    """
    if service is None:
        yield lambda event: None
        return
    begin = _SERVICES[service]
    module = _imported("torch.utils.tensorboard" if service == "tensorboard" else service, service)
    log: _Log | None = None
    with contextlib.ExitStack() as stack:

        def tell(event: Event) -> None:
            nonlocal log
            figures = _figures(event)
            if isinstance(event, StepDone | Evaluated) and figures:
                if log is None:
                    # Only now the recipe is written, and the step known that a resumed run goes on from.
                    try:
                        log = stack.enter_context(begin(module, folder, event.step))
                    except Exception as error:  # each service has its own, such as not being logged in
                        raise TrainingError(
                            f"{service} must be able to begin, but could not ({error}); set it up, or go on without "
                            "--track."
                        ) from error
                log(event.step, figures)

        yield tell


def _imported(module: str, service: Service) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"--track {service} needs a package that is not installed ({error}); install it with "
            f"`pip install {service}`, or all three with `pip install 'captioner[tracking]'`."
        ) from error


def _figures(event: Event) -> dict[str, float]:
    """What is worth keeping of an event; most steps tell nothing."""
    match event:
        case StepDone() if event.step % STEPS_BETWEEN == 0:
            told = {"train/loss": event.loss, "train/reward": event.reward}
            return _there(told) | {"train/words_per_second": event.words / event.seconds}
        case Evaluated():
            scores = {"development/cider_d": event.cider_d, "development/bleu_4": event.bleu_4}
            means = _there({"train/mean_loss": event.loss, "train/mean_reward": event.reward})
            return {"epoch": event.epoch, "train/skipped": event.skipped, **means, **scores}
    return {}


def _there(figures: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if value is not None}


@contextlib.contextmanager
def _tensorboard(module: Any, folder: Path, step: int) -> Iterator[_Log]:
    # What a run that died told after its last state comes again, and is not to be shown twice.
    with module.SummaryWriter(str(folder / "tensorboard"), purge_step=step) as writer:

        def log(step: int, figures: dict[str, float]) -> None:
            for name, value in figures.items():
                writer.add_scalar(name, value, step)

        yield log


@contextlib.contextmanager
def _wandb(module: Any, folder: Path, step: int) -> Iterator[_Log]:
    # "auto": a run that did not come to its end is gone on with when it begins in the same folder again.
    settings = {"project": _PROJECT, "name": folder.resolve().name, "config": _recipe(folder)}
    with module.init(**settings, dir=str(folder), resume="auto") as run:
        yield lambda step, figures: run.log(figures, step=step)


@contextlib.contextmanager
def _trackio(module: Any, folder: Path, step: int) -> Iterator[_Log]:
    settings = {"project": _PROJECT, "name": folder.resolve().name, "config": _recipe(folder)}
    module.init(**settings, resume="allow")
    try:
        yield lambda step, figures: module.log(figures, step=step)
    finally:
        module.finish()


_SERVICES = {"tensorboard": _tensorboard, "wandb": _wandb, "trackio": _trackio}


def _recipe(folder: Path) -> Any:
    return json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
