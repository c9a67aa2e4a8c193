"""Make a collection ready: check every picture and caption, and write one self-contained folder.

captioner prepare path/to/flickr8k --out data/flickr8k
captioner prepare shapes --out data/shapes
"""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from captioner.errors import ConfigError, DataError

from . import run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from captioner.data.sources import Dropped, Prepared, Report, Row

# What `shapes` draws unless told otherwise: drawings per split, and the side of each in pixels.
SHAPES = {"train": 2000, "validation": 200, "test": 200, "size": 96, "seed": 0}


def prepare(
    source: Annotated[str, typer.Argument(help="A folder of captioned pictures, or the word `shapes`.")],
    out: Annotated[Path, typer.Option(help="The folder to write; a prepared collection there is replaced.")],
    format: Annotated[str | None, typer.Option(help="The folder's format; recognised if not given.")] = None,
    max_bad: Annotated[float, typer.Option(help="Share of bad pictures, 0 to 1, above which to fail.")] = 0.02,
    seed: Annotated[int | None, typer.Option(help="shapes: number that the drawings follow from [0].")] = None,
    train: Annotated[int | None, typer.Option(help="shapes: drawings to train on [2000].")] = None,
    validation: Annotated[int | None, typer.Option(help="shapes: drawings to validate on [200].")] = None,
    test: Annotated[int | None, typer.Option(help="shapes: drawings to test on [200].")] = None,
    size: Annotated[int | None, typer.Option(help="shapes: side of a drawing, in pixels [96].")] = None,
) -> None:
    """Check a captioned collection and write it as one folder, ready to train on."""
    import datasets

    from captioner.data import sources

    if not 0 <= max_bad <= 1:
        raise ConfigError(f"--max-bad must be a share between 0 and 1, not {max_bad}.")
    drawing = {"seed": seed, "train": train, "validation": validation, "test": test, "size": size}
    rows = _rows(source, format, {name: value for name, value in drawing.items() if value is not None})
    out = out.expanduser().resolve()
    _refuse_foreign(out)
    datasets.disable_progress_bars()
    # Beside the target, so that the last step is a rename within one disk. A run that is killed leaves
    # this folder behind, and the next one clears it away.
    working = out.with_name(f".{out.name}.preparing")
    try:
        shutil.rmtree(working, ignore_errors=True)
        working.mkdir(parents=True)
        prepared = sources.build(rows, working)
        _print_report(prepared.report)
        if prepared.report.bad_share > max_bad:
            raise DataError(
                f"At most {max_bad:.1%} of the pictures may be bad, but {prepared.report.bad_share:.1%} are: "
                "mend what the table shows, or raise --max-bad."
            )
        _write(prepared, working, out)
    except OSError as error:
        raise DataError(
            f"{source} must be readable and {out} writable, but that failed: {error}; see to the file or the "
            "disk and run again."
        ) from error
    finally:
        shutil.rmtree(working, ignore_errors=True)
    print(f"Written to {out}.")


def _rows(source: str, format_name: str | None, given: dict[str, int]) -> "Iterable[Row | Dropped]":
    """The rows of the source; `given` are the options for drawings that the user gave."""
    from captioner.data import sources

    if source == "shapes":
        if format_name is not None:
            raise ConfigError("--format belongs to a folder, but the source is `shapes`: leave it out.")
        chosen = SHAPES | given
        counts = {split: chosen[split] for split in sources.SPLITS}
        return sources.shapes_rows(counts, size=chosen["size"], seed=chosen["seed"])
    if given:
        options = ", ".join(f"--{name}" for name in given)
        raise ConfigError(f"{options} must go with the source `shapes`, but it is {source}: leave it out.")
    return sources.read_rows(Path(source).expanduser(), format_name)


def _refuse_foreign(out: Path) -> None:
    """Raise DataError when writing `out` would destroy anything but an earlier prepared collection."""
    if out.exists() and not out.is_dir():
        raise DataError(f"--out must be a folder, but {out} is a file: choose another name.")
    ours = all((out / name).is_file() for name in ("dataset_dict.json", "report.json"))
    if out.is_dir() and any(out.iterdir()) and not ours:
        raise DataError(
            f"--out must be a new or empty folder or a prepared collection, but {out} holds other things: "
            "choose another name."
        )


def _write(prepared: "Prepared", working: Path, out: Path) -> None:
    """Put the whole collection in its place with one rename."""
    fresh = working / "fresh"
    prepared.collection.save_to_disk(str(fresh))
    report = json.dumps(prepared.report.as_json(), indent=2, ensure_ascii=False)
    (fresh / "report.json").write_text(report + "\n", encoding="utf-8")
    if out.exists():
        out.rename(working / "replaced")
    fresh.rename(out)


def _print_report(report: "Report") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "pictures", "captions")
    for split, pictures in report.pictures.items():
        table.add_row(f"kept in {split}", str(pictures), str(report.captions[split]))
    table.add_section()
    for (unit, reason), losses in report.reasons().items():
        count = str(len(losses))
        table.add_row(f"dropped: {reason}", *((count, "") if unit == "picture" else ("", count)))
    Console().print(table)


if __name__ == "__main__":
    run(prepare)
