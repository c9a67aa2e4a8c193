"""Training as a generator: `fit` yields after every step and every epoch, and its caller shows what it likes.

A run is a folder:

    recipe.json        every setting
    environment.json   versions and machine
    metrics.jsonl      one object per epoch
    state.pt           all that `resume` needs, written whole or not at all
    best/              the checkpoint with the best development CIDEr-D so far
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import platform
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
import transformers
from numpy.typing import NDArray
from torch import Tensor
from transformers import get_cosine_schedule_with_warmup

from captioner.config import SearchConfig, TrainingConfig, to_dict
from captioner.data.batches import Words, epoch_batches, pad
from captioner.errors import TrainingError
from captioner.model.captioning import CaptioningModel
from captioner.model.checkpoint import save_checkpoint
from captioner.text.metrics import CiderD, bleu
from captioner.text.vocabulary import Vocabulary
from captioner.training.objectives import cross_entropy

_GREEDY = SearchConfig(beam_width=1, min_length=0)
"""How the development pictures are captioned after each epoch: cheaply."""


@dataclass(frozen=True)
class CaptionedFeatures:
    """Pictures as region features, with their reference captions."""

    features: NDArray[np.float16]
    """(pictures, views, regions, feature_size); the first view is the picture itself."""
    captions: list[list[str]]


@dataclass(frozen=True)
class StepDone:
    """One batch was learnt."""

    epoch: int
    step: int
    steps: int
    """In this epoch."""
    loss: float
    """Mean per word, in nats."""
    words: int
    seconds: float


@dataclass(frozen=True)
class EpochDone:
    """All training pictures were seen once more and the development pictures captioned."""

    epoch: int
    loss: float
    cider_d: float
    """Of greedy captions of the development pictures, times 100."""
    bleu_4: float
    """Likewise, times 100."""
    words_per_second: float
    seconds: float
    best: bool
    """Whether this is the best epoch so far; its weights are in `best/`."""


class Interrupted(TrainingError):
    """Someone asked the run to stop; its state is saved."""


@dataclass
class _Progress:
    """Where a run stands."""

    epoch: int = 0
    step: int = 0
    """Batches of this epoch already learnt."""
    loss_sum: float = 0.0
    words: int = 0
    seconds: float = 0.0
    best_cider_d: float = float("-inf")
    epochs_since_best: int = 0


@dataclass
class _Run:
    """Everything that changes while a model is trained."""

    model: CaptioningModel
    settings: TrainingConfig
    steps_per_epoch: int
    identity: str
    """Equal for runs of the same recipe on the same pictures and captions."""
    progress: _Progress = field(default_factory=_Progress)

    def __post_init__(self) -> None:
        decoder = self.model.decoder
        self.average = copy.deepcopy(decoder).eval()
        self.optimizer = torch.optim.AdamW(
            decoder.parameters(), lr=self.settings.learning_rate, weight_decay=self.settings.weight_decay
        )
        self.schedule = get_cosine_schedule_with_warmup(
            self.optimizer, self.settings.warmup_steps, self.steps_per_epoch * self.settings.epochs
        )

    def save(self, path: Path) -> None:
        """Write the state to `path`, whole or not at all."""
        state = {
            "decoder": self.model.decoder.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "progress": asdict(self.progress),
            "identity": self.identity,
        }
        unfinished = path.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)

    def load(self, path: Path) -> None:
        """Go on from a state that `save` wrote."""
        if not path.exists():
            raise TrainingError(
                f"A run can only be resumed once it has begun, but there is no {path}; train without --resume."
            )
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file fails in many ways
            raise TrainingError(
                f"The state of the run in {path} is damaged ({error}); train into a new folder."
            ) from error
        if state["identity"] != self.identity:
            raise TrainingError(
                f"A run must be resumed with its own recipe and collection, but those of {path} differ; "
                "give the same recipe, or train into a new folder."
            )
        self.model.decoder.load_state_dict(state["decoder"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        if state["random_cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["random_cuda"])
        self.progress = _Progress(**state["progress"])


def fit(
    model: CaptioningModel,
    train: CaptionedFeatures,
    validation: CaptionedFeatures,
    *,
    folder: Path,
    resume: bool = False,
) -> Iterator[StepDone | EpochDone]:
    """Train the decoder of `model` by teacher forcing on precomputed features, into the run `folder`.

    Uses the device the model is on. Afterwards (`best/`) holds the model that captioned the development
    pictures best. Raises `Interrupted` on Ctrl-C or SIGTERM after saving the state, and TrainingError when the
    loss is not finite.
    """
    settings = model.config.training
    captions = [[model.vocabulary.encode(caption) for caption in row] for row in train.captions]
    batches = -(-len(captions) // settings.pictures_per_batch)
    torch.manual_seed(settings.seed)
    run = _Run(model, settings, steps_per_epoch=batches, identity=_identity(model, train))
    if resume:
        run.load(folder / "state.pt")
    _begin(folder, model, epochs_done=run.progress.epoch)
    evaluation = _Development(validation, model.vocabulary)
    with _stop_requests() as stop_requested:
        while run.progress.epoch < settings.epochs and run.progress.epochs_since_best < settings.patience:
            yield from _learn_epoch(run, train, captions, folder, stop_requested)
            epoch_done = _finish_epoch(run, evaluation, folder)
            _append(folder / "metrics.jsonl", asdict(epoch_done))
            run.save(folder / "state.pt")
            yield epoch_done


def _learn_epoch(
    run: _Run, train: CaptionedFeatures, captions: list[list[list[int]]], folder: Path, stop_requested: list[int]
) -> Iterator[StepDone]:
    settings, progress, device = run.settings, run.progress, run.model.device
    views = np.random.default_rng((settings.seed, progress.epoch, 1)).integers(
        train.features.shape[1], size=len(captions)
    )
    own_words = settings.scheduled_sampling * progress.epoch / max(1, settings.epochs - 1)
    batches = list(
        epoch_batches(
            captions, pictures_per_batch=settings.pictures_per_batch, seed=settings.seed, epoch=progress.epoch
        )
    )
    run.model.decoder.train()
    for pictures in batches[progress.step :]:
        began = time.perf_counter()
        features = torch.from_numpy(train.features[pictures, views[pictures]].astype(np.float32)).to(device)
        inputs, targets = pad([captions[picture] for picture in pictures])
        loss, words = _learn(run, features, Words(inputs.to(device), targets.to(device)), own_words=own_words)
        seconds = time.perf_counter() - began
        progress.step += 1
        progress.loss_sum += loss * words
        progress.words += words
        progress.seconds += seconds
        yield StepDone(progress.epoch, progress.step, len(batches), loss, words, seconds)
        if stop_requested:
            run.save(folder / "state.pt")
            raise Interrupted(f"Stopped as asked; nothing is lost: go on with --resume (the state is in {folder}).")


def _learn(run: _Run, features: Tensor, words: Words, *, own_words: float) -> tuple[float, int]:
    """One step of gradient descent -> mean loss, target words."""
    settings, decoder = run.settings, run.model.decoder
    with torch.autocast(features.device.type, torch.bfloat16, enabled=uses_bf16(settings, features.device)):
        loss = cross_entropy(decoder, features, words, label_smoothing=settings.label_smoothing, own_words=own_words)
    value = float(loss.mean.detach())
    if not np.isfinite(value):
        raise TrainingError(
            f"The loss must stay finite, but in epoch {run.progress.epoch + 1} it became {value}; the best model so "
            "far is kept: train into a new folder with a lower training.learning_rate."
        )
    run.optimizer.zero_grad(set_to_none=True)
    loss.mean.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(decoder.parameters(), settings.clip_norm)
    run.optimizer.step()
    run.schedule.step()
    _update_average(run)
    return value, loss.words


@torch.no_grad()
def _update_average(run: _Run) -> None:
    """Exponential average of the weights; over the first steps a shorter one, so that it forgets the start."""
    steps = run.schedule.last_epoch
    decay = min(run.settings.average_decay, (1 + steps) / (10 + steps))
    for average, current in zip(run.average.parameters(), run.model.decoder.parameters(), strict=True):
        average.lerp_(current, 1 - decay)


def _finish_epoch(run: _Run, evaluation: _Development, folder: Path) -> EpochDone:
    progress = run.progress
    averaged = CaptioningModel(run.model.encoder, run.average, run.model.vocabulary, run.model.config)
    cider_d, bleu_4 = evaluation.score(averaged)
    is_best = cider_d > progress.best_cider_d
    done = EpochDone(
        epoch=progress.epoch,
        loss=progress.loss_sum / progress.words,
        cider_d=cider_d,
        bleu_4=bleu_4,
        words_per_second=progress.words / progress.seconds,
        seconds=progress.seconds,
        best=is_best,
    )
    if is_best:
        save_checkpoint(averaged, folder / "best")
    run.progress = _Progress(
        epoch=progress.epoch + 1,
        best_cider_d=max(cider_d, progress.best_cider_d),
        epochs_since_best=0 if is_best else progress.epochs_since_best + 1,
    )
    return done


class _Development:
    """The development pictures and their references, ready to score a model."""

    def __init__(self, validation: CaptionedFeatures, vocabulary: Vocabulary) -> None:
        self.features = validation.features
        self.references = [[vocabulary.normalise(caption) for caption in captions] for captions in validation.captions]
        self.cider_d = CiderD(self.references)

    def score(self, model: CaptioningModel, batch_size: int = 100) -> tuple[float, float]:
        """CIDEr-D and BLEU-4 of greedy captions, both times 100."""
        captions = []
        for first in range(0, len(self.features), batch_size):
            features = torch.from_numpy(self.features[first : first + batch_size, 0].astype(np.float32))
            for [caption] in model.search(features.to(model.device), _GREEDY):
                captions.append(model.vocabulary.decode(caption.words))
        cider_d = float(self.cider_d.score(captions, self.references).mean())
        return 100 * cider_d, 100 * bleu(captions, self.references)[3]


def uses_bf16(settings: TrainingConfig, device: torch.device) -> bool:
    """Whether matrix products are done in bfloat16 on this device."""
    if settings.bf16 != "auto":
        return settings.bf16 == "always"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def _identity(model: CaptioningModel, train: CaptionedFeatures) -> str:
    """SHA-256 of the recipe, the encoder, the captions and the shape of the features."""
    parts = [to_dict(model.config), model.encoder.fingerprint(), train.captions, train.features.shape]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def _begin(folder: Path, model: CaptioningModel, *, epochs_done: int) -> None:
    """Write what the run is, and keep of its metrics only the epochs it goes on from."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(to_dict(model.config), indent=2))
    (folder / "environment.json").write_text(json.dumps(_environment(model.device), indent=2))
    metrics = folder / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)[:epochs_done] if metrics.exists() else []
    metrics.write_text("".join(lines))


def _environment(device: torch.device) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "transformers": transformers.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
    }


def _append(path: Path, record: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")


@contextlib.contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """A list that fills with the signals asking to stop; a second Ctrl-C stops at once, as ever."""
    received: list[int] = []

    def receive(number: int, _frame: object) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals are someone else's business
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
