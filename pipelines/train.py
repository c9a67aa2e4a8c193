"""Train a captioner on a prepared collection, from nothing or from an older model, in one process or several.

captioner train configs/flickr8k.toml --data data/flickr8k --out runs/flickr8k
captioner train configs/flickr8k.toml --data data/flickr8k --out runs/flickr8k --resume
captioner train configs/custom.toml --data data/mine --from default --out runs/mine
captioner train configs/custom-cnn.toml --data data/mine --from runs/mine/best --out runs/mine-cnn
captioner train configs/flickr8k-self-critical.toml --data data/flickr8k --from runs/tuned/best --out runs/self-critical
torchrun --nproc-per-node=2 -m captioner.pipelines.train configs/flickr8k.toml --data data/flickr8k --out runs/flickr8k
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from captioner.errors import CaptionerError, ConfigError, TrainingError
from captioner.training.events import Evaluated, MemoryShort, StepDone, StepSkipped
from captioner.training.tracking import Service, tracking

from . import STOPPED, run, take_folder
from .features import learning_features, load_to_learn

if TYPE_CHECKING:
    from collections.abc import Callable

    import datasets
    from rich.console import Console
    from rich.progress import Progress, TaskID
    from torch import nn

    from captioner.config import Config
    from captioner.model.captioning import CaptioningModel
    from captioner.training.events import Event
    from captioner.training.processes import Processes


def train(
    recipe: Annotated[Path, typer.Argument(help="A TOML file of settings, such as configs/flickr8k.toml.")],
    data: Annotated[Path, typer.Option(help="A folder that `captioner prepare` wrote.")],
    out: Annotated[Path, typer.Option(help="The folder of this run; the model ends in its `best`.")],
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="What to begin from: a model's folder, USER/NAME of the hub, or `default`; a run's folder: its end.",
        ),
    ] = None,
    set: Annotated[list[str], typer.Option(help="Override a setting: training.epochs=3. Repeatable.")] = [],  # noqa: B006
    resume: Annotated[bool, typer.Option(help="Go on with the run in --out where it stood.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; CUDA where there is one.")] = None,
    track: Annotated[Service | None, typer.Option(help="Also tell this service the figures as they come.")] = None,
) -> None:
    """Teach a decoder to caption the pictures of a collection, and the CNN's last blocks if the recipe says so.

    Ctrl-C and SIGTERM stop after the step at hand, with exit code 75; even after `kill -9` the same command with
    --resume ends in the same model. `report.html` in --out shows how far it is, anew after every evaluation.
    """
    from rich.console import Console

    from captioner.training.loop import Interrupted
    from captioner.training.processes import join_processes

    first = os.environ.get("RANK", "0") == "0"
    console = Console(stderr=True, quiet=not first)
    try:
        with join_processes(device) as (processes, device), tracking(track if first else None, out) as tell:
            learn(recipe, data, out, start, set, resume, device, processes=processes, console=console, tell=tell)
    except (Interrupted, KeyboardInterrupt) as stopped:
        console.print(str(stopped) or "Stopped; what was finished is kept: the same command with --resume goes on.")
        raise typer.Exit(STOPPED) from stopped
    except CaptionerError:
        if first:
            raise
        raise typer.Exit(2) from None  # every process fails alike, and the first one says why
    console.print(f"The model is in {out / 'best'}. `captioner calibrate` will tell it how sure it may be.")


def learn(
    recipe: Path,
    data: Path,
    out: Path,
    start: str | None,
    overrides: list[str],
    resume: bool,
    device: str | None,
    *,
    processes: "Processes",
    console: "Console",
    tell: "Callable[[Event], None]",
) -> None:
    """The run itself; `tell` hears of every event. The errors are those of `fit` and of what it needs."""
    from captioner.config import SearchConfig, load_config
    from captioner.inference.run_page import follow_run, show_examples
    from captioner.model.device import choose_device
    from captioner.model.last_blocks import split_encoder
    from captioner.training.loop import fit
    from captioner.training.run_folder import model_or_end
    from captioner.training.warm_start import settings_kept, warm_start

    old = None if start is None else model_or_end(start)
    config = load_config(recipe, overrides, base=None if old is None else settings_kept(old))
    if old is None and config.training.objective == "self_critical":
        raise ConfigError(
            "Self-critical training must begin from a model that can caption already, for it learns from the model's "
            "own captions, but --from was not given; train one by cross-entropy, and give its `best` with --from."
        )
    if not resume and (out / "state.pt").exists():
        raise TrainingError(f"There is a run in {out} already; go on with --resume, or choose another --out.")
    collection = load_to_learn(data)
    captions = list(collection["train"]["captions"])
    if config.search.min_length == (SearchConfig() if old is None else old.config.search).min_length:
        config = _short_enough(config, captions, console)
    model = new_model(config, captions) if old is None else warm_start(old, config, captions)
    model.to(choose_device(device))
    encoder, last_blocks = split_encoder(model.encoder, config.training.tuned_blocks)
    if processes.first:
        take_folder(out, marker="metrics.jsonl")
    console.print(_summary(model, last_blocks, collection, old, processes))
    examples = show_examples(collection["validation"])
    with _progress(console) as progress:
        parts = learning_features(encoder, config, collection, data, progress, processes)
        bar = progress.add_task("Training", total=None)
        for event in fit(model, *parts, folder=out, resume=resume, evaluate_first=old is not None, processes=processes):
            _show(event, bar, progress)
            tell(event)
            if processes.first and isinstance(event, Evaluated):
                follow_run(out, examples)


def _short_enough(config: "Config", captions: list[list[str]], console: "Console") -> "Config":
    """The recipe, its search free to say captions as short as people's, but for their shortest twentieth."""
    from dataclasses import replace

    from captioner.text.vocabulary import normalise

    lengths = sorted(len(normalise(caption, config.vocabulary.units)) for row in captions for caption in row)
    shortest = lengths[len(lengths) // 20]
    if shortest >= config.search.min_length:
        return config
    console.print(f"Captions of {shortest} words are usual here: search.min_length is {shortest}.")
    return replace(config, search=replace(config.search, min_length=shortest))


def new_model(config: "Config", captions: list[list[str]]) -> "CaptioningModel":
    """An untrained network on the CPU, with the words of all pictures' captions."""
    import torch

    from captioner.model.captioning import build_model
    from captioner.text.vocabulary import Vocabulary

    torch.manual_seed(config.training.seed)
    sentences, words = (caption for row in captions for caption in row), config.vocabulary
    return build_model(config, Vocabulary.fit(sentences, min_count=words.min_count, units=words.units))


def _show(event: "Event", bar: "TaskID", progress: "Progress") -> None:
    """One event of the run: the bar moves, and what is worth a line gets one."""
    match event:
        case StepDone():
            rate = event.words / event.seconds
            told = f"Epoch {event.epoch + 1}  {_learning(event)}  {rate:,.0f} words/s"
            progress.update(bar, completed=event.step, total=event.steps, description=told)
        case StepSkipped():
            progress.console.print(
                f"Batch {event.step} has the loss {event.loss:.4g} and is skipped: {', '.join(event.pictures)}"
            )
        case MemoryShort():
            progress.console.print(
                f"Memory is short: from now on {event.pictures_at_once} pictures at once, with the same result."
            )
        case Evaluated():
            progress.console.print(
                f"Epoch {event.epoch:6.2f}  {_learning(event):15}  greedy CIDEr-D {event.cider_d:6.2f}  "
                f"BLEU-4 {event.bleu_4:5.2f}{'  best' if event.best else ''}"
            )


def _learning(event: "StepDone | Evaluated") -> str:
    if event.loss is not None:
        return f"loss {event.loss:.4f}"
    return "before training" if event.reward is None else f"reward {event.reward:.2f}"


def _summary(
    model: "CaptioningModel",
    last_blocks: "nn.Module",
    collection: "datasets.DatasetDict",
    old: "CaptioningModel | None",
    processes: "Processes",
) -> str:
    decoder, cnn = (sum(each.numel() for each in part.parameters()) for part in (model.decoder, last_blocks))
    blocks = f" and {cnn / 1e6:.1f} million of the CNN" if cnn else ""
    new = "" if old is None else f" ({len(model.vocabulary) - len(old.vocabulary):,} of them new)"
    together = f" in {processes.count} processes" if processes.count > 1 else ""
    return (
        f"{len(collection['train'])} training and {len(collection['validation'])} development pictures, "
        f"{len(model.vocabulary):,} words{new}, a decoder of {decoder / 1e6:.1f} million parameters{blocks} "
        f"on {model.device}{together}."
    )


def _progress(console: "Console") -> "Progress":
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)


if __name__ == "__main__":
    run(train)
