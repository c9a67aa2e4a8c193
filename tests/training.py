"""A tiny network and pictures to train it on: random features that tell which of three sentences is theirs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from captioner.data.features import CaptionedFeatures, RegionFeatures
from captioner.data.views import Views
from captioner.model.captioning import CaptioningModel
from captioner.model.last_blocks import split_encoder
from captioner.training.events import Evaluated, Event, StepDone
from captioner.training.loop import fit
from captioner.training.processes import ALONE, Processes
from tests.conftest import SENTENCES, tiny_model


def model_to_train(**settings: object) -> CaptioningModel:
    """Three epochs of six batches, unless told otherwise."""
    model = tiny_model()
    chosen = {"epochs": 3, "pictures_per_batch": 4, "learning_rate": 0.01, "warmup_steps": 2, "bf16": "never"}
    training = replace(model.config.training, **{**chosen, **settings})  # type: ignore[arg-type]
    model.config = replace(model.config, training=training)
    return model


def some_pictures(model: CaptioningModel, count: int, views: int) -> CaptionedFeatures:
    encoder = split_encoder(model.encoder, model.config.training.tuned_blocks).first
    random = np.random.default_rng(count)
    features = random.random((count, views, encoder.regions, encoder.feature_size)).astype(np.float16)
    captions = []
    for picture in range(count):
        features[picture, :, :, 100 * (picture % 3) : 100 * (picture % 3) + 100] += 3
        # One, two or three captions: a share of a batch has its own number of words.
        captions.append([SENTENCES[picture % 3]] * (1 + picture % 3))
    return CaptionedFeatures(
        RegionFeatures([features], Views(mirrored=views == 2)), captions, [f"{number}.jpg" for number in range(count)]
    )


def train(
    model: CaptioningModel,
    folder: Path,
    *,
    resume: bool = False,
    evaluate_first: bool = False,
    processes: Processes = ALONE,
) -> list[Event]:
    """A whole run, or the rest of one."""
    pictures, development = some_pictures(model, 22, 2), some_pictures(model, 6, 1)
    return list(
        fit(
            model,
            pictures,
            development,
            folder=folder,
            resume=resume,
            evaluate_first=evaluate_first,
            processes=processes,
        )
    )


def losses(events: list[Event]) -> list[float]:
    """What every step told; in a self-critical run its reward."""
    return [event.loss if event.reward is None else event.reward for event in events if isinstance(event, StepDone)]


def evaluations(events: list[Event]) -> list[Evaluated]:
    return [event for event in events if isinstance(event, Evaluated)]


def begin(
    model: CaptioningModel,
    folder: Path,
    *,
    after: int,
    then: int | None = None,
    resume: bool = False,
    processes: Processes = ALONE,
) -> list[float]:
    """Train for some steps -> their losses; then send this process a signal, or stop dead as after kill -9."""
    told: list[Event] = []
    pictures, development = some_pictures(model, 22, 2), some_pictures(model, 6, 1)
    for event in fit(model, pictures, development, folder=folder, resume=resume, processes=processes):
        told.append(event)
        if len(losses(told)) == after and isinstance(event, StepDone):
            if then is None:
                break
            os.kill(os.getpid(), then)
    return losses(told)
