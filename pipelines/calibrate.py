"""Fit a model's confidence on the pictures of one split, and store it with the model.

captioner calibrate default data/flickr8k
captioner calibrate runs/flickr8k/best data/flickr8k --split validation --out out/calibration
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from captioner.errors import DataError

from . import folder_to_store_in, progress_bar, run, take_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    import datasets

    from captioner.inference.calibration import Measured


def calibrate(
    model: Annotated[str, typer.Argument(help="A model folder, or the word `default` for the shipped model.")],
    data: Annotated[Path, typer.Argument(help="A folder that `captioner prepare` wrote.")],
    split: Annotated[str, typer.Option(help="Pictures the model was not trained on.")] = "validation",
    out: Annotated[Path, typer.Option(help="The folder for the report.")] = Path("out/calibrate"),
    drawings: Annotated[int, typer.Option(min=48, help="How many pictures that are no photographs to draw.")] = 960,
    seed: Annotated[int, typer.Option(min=0, help="Deals the folds and draws the drawings.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; CUDA where there is one.")] = None,
) -> None:
    """Fit and measure how sure the model may be, and write calibration.json into its folder.

    Changes the model's manifest and with it its fingerprint. Pack a model first: packing and training leave
    the calibration behind, which holds for these weights and search settings only.
    """
    from captioner.data.collection import load_collection
    from captioner.inference import calibration
    from captioner.inference.captioner import Captioner
    from captioner.inference.confidence import FILE
    from captioner.model.checkpoint import checkpoint_fingerprint, write_beside

    collection = load_collection(data)
    if split not in collection:
        raise DataError(f"--split must be one of those in {data} ({', '.join(collection)}), not {split!r}.")
    rows, folder = collection[split], folder_to_store_in(model)
    take_folder(out, marker="calibration.html")
    # The calibration it may have is to be replaced, and may well be damaged.
    captioner = Captioner.from_pretrained(folder, device=device, calibrated=False)
    with progress_bar() as bar:
        task = bar.add_task("Captioning, and looking at drawings", total=len(rows) + drawings)
        fitted, measured = calibration.calibrate(
            captioner,
            _pictures(rows),
            list(rows["captions"]),
            drawings=drawings,
            seed=seed,
            done=lambda steps: bar.update(task, completed=steps),
        )
    write_beside(folder, FILE, fitted.to_json().encode())
    settings = {"model": model, "fingerprint": checkpoint_fingerprint(folder), "data": str(data), "split": split}
    _write(measured, settings | {"drawings": str(drawings), "seed": str(seed)}, out)
    _print_figures(measured)
    print(f"{FILE} is in {folder}; look at {out / 'calibration.html'}.")


def _pictures(rows: "datasets.Dataset") -> "Iterator[bytes]":
    """The pictures' files as they are: seen just as they are when they are captioned."""
    import datasets

    for row in rows.select_columns("image").cast_column("image", datasets.Image(decode=False)):
        yield row["image"]["bytes"]


def _write(measured: "Measured", settings: dict[str, str], out: Path) -> None:
    from captioner.inference.calibration_page import render

    told = json.dumps(measured.as_json() | {"settings": settings}, indent=2, ensure_ascii=False)
    page = render(measured, title=f"Confidence of {settings['model']} on {settings['data']}", settings=settings)
    try:
        (out / "calibration.json").write_text(f"{told}\n", encoding="utf-8")
        (out / "calibration.html").write_text(page, encoding="utf-8")
    except OSError as error:
        raise DataError(f"The report must be written to {out}, but that failed ({error.strerror}).") from error


def _print_figures(measured: "Measured") -> None:
    from rich.console import Console
    from rich.table import Table

    from captioner.inference.calibration_page import figures

    confidence = Table("", "words", "captions", title=f"{measured.pictures:,} pictures, out of fold")
    for row in figures(measured):
        confidence.add_row(row.label, row.words, row.captions)
    levels = Table("confidence", "captions", "as good as a person's", title="Low, medium, high")
    for name, told in measured.levels.items():
        levels.add_row(name, f"{told.share:.1%}", f"{told.good:.1%}")
    kinds = Table("never seen in the fit", "AUROC", "uncertain", title="What is no photograph")
    for kind, of_kind in measured.photographs.kinds.items():
        kinds.add_row(kind, f"{of_kind.auroc:.4f}", f"{of_kind.uncertain:.1%}")
    kinds.add_section()
    kinds.add_row(
        "photographs: mean, false alarms",
        f"{measured.photographs.auroc:.4f}",
        f"{measured.photographs.false_alarms:.1%}",
    )
    for table in (confidence, levels, kinds):
        for column in table.columns[1:]:
            column.justify = "right"
        Console().print(table)


if __name__ == "__main__":
    run(calibrate)
