"""Is a model better than another? Compare them on the same pictures, caption by caption.

captioner compare default runs/mine/best data/mine
captioner compare default runs/mine/best data/mine --split test --gate --min-gain 1
"""

import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from captioner.errors import ConfigError, DataError

from . import progress_bar, run, take_folder
from .options import chosen_search

if TYPE_CHECKING:
    from collections.abc import Iterator

    import datasets
    from rich.text import Text

    from captioner.data.rows import Row
    from captioner.inference.comparison import Compared, Comparison

REFUSED = 4
"""The exit code of --gate for a model that is worse."""

_SHOWN = 5
"""Changed captions on the terminal that got better, and as many that got worse."""

Metric = Literal["cider_d", "bleu_4", "bleu_3", "bleu_2", "bleu_1", "rouge_l"]


def compare(
    old: Annotated[str, typer.Argument(help="A model folder, USER/NAME of the hub, or `default`.")],
    new: Annotated[str, typer.Argument(help="The model that may take its place, likewise.")],
    data: Annotated[Path, typer.Argument(help="A folder that `captioner prepare` wrote.")],
    split: Annotated[str, typer.Option(help="Which pictures: train, validation or test.")] = "validation",
    out: Annotated[Path, typer.Option(help="The folder to write; a comparison there is replaced.")] = Path(
        "out/compare"
    ),
    gate: Annotated[bool, typer.Option("--gate", help="End with exit code 4 when NEW is worse.")] = False,
    metric: Annotated[Metric, typer.Option(help="What --gate goes by.")] = "cider_d",
    min_gain: Annotated[
        float, typer.Option(help="NEW is worse when it gains less than this; below 0, so much may be lost.")
    ] = 0.0,
    beam_width: Annotated[int | None, typer.Option(min=1, help="Of both; as stored with each if not given.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures captioned together.")] = 16,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many pictures.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; CUDA where there is one.")] = None,
) -> None:
    """Caption the same pictures with two models, and tell whether the new one is better.

    Writes comparison.json, captions.jsonl and report.html, a page to look at.

    With --gate it ends with exit code 4 when NEW gains less than --min-gain points over OLD on these pictures. Ends
    with exit code 3 when some pictures could not be read; they are in no score.
    """
    from captioner.data.collection import load_collection
    from captioner.inference import comparison
    from captioner.inference.captioner import Captioner
    from captioner.inference.comparison_page import refusal

    if not math.isfinite(min_gain):
        raise ConfigError(f"--min-gain must be a finite number, not {min_gain}.")
    collection = load_collection(data)
    if split not in collection:
        raise DataError(f"--split must be one of those in {data} ({', '.join(collection)}), not {split!r}.")
    rows = _undecoded(collection[split], limit)
    models = [Captioner.from_pretrained(name, device=device, calibrated=False) for name in (old, new)]
    searches = [chosen_search(model.search, beam_width=beam_width) for model in models]
    take_folder(out, marker="comparison.json")
    with progress_bar() as progress:
        task = progress.add_task(f"Captioning {len(rows):,} pictures twice", total=len(rows))
        compared = comparison.compare(
            *models,
            _pictures(rows, split),
            old_search=searches[0],
            new_search=searches[1],
            batch_size=batch_size,
            done=lambda pictures: progress.update(task, completed=pictures),
        )
    settings = {
        "old": models[0].name,
        "new": models[1].name,
        "data": str(data),
        "split": split,
        "limit": limit,
        "old_search": asdict(searches[0]),
        "new_search": asdict(searches[1]),
        "batch_size": batch_size,
        "device": str(models[0].model.device),
    }
    worse = compared.is_worse(metric, min_gain=min_gain)
    verdict = {"metric": metric, "min_gain": min_gain, "worse": worse}
    _print(compared)
    _write(compared, rows, settings, verdict, out, title=f"{old} → {new} on {data}, {split}")
    for picture in compared.failed:
        print(f"captioner: {picture.image_id}: {picture.error}", file=sys.stderr)
    print(f"Written to {out}; look at {out / 'report.html'}.")
    if gate and worse:
        print(f"captioner: {refusal(compared, metric, min_gain=min_gain)}", file=sys.stderr)
        raise typer.Exit(REFUSED)
    if compared.failed:
        raise typer.Exit(3)


def _undecoded(rows: "datasets.Dataset", limit: int | None) -> "datasets.Dataset":
    """The first rows, with their pictures as the bytes of the files."""
    import datasets

    few = rows if limit is None else rows.select(range(min(limit, len(rows))))
    return few.cast_column("image", datasets.Image(decode=False))


def _pictures(rows: "datasets.Dataset", split: str) -> "Iterator[Row]":
    from captioner.data.rows import Row

    for row in rows:
        yield Row(split, row["image_id"], row["image"]["bytes"], tuple(row["captions"]))


def _write(
    compared: "Comparison",
    rows: "datasets.Dataset",
    settings: dict[str, Any],
    verdict: dict[str, Any],
    out: Path,
    *,
    title: str,
) -> None:
    from captioner import __version__
    from captioner.durable import write_whole
    from captioner.inference.comparison_page import render

    places = {image_id: place for place, image_id in enumerate(rows["image_id"])}
    told = {name: _told(value) for name, value in settings.items()}
    page = render(
        compared,
        title=title,
        settings={"captioner": __version__} | {name.replace("_", " "): value for name, value in told.items()},
        picture=lambda image_id: rows[places[image_id]]["image"]["bytes"],
    )
    lines = [json.dumps(record, ensure_ascii=False) for record in compared.as_records()]
    write_whole(out / "report.html", page)
    write_whole(out / "captions.jsonl", "".join(f"{line}\n" for line in lines))
    figures = compared.as_json() | {"gate": verdict, "settings": settings, "captioner": __version__}
    write_whole(out / "comparison.json", json.dumps(figures, indent=2, ensure_ascii=False) + "\n")


def _told(setting: Any) -> str:
    """A setting for people."""
    if isinstance(setting, dict):
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in setting.items())
    return "all pictures" if setting is None else str(setting)


def _print(compared: "Comparison") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from captioner.inference.comparison_page import figures, in_a_sentence

    table = Table(
        "", "old", "new", "gain", "", title="Below each score its 95 % interval; that of the gain from paired draws"
    )
    for figure in figures(compared):
        table.add_row(
            figure.label,
            f"{figure.old}\n{figure.old_interval}",
            f"{figure.new}\n{figure.new_interval}",
            f"{figure.gain}\n{figure.gain_interval}",
            figure.verdict,
        )
    for column in table.columns[1:]:
        column.justify = "right"
    console = Console()
    console.print(table)
    console.print(in_a_sentence(compared), highlight=False)
    for name, pictures in (("Better", compared.better), ("Worse", compared.worse)):
        if pictures:
            changed = Table("CIDEr-D", "picture", "[red]\\[-old-][/] [green]{+new+}[/]", title=name)
            for picture in pictures[:_SHOWN]:
                # Text, because a name may hold what rich takes for markup.
                changed.add_row(f"{picture.gain:+.0f}", Text(picture.image_id), _in_colours(picture))
            console.print(changed)


def _in_colours(picture: "Compared") -> "Text":
    """The words of both captions, marked as git marks words, so that no colour is needed to tell them apart."""
    from rich.text import Text

    marks = {"kept": ("", "", ""), "removed": ("[-", "-]", "red"), "added": ("{+", "+}", "green")}
    pieces = []
    for fate, words in picture.difference:
        before, after, colour = marks[fate]
        pieces.append(Text(f"{before}{' '.join(words)}{after}", style=colour))
    return Text(" ").join(pieces)


if __name__ == "__main__":
    run(compare)
