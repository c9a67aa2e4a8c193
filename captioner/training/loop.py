"""Training as a generator: `fit` yields after every step and every evaluation, and its caller shows what it likes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch

from captioner.config import TrainingConfig, to_dict
from captioner.data.features import CaptionedFeatures
from captioner.errors import TrainingError
from captioner.interruption import stop_requests
from captioner.model.captioning import CaptioningModel
from captioner.text.mirroring import mirrored_caption
from captioner.training.development import Development
from captioner.training.events import Evaluated, Event, MemoryShort, StepDone, StepSkipped
from captioner.training.learner import Learner
from captioner.training.plan import Plan
from captioner.training.processes import ALONE, Processes
from captioner.training.reward import Reward
from captioner.training.run_folder import RunFolder, state_file
from captioner.training.run_state import RunState


class Interrupted(TrainingError):
    """Someone asked the run to stop; its state is saved."""


def fit(
    model: CaptioningModel,
    train: CaptionedFeatures,
    validation: CaptionedFeatures,
    *,
    folder: Path,
    resume: bool = False,
    evaluate_first: bool = False,
    processes: Processes = ALONE,
) -> Iterator[Event]:
    """Train the decoder of `model`, and the last blocks of its encoder if the recipe says so, into the run `folder`.

    The features are those of the encoder's other blocks, computed before (see `split_encoder`); from them on all is
    learnt, by teacher forcing or from captions that the model draws.
    Uses the device the model is on. Afterwards `best/` holds the model that captioned the development pictures best;
    with `evaluate_first` that may be the one it began with. To `resume` goes on where the folder's state stands and
    begins where there is none yet. Only the first of several `processes` writes.

    Raises Interrupted on Ctrl-C or SIGTERM after saving the state; TrainingError when batch after batch cannot be
    learnt, the model is folded for captioning, or the folder's state is damaged or another run's; DataError when the
    folder cannot be written.
    """
    if model.decoder.folded:
        raise TrainingError(
            "A model that is to learn must be as it was stored, but this one was made ready for captioning; begin from "
            "`load_checkpoint(folder)`."
        )
    settings, device = model.config.training, model.device
    encode = model.vocabulary.encode
    captions = [[encode(caption) for caption in row] for row in train.captions]
    views = train.features.views
    mirrored = _mirrored(train.captions, captions, encode) if views.mirrored else captions
    plan = Plan(settings, captions, mirrored_captions=mirrored, views=views)
    state = RunState(model, settings, steps=plan.steps, identity=_identity(model, train, validation))
    if resume and state_file(folder).exists():
        state.load(state_file(folder))
    reward = None
    if settings.objective == "self_critical":
        reward = Reward(train.captions, model.vocabulary, bleu_weight=settings.bleu_weight)
    learner = Learner(state, train.features, reward=reward, processes=processes, device=device)
    processes.wait()  # until every process has read the state that the first is about to write
    with contextlib.ExitStack() as stack:
        files = stack.enter_context(RunFolder(folder, state, device=device)) if processes.first else None
        stop_requested = stack.enter_context(stop_requests())
        run = _Run(plan, state, learner, Development(validation, model.vocabulary), processes, files, train.names)
        yield from run.events(
            lambda: processes.any(stop_requested(), device), folder=folder, evaluate_first=evaluate_first
        )


class _Run:
    """A run on its way."""

    def __init__(
        self,
        plan: Plan,
        state: RunState,
        learner: Learner,
        development: Development,
        processes: Processes,
        files: RunFolder | None,
        names: list[str],
    ) -> None:
        self._plan = plan
        self._state = state
        self._learner = learner
        self._development = development
        self._processes = processes
        self._files = files
        """None in all processes but the first."""
        self._names = names
        self._saved_at = time.monotonic()

    def events(self, stop_requested: Callable[[], bool], *, folder: Path, evaluate_first: bool) -> Iterator[Event]:
        """Learn and evaluate from where the run stands to its end."""
        plan, progress = self._plan, self._state.progress
        if evaluate_first and not progress.evaluations and progress.step == 0:
            yield self._evaluate()
        while progress.step < plan.steps and progress.evaluations_since_best < self._state.settings.patience:
            yield from self._learn(folder)
            if plan.evaluates_after(progress.step):
                yield self._evaluate()
            elif time.monotonic() > self._saved_at + self._state.settings.save_seconds:
                self._save()
            if stop_requested():
                self._save()
                raise Interrupted(f"Stopped as asked; nothing is lost: go on with --resume (the state is in {folder}).")

    def _learn(self, folder: Path) -> Iterator[Event]:
        """One step."""
        progress, learner = self._state.progress, self._learner
        began, at_once = time.perf_counter(), learner.pictures_at_once
        batch = self._plan.batch(progress.step)
        learnt = learner.learn(batch)
        seconds = time.perf_counter() - began
        progress.step += 1
        progress.seconds += seconds
        if learner.pictures_at_once < at_once:
            yield MemoryShort(learner.pictures_at_once)
        if learnt.done:
            progress.loss_sum += learnt.loss * learnt.words
            progress.reward_sum += learnt.reward * len(batch.pictures)
            progress.words += learnt.words
            progress.pictures += len(batch.pictures)
            progress.skipped_in_a_row = 0
            epoch = batch.step // self._plan.steps_per_epoch
            loss, reward = self._told(learnt.loss, learnt.reward)
            yield StepDone(epoch, progress.step, self._plan.steps, loss, learnt.words, seconds, reward)
            return
        progress.skipped += 1
        progress.skipped_in_a_row += 1
        pictures = [self._names[picture] for picture in batch.pictures]
        yield StepSkipped(progress.step, learnt.loss, pictures)
        if progress.skipped_in_a_row == self._state.settings.max_skipped:
            self._give_up(learnt.loss, pictures, folder)

    def _told(self, loss: float, reward: float) -> tuple[float | None, float | None]:
        """Which of the two tells how far a run is; the size of a self-critical loss tells nothing."""
        return (loss, None) if self._state.settings.objective == "cross_entropy" else (None, 100 * reward)

    def _give_up(self, loss: float, pictures: list[str], folder: Path) -> None:
        """Save the state, whose weights are those before the skipped batches, and say so."""
        skipped, self._state.progress.skipped_in_a_row = self._state.progress.skipped_in_a_row, 0
        self._save()
        raise TrainingError(
            f"Loss and gradient must stay finite and the loss small, but {skipped} batches in a row could not be "
            f"learnt (the last loss is {loss:.4g}, of the pictures {', '.join(pictures)}); the weights before them are "
            f"kept in {folder}: mend these pictures' captions, or train into a new folder with a lower "
            "training.learning_rate."
        )

    def _evaluate(self) -> Evaluated:
        """Caption the development pictures, keep the model if it is the best, and save the state."""
        state, progress = self._state, self._state.progress
        scores = self._development.score(state.averaged, state.average.last_blocks, self._processes)
        loss, reward = None, None
        if progress.words:
            loss, reward = self._told(progress.loss_sum / progress.words, progress.reward_sum / progress.pictures)
        evaluated = Evaluated(
            epoch=progress.step / self._plan.steps_per_epoch,
            step=progress.step,
            loss=loss,
            reward=reward,
            cider_d=scores.cider_d,
            bleu_4=scores.bleu_4,
            words_per_second=progress.words / progress.seconds if progress.words else None,
            seconds=progress.seconds,
            skipped=progress.skipped,
            # Of a single picture CIDEr-D is always 0.
            best=(scores.cider_d, scores.bleu_4) > (progress.best_cider_d, progress.best_bleu_4),
            examples=scores.examples,
        )
        if evaluated.best:
            progress.best_cider_d, progress.best_bleu_4 = scores.cider_d, scores.bleu_4
            progress.evaluations_since_best = 0
        else:
            progress.evaluations_since_best += 1
        progress.evaluations.append(asdict(evaluated))
        progress.loss_sum, progress.reward_sum, progress.seconds = 0.0, 0.0, 0.0
        progress.words, progress.pictures, progress.skipped = 0, 0, 0
        if self._files is not None:
            if evaluated.best:
                self._files.keep_best(state.averaged)
            self._files.record_evaluation(state)
        self._saved_at = time.monotonic()
        return evaluated

    def _save(self) -> None:
        if self._files is not None:
            self._files.save(self._state)
        self._saved_at = time.monotonic()


def _mirrored(
    captions: list[list[str]], encoded: list[list[list[int]]], encode: Callable[[str], list[int]]
) -> list[list[list[int]]]:
    """The captions of the mirror images, encoded; few differ, and the others are not encoded again."""
    return [
        [
            ids if (mirrored := mirrored_caption(caption)) == caption else encode(mirrored)
            for caption, ids in zip(row, known, strict=True)
        ]
        for row, known in zip(captions, encoded, strict=True)
    ]


def _identity(model: CaptioningModel, train: CaptionedFeatures, validation: CaptionedFeatures) -> str:
    """SHA-256 of all that a run's result follows from: recipe, words, weights it begins with, captions, pictures.

    The development pictures are among them, as they decide which epoch is kept.
    """
    weights = hashlib.sha256()
    for tensor in model.decoder.state_dict().values():
        weights.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    # How a run is computed and saved changes nothing but the order of additions.
    unchanging = TrainingConfig()
    training = replace(
        model.config.training,
        pictures_at_once=unchanging.pictures_at_once,
        save_seconds=unchanging.save_seconds,
    )
    parts = [
        to_dict(replace(model.config, training=training)),
        *(model.vocabulary.fingerprint(), model.encoder.fingerprint(), weights.hexdigest()),
        *([each.captions, each.names, each.features.shape, each.features.pictures] for each in (train, validation)),
        *([] if model.precision is torch.float32 else [str(model.precision)]),
    ]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()
