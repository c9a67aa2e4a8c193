"""Does attention show what the model used? Measured by taking away what it looked at.

For each content word of a caption the regions that had most attention are deleted, and so, for comparison, are as
many regions drawn at random. If attention is faithful, the word loses more probability in the first case. (Jain
and Wallace 2019, "Attention is not explanation", ask the question; deletion is the test of Samek et al. 2017,
"Evaluating the visualization of what a deep neural network has learned", section III.)

Deleting a region means putting the mean of the regions that stay in its place, everywhere in the network and from
the first word on: zero would be a picture unlike any the network has seen, and the mean of all regions would still
hold what was to be deleted. The words before are kept as they were said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captioner.config import SearchConfig
from captioner.data.images import ImageSource
from captioner.errors import CheckpointError, ConfigError, DataError, ImageError
from captioner.inference.captioner import Captioner
from captioner.model.captioning import CaptioningModel
from captioner.model.checkpoint import read_beside
from captioner.model.decoder import word_log_probabilities
from captioner.text.function_words import FUNCTION_WORDS
from captioner.text.vocabulary import START
from captioner.training.objectives import teacher_forcing

FILE = "faithfulness.json"
"""Beside a model where its attention was measured: what `Faithfulness.as_json` tells."""

_BOOTSTRAP = 1000
_VARIANTS_AT_ONCE = 256


class Estimate(NamedTuple):
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class WordDeletion:
    """What deleting regions did to one content word."""

    picture: int
    """Which picture, counted from 0 among those given."""
    word: str
    log_probability: float
    """Natural logarithm, with the whole picture."""
    attended_fall: float
    """By how many nats it fell when the regions with most attention were deleted; negative where it rose."""
    random_fall: float
    """The same for as many random regions, the mean over the draws."""


@dataclass(frozen=True)
class Faithfulness:
    """How much more the words depend on the regions attended to than on others.

    The intervals come from drawing pictures, with all their words, 1,000 times with replacement.
    """

    words: tuple[WordDeletion, ...]
    pictures: int
    """How many pictures gave at least one content word."""
    failed: int
    """How many pictures could not be read; they are in no figure."""
    regions_deleted: int
    regions: int
    draws: int
    """Random deletions per word."""
    attended_fall: Estimate
    """Mean fall of a word's log-probability, in nats, when what it looked at most is deleted."""
    random_fall: Estimate
    """The same for random regions."""
    difference: Estimate
    """The first less the second, word by word."""
    attended_hurts_more: Estimate
    """Share of words, 0 to 1, that fall more without the regions attended to than without random ones."""

    def as_json(self) -> dict[str, Any]:
        """All figures as plain numbers, estimates as mean and interval."""
        figures = {
            name: {field: round(value, 4) for field, value in getattr(self, name)._asdict().items()}
            for name in ("attended_fall", "random_fall", "difference", "attended_hurts_more")
        }
        counts = {name: getattr(self, name) for name in ("pictures", "failed", "regions_deleted", "regions", "draws")}
        return {"content_words": len(self.words), **counts, **figures}


def read_faithfulness(folder: Path) -> dict[str, Any] | None:
    """The figures stored with the model in `folder`; None when it has none. Raises CheckpointError when damaged."""
    data = read_beside(folder, FILE)
    try:
        return None if data is None else dict(json.loads(data))
    except (ValueError, TypeError) as error:
        raise CheckpointError(
            f"{FILE} must hold what `captioner explain --faithfulness` stores, but it does not; run that again."
        ) from error


def attention_faithfulness(
    captioner: Captioner,
    pictures: Iterable[ImageSource],
    *,
    regions_deleted: int | None = None,
    draws: int = 10,
    seed: int = 0,
    search: SearchConfig | None = None,
    done: Callable[[int], None] = lambda pictures: None,
) -> Faithfulness:
    """Caption the pictures, and measure what each content word loses with the regions it looked at.

    Args:
        captioner: a model with attention.
        pictures: what to caption; those that cannot be read are counted and left out.
        regions_deleted: how many regions to delete at once; a quarter of them (at least one) if None.
        draws: how many times to draw as many random regions, from all of them, for each word.
        seed: of the draws and of the bootstrap.
        search: how captions are chosen; as stored with the model if None.
        done: told after each picture how many are finished.

    Raises:
        ConfigError: the model has no attention, or it cannot delete so many regions.
        DataError: no picture gave a content word.
    """
    regions = captioner.model.encoder.regions
    count = max(1, regions // 4) if regions_deleted is None else regions_deleted
    _check(captioner, count, draws)
    rng = np.random.default_rng(seed)
    describer = captioner.describer(search=search)
    read = captioner.model.encoder.preprocessing.read
    words: list[WordDeletion] = []
    failed = 0
    for number, picture in enumerate(pictures):
        try:
            [features] = describer.encode([read(picture)]).features
        except ImageError:
            failed += 1
        else:
            for caption in captioner.model.search(features.unsqueeze(0), describer.search, best=1)[0]:
                words += _deletions(captioner.model, features, caption.words, number, count, draws, rng)
        done(number + 1)
    if not words:
        raise DataError("Faithfulness needs content words, but no picture gave any; give pictures it can caption.")
    return _measured(words, failed, regions, count, draws, rng)


def _check(captioner: Captioner, count: int, draws: int) -> None:
    regions = captioner.model.encoder.regions
    if captioner.model.config.decoder.kind == "show_and_tell":
        raise ConfigError("Faithfulness is about attention, and this model (show_and_tell) has none; choose another.")
    if not 1 <= count < regions or draws < 1:
        raise ConfigError(
            f"Of {regions} regions 1 to {regions - 1} can be deleted, at least once, but {count} regions and "
            f"{draws} draws came."
        )


def _deletions(
    model: CaptioningModel,
    features: Tensor,
    caption: tuple[int, ...],
    picture: int,
    count: int,
    draws: int,
    rng: np.random.Generator,
) -> list[WordDeletion]:
    """Every content word of one caption; features (regions, feature_size)."""
    trace = model.trace(features, caption)
    assert trace.weights is not None
    regions = len(features)
    found = []
    for time, word in enumerate(model.vocabulary.words[index] for index in caption):
        if word in FUNCTION_WORDS:
            continue
        attended = trace.weights[time, :regions].topk(count).indices.cpu().numpy()
        random = [rng.choice(regions, count, replace=False) for _ in range(draws)]
        deleted = torch.stack([delete_regions(features, chosen) for chosen in [attended, *random]])
        said = log_probabilities(model, deleted, caption[: time + 1])[:, time].tolist()
        whole = float(trace.log_probabilities[time])
        found.append(WordDeletion(picture, word, whole, whole - said[0], whole - sum(said[1:]) / draws))
    return found


def delete_regions(features: Tensor, chosen: NDArray[np.integer[Any]]) -> Tensor:
    """Features (regions, feature_size) with the chosen regions replaced by the mean of the others."""
    deleted = torch.zeros(len(features), dtype=torch.bool, device=features.device)
    deleted[torch.from_numpy(chosen).to(features.device)] = True
    return torch.where(deleted.unsqueeze(1), features[~deleted].mean(dim=0), features)


@torch.inference_mode()
def log_probabilities(model: CaptioningModel, features: Tensor, words: tuple[int, ...]) -> Tensor:
    """Of the same words about several pictures: features (pictures, regions, feature_size) -> (pictures, time)."""
    given = torch.tensor([START, *words[:-1]], device=features.device)
    said = torch.tensor(words, device=features.device)
    rows = []
    for first in range(0, len(features), _VARIANTS_AT_ONCE):
        some = features[first : first + _VARIANTS_AT_ONCE]
        outputs = teacher_forcing(model.decoder, some, given.expand(len(some), 1, -1))
        distributions = word_log_probabilities(model.decoder, outputs[:, 0])
        rows.append(distributions.gather(2, said.expand(len(some), -1).unsqueeze(2)).squeeze(2))
    return torch.cat(rows)


def _measured(
    words: list[WordDeletion], failed: int, regions: int, count: int, draws: int, rng: np.random.Generator
) -> Faithfulness:
    attended = np.array([word.attended_fall for word in words])
    random = np.array([word.random_fall for word in words])
    values = np.stack([attended, random, attended - random, attended > random], axis=1).astype(np.float64)
    _, picture = np.unique([word.picture for word in words], return_inverse=True)
    pictures = int(picture.max()) + 1
    # Words of one picture are alike, so the bootstrap draws pictures; sums per picture are all a draw needs.
    sums = np.zeros((pictures, values.shape[1] + 1))
    np.add.at(sums, picture, np.column_stack([values, np.ones(len(words))]))
    times = (np.bincount(rng.integers(pictures, size=pictures), minlength=pictures) for _ in range(_BOOTSTRAP))
    drawn = np.stack([each @ sums for each in times])
    low, high = np.quantile(drawn[:, :-1] / drawn[:, -1:], [0.025, 0.975], axis=0)
    estimates = [Estimate(*map(float, each)) for each in zip(values.mean(axis=0), low, high, strict=True)]
    return Faithfulness(tuple(words), pictures, failed, count, regions, draws, *estimates)
