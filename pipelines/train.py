"""Train a captioner on a prepared collection.

captioner train configs/flickr8k.toml --data data/flickr8k --out runs/flickr8k
captioner train configs/flickr8k.toml --data data/flickr8k --out runs/flickr8k --resume
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from captioner.errors import DataError, TrainingError

from . import run, take_folder

if TYPE_CHECKING:
    import datasets
    from rich.progress import Progress

    from captioner.model.captioning import CaptioningModel
    from captioner.training.loop import CaptionedFeatures


def train(
    recipe: Annotated[Path, typer.Argument(help="A TOML file of settings, such as configs/flickr8k.toml.")],
    data: Annotated[Path, typer.Option(help="A folder that `captioner prepare` wrote.")],
    out: Annotated[Path, typer.Option(help="The folder of this run; the model ends in its `best`.")],
    set: Annotated[list[str], typer.Option(help="Override a setting: training.epochs=3. Repeatable.")] = [],  # noqa: B006
    resume: Annotated[bool, typer.Option(help="Go on with the run in --out where it stood.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; CUDA where there is one.")] = None,
) -> None:
    """Teach a decoder to caption the pictures of a collection; the CNN stays as it is."""
    import torch
    from rich.console import Console

    from captioner.config import load_config
    from captioner.data.sources import load_collection
    from captioner.model.captioning import build_model
    from captioner.model.device import choose_device
    from captioner.text.vocabulary import Vocabulary
    from captioner.training.loop import EpochDone, Interrupted, StepDone, fit

    config = load_config(recipe, set)
    if not resume and (out / "state.pt").exists():
        raise TrainingError(f"There is a run in {out} already; go on with --resume, or choose another --out.")
    collection = load_collection(data)
    if missing := [split for split in ("train", "validation") if split not in collection]:
        raise DataError(f"Training needs the splits train and validation, but {data} has no {missing[0]}.")
    torch.manual_seed(config.training.seed)
    captions = (caption for row in collection["train"]["captions"] for caption in row)
    vocabulary = Vocabulary.fit(captions, min_count=config.vocabulary.min_count, units=config.vocabulary.units)
    model = build_model(config, vocabulary)
    model.to(choose_device(device))
    take_folder(out, marker="recipe.json")

    console = Console(stderr=True)
    console.print(_summary(model, collection))
    with _progress(console) as progress:
        views = 2 if config.encoder.mirrored else 1
        training = _features(model, collection["train"], data, views, progress)
        validation = _features(model, collection["validation"], data, 1, progress)
        bar = progress.add_task("Training", total=None)
        try:
            for event in fit(model, training, validation, folder=out, resume=resume):
                if isinstance(event, StepDone):
                    done, total = event.epoch * event.steps + event.step, config.training.epochs * event.steps
                    rate = event.words / event.seconds
                    told = f"Epoch {event.epoch + 1}  loss {event.loss:.3f}  {rate:,.0f} words/s"
                    progress.update(bar, completed=done, total=total, description=told)
                elif isinstance(event, EpochDone):
                    mark = "  best" if event.best else ""
                    progress.console.print(
                        f"Epoch {event.epoch + 1:3}  loss {event.loss:.4f}  greedy CIDEr-D {event.cider_d:6.2f}  "
                        f"BLEU-4 {event.bleu_4:5.2f}{mark}"
                    )
        except Interrupted as stopped:
            console.print(str(stopped))
            raise typer.Exit(130) from stopped
    console.print(f"The model is in {out / 'best'}.")


def _features(
    model: "CaptioningModel", rows: "datasets.Dataset", data: Path, views: int, progress: "Progress"
) -> "CaptionedFeatures":
    """The features of a split, computed now unless they are in the collection's folder already."""
    from captioner.data.features import region_features
    from captioner.training.loop import CaptionedFeatures, uses_bf16

    task = progress.add_task(f"Looking at {len(rows)} pictures", total=len(rows))
    features = region_features(
        rows,
        model.encoder,
        model.encoder.preprocessing.read,
        folder=data / "features",
        views=views,
        device=model.device,
        bf16=uses_bf16(model.config.training, model.device),
        done=lambda count: progress.update(task, completed=count),
    )
    progress.remove_task(task)
    return CaptionedFeatures(features, list(rows["captions"]))


def _summary(model: "CaptioningModel", collection: "datasets.DatasetDict") -> str:
    parameters = sum(parameter.numel() for parameter in model.decoder.parameters())
    return (
        f"{len(collection['train'])} training and {len(collection['validation'])} development pictures, "
        f"{len(model.vocabulary):,} words, a decoder of {parameters / 1e6:.1f} million parameters on {model.device}."
    )


def _progress(console: "object") -> "Progress":
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)  # type: ignore[arg-type]


if __name__ == "__main__":
    run(train)
