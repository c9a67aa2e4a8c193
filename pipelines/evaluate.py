"""Measure a model on one split of a prepared collection.

captioner evaluate default data/flickr8k
captioner evaluate runs/flickr8k/best data/flickr8k --split test --out out/flickr8k
"""

import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from captioner.config import changed_search
from captioner.errors import ConfigError, DataError

from . import options, progress_bar, run, take_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    import datasets

    from captioner.config import SearchConfig
    from captioner.data.rows import Row
    from captioner.inference.evaluation import Evaluation

# How many pictures that could not be captioned are named on the terminal; the files name all of them.
FAILURES_TOLD = 10


def evaluate(
    model: Annotated[str, typer.Argument(help="A model folder, USER/NAME of the hub, or `default`, the shipped one.")],
    data: Annotated[Path, typer.Argument(help="A folder that `captioner prepare` wrote.")],
    split: Annotated[str, typer.Option(help="Which pictures: train, validation or test.")] = "validation",
    out: Annotated[Path, typer.Option(help="The folder to write; an evaluation there is replaced.")] = Path(
        "out/evaluate"
    ),
    mirror: options.Mirror = None,
    beam_width: Annotated[int | None, typer.Option(min=1, help="As stored with the model if not given.")] = None,
    max_length: Annotated[int | None, typer.Option(min=1, help="In words; as stored if not given.")] = None,
    length_exponent: Annotated[
        float | None, typer.Option(min=0, help="0 favours short captions; as stored if not given.")
    ] = None,
    consensus: Annotated[
        float | None,
        typer.Option(min=0, help="Above 0: the sentence most like all found, not the best scored; as stored."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures captioned together.")] = 16,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many pictures.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; CUDA where there is one.")] = None,
) -> None:
    """Caption every picture of a split, and tell how good the captions are.

    Writes scores.json, captions.jsonl and report.html, a page to look at.

    Ends with exit code 3 when some pictures could not be captioned; they are in no score.
    """
    from captioner.data.collection import load_collection
    from captioner.inference import evaluation
    from captioner.inference.captioner import Captioner
    from captioner.model.checkpoint import checkpoint_fingerprint
    from captioner.model.hub import find_model

    collection = load_collection(data)
    if split not in collection:
        raise DataError(f"--split must be one of those in {data} ({', '.join(collection)}), not {split!r}.")
    rows = collection[split]
    rows = rows if limit is None else rows.select(range(min(limit, len(rows))))
    folder = find_model(model).folder
    captioner = Captioner.from_pretrained(model, device=device)
    search = _search(
        captioner.search,
        mirror=mirror,
        beam_width=beam_width,
        max_length=max_length,
        length_exponent=length_exponent,
        consensus=consensus,
    )
    take_folder(out, marker="scores.json")
    with progress_bar() as progress:
        task = progress.add_task(f"Captioning {len(rows):,} pictures", total=len(rows))
        evaluated = evaluation.evaluate(
            captioner,
            _pictures(rows, split),
            search=search,
            training_captions=_training_captions(collection),
            batch_size=batch_size,
            done=lambda pictures: progress.update(task, completed=pictures),
        )
    settings = {
        "model": model,
        "model_fingerprint": checkpoint_fingerprint(folder),
        "data": str(data),
        "split": split,
        "limit": limit,
        "search": asdict(search),
        "batch_size": batch_size,
        "device": str(captioner.model.device),
    }
    _print_figures(evaluated)
    _write(evaluated, rows, settings, out)
    _tell_failures(evaluated)
    print(f"Written to {out}; look at {out / 'report.html'}.")
    if evaluated.failed:
        raise typer.Exit(3)


def _search(stored: "SearchConfig", **given: float | None) -> "SearchConfig":
    """The settings stored with the model, with those the user gave in their place."""
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        if not math.isfinite(value):
            raise ConfigError(f"--{name.replace('_', '-')} must be a finite number, not {value}.")
    return changed_search(stored, given)


def _undecoded(rows: "datasets.Dataset") -> "datasets.Dataset":
    """The rows with their pictures as the bytes of the files."""
    import datasets

    return rows.cast_column("image", datasets.Image(decode=False))


def _pictures(rows: "datasets.Dataset", split: str) -> "Iterator[Row]":
    from captioner.data.rows import Row

    for row in _undecoded(rows):
        yield Row(split, row["image_id"], row["image"]["bytes"], tuple(row["captions"]))


def _training_captions(collection: "datasets.DatasetDict") -> list[str] | None:
    if "train" not in collection:
        return None
    return [caption for captions in collection["train"]["captions"] for caption in captions]


def _write(evaluated: "Evaluation", rows: "datasets.Dataset", settings: dict[str, Any], out: Path) -> None:
    from captioner import __version__
    from captioner.inference.report import render

    places = {image_id: place for place, image_id in enumerate(rows["image_id"])}
    pictures = _undecoded(rows)
    page = render(
        evaluated,
        title=f"{settings['model']} on {settings['data']}, {settings['split']}",
        settings={"captioner": __version__} | _told(settings),
        picture=lambda image_id: pictures[places[image_id]]["image"]["bytes"],
    )
    scores = evaluated.as_json() | {"settings": settings, "captioner": __version__}
    lines = [json.dumps(record, ensure_ascii=False) for record in evaluated.as_records()]
    try:
        (out / "scores.json").write_text(json.dumps(scores, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (out / "captions.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        (out / "report.html").write_text(page, encoding="utf-8")
    except OSError as error:
        raise DataError(f"The evaluation must be written to {out}, but that failed ({error.strerror}).") from error


def _told(settings: dict[str, Any]) -> dict[str, str]:
    """Settings for people: `search` opened up, and no underscores."""
    flat = {name: value for name, value in settings.items() if name != "search"} | settings["search"]
    return {name.replace("_", " "): "all pictures" if value is None else str(value) for name, value in flat.items()}


def _print_figures(evaluated: "Evaluation") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from captioner.inference.report import language_figures, quality_figures

    title = f"{len(evaluated.scored):,} pictures, {evaluated.references:,} references"
    figures = Table("", "", "95 % interval", title=title)
    for group in (quality_figures(evaluated), language_figures(evaluated)):
        for figure in group:
            figures.add_row(figure.label, figure.value, figure.interval)
        figures.add_section()
    for column in figures.columns[1:]:
        column.justify = "right"
    examples = Table("CIDEr-D", "picture", "caption", title="Best and worst")
    for pictures in evaluated.best_and_worst():
        for picture in pictures:
            # Text, because a name may hold what rich takes for markup.
            examples.add_row(f"{picture.cider_d:.0f}", Text(picture.image_id), Text(picture.caption))
        examples.add_section()
    console = Console()
    console.print(figures)
    console.print(examples)


def _tell_failures(evaluated: "Evaluation") -> None:
    for picture in evaluated.failed[:FAILURES_TOLD]:
        print(f"captioner: {picture.image_id}: {picture.error}", file=sys.stderr)
    if len(evaluated.failed) > FAILURES_TOLD:
        print(f"captioner: {len(evaluated.failed) - FAILURES_TOLD} more are in captions.jsonl.", file=sys.stderr)


if __name__ == "__main__":
    run(evaluate)
