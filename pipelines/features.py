"""A prepared collection's pictures as an encoder sees them, computed below a progress bar."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from captioner.errors import DataError

if TYPE_CHECKING:
    import datasets
    from rich.progress import Progress

    from captioner.config import Config
    from captioner.data.features import CaptionedFeatures
    from captioner.data.views import Views
    from captioner.model.encoder import Encoder
    from captioner.training.processes import Processes


class LearningFeatures(NamedTuple):
    """What a run is given."""

    train: "CaptionedFeatures"
    """In all the views that its recipe asks for."""
    validation: "CaptionedFeatures"


def load_to_learn(data: Path) -> "datasets.DatasetDict":
    """A prepared collection with pictures to learn from and others to judge by. Raises DataError if there are none."""
    from captioner.data.collection import load_collection

    collection = load_collection(data)
    if missing := [split for split in ("train", "validation") if split not in collection]:
        raise DataError(f"Training needs the splits train and validation, but {data} has no {missing[0]}.")
    return collection


def learning_features(
    encoder: "Encoder",
    config: "Config",
    collection: "datasets.DatasetDict",
    data: Path,
    progress: "Progress",
    processes: "Processes | None" = None,
) -> LearningFeatures:
    """What a run learns from, and the development pictures it is judged by."""
    from captioner.data.views import Views
    from captioner.training.learner import uses_bf16

    bf16 = uses_bf16(config.training, encoder.mean.device)

    def read(split: str, views: Views) -> "CaptionedFeatures":
        return read_features(encoder, collection[split], data, progress, views=views, bf16=bf16, processes=processes)

    views = Views(config.encoder.mirrored, config.encoder.crops)
    return LearningFeatures(train=read("train", views), validation=read("validation", Views()))


def read_features(
    encoder: "Encoder",
    rows: "datasets.Dataset",
    data: Path,
    progress: "Progress",
    *,
    views: "Views | None" = None,
    bf16: bool = False,
    processes: "Processes | None" = None,
) -> "CaptionedFeatures":
    """The encoder's features of pictures of the collection in `data`, computed now unless they are there already.

    By default each is seen once, as it is, and by one process alone.
    """
    from captioner.data.features import CaptionedFeatures, region_features
    from captioner.data.views import Views
    from captioner.training.processes import ALONE

    processes = processes or ALONE
    task = progress.add_task(f"Looking at {len(rows):,} pictures", total=len(rows))
    features = region_features(
        rows,
        encoder,
        encoder.preprocessing.read,
        folder=data / "features",
        views=views or Views(),
        device=encoder.mean.device,
        bf16=bf16,
        process=processes.rank,
        processes=processes.count,
        done=lambda count: progress.update(task, completed=count),
    )
    progress.remove_task(task)
    return CaptionedFeatures(features, list(rows["captions"]), list(rows["image_id"]))
