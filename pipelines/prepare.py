"""Make a collection ready: check every picture and caption, and write one self-contained folder.

captioner prepare path/to/pictures --out data/mine --preview
captioner prepare hf:user/name --out data/theirs --limit 1000
captioner prepare shapes --out data/shapes
"""

import filecmp
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from captioner.errors import ConfigError, DataError

from . import progress_bar, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from captioner.data.collection import Prepared
    from captioner.data.formats.place import Place
    from captioner.data.report import Report
    from captioner.data.rows import Rows

# What `shapes` draws unless told otherwise: drawings per split, and the side of each in pixels.
SHAPES = {"train": 2000, "validation": 200, "test": 200, "size": 96, "seed": 0}

FORMATS_HELP = (
    "The source's format, recognised if not given: flickr8k, flickr30k, karpathy, coco, metadata, table, webdataset, "
    "huggingface or sidecars."
)

# What is told about a collection and is no part of it.
_ABOUT = ("report.json", "preview.html")
# What else may lie in its folder, besides its splits.
_OF_A_COLLECTION = ("dataset_dict.json", "features", ".DS_Store")

# Where the old collection is while the new one is put in its place.
_REPLACED = "replaced"

_SHAPES_ONLY = "For drawings"
_TABLES_ONLY = "For tables"


def prepare(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder of captioned pictures or a file that names them, hf:USER/NAME for a data set of the "
            "Hugging Face hub, or the word `shapes`."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder to write; a prepared collection there is replaced.")],
    format: Annotated[str | None, typer.Option(help=FORMATS_HELP)] = None,
    images: Annotated[
        Path | None, typer.Option(help="The folder that picture names start from, if not the source's.")
    ] = None,
    encoding: Annotated[str, typer.Option(help="Of text files, such as cp1252 for what old Excel saved.")] = "utf-8",
    preview: Annotated[bool, typer.Option(help="Also write preview.html, a page to look at.")] = False,
    max_bad: Annotated[float, typer.Option(help="Share of bad pictures, 0 to 1, above which to fail.")] = 0.02,
    min_words: Annotated[int, typer.Option(help="Shorter captions are left out.")] = 2,
    max_words: Annotated[int, typer.Option(help="Longer captions are left out.")] = 100,
    validation_share: Annotated[
        float, typer.Option(help="Share of pictures for validation, where the source has none.")
    ] = 0.1,
    test_share: Annotated[float, typer.Option(help="Share of pictures to test on, where the source has none.")] = 0.0,
    resplit: Annotated[
        bool, typer.Option(help="Pass over the splits of the source, and deal its pictures anew.")
    ] = False,
    keep_lookalikes: Annotated[
        bool, typer.Option(help="Keep pictures that look like one of an earlier split.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many pictures of the source.")] = None,
    image_column: Annotated[
        str | None, typer.Option(help="The column of the pictures.", rich_help_panel=_TABLES_ONLY)
    ] = None,
    caption_column: Annotated[
        list[str] | None, typer.Option(help="A column of captions; repeatable.", rich_help_panel=_TABLES_ONLY)
    ] = None,
    split_column: Annotated[
        str | None, typer.Option(help="The column that says train, validation or test.", rich_help_panel=_TABLES_ONLY)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Number that the drawings follow from [0].", rich_help_panel=_SHAPES_ONLY)
    ] = None,
    train: Annotated[
        int | None, typer.Option(help="Drawings to train on [2000].", rich_help_panel=_SHAPES_ONLY)
    ] = None,
    validation: Annotated[
        int | None, typer.Option(help="Drawings to validate on [200].", rich_help_panel=_SHAPES_ONLY)
    ] = None,
    test: Annotated[int | None, typer.Option(help="Drawings to test on [200].", rich_help_panel=_SHAPES_ONLY)] = None,
    size: Annotated[
        int | None, typer.Option(help="Side of a drawing, in pixels [96].", rich_help_panel=_SHAPES_ONLY)
    ] = None,
) -> None:
    """Check a captioned collection and write it as one folder, ready to train on."""
    import datasets

    from captioner.data.captions import Limits
    from captioner.data.collection import build
    from captioner.data.formats.place import Columns, Place
    from captioner.data.splits import Shares

    if not 0 <= max_bad <= 1:
        raise ConfigError(f"--max-bad must be a share between 0 and 1, not {max_bad}.")
    limits = Limits(min_words=min_words, max_words=max_words)
    shares = Shares(validation=validation_share, test=test_share)
    drawing = {"seed": seed, "train": train, "validation": validation, "test": test, "size": size}
    place = Place(
        Path(source).expanduser(),
        images=None if images is None else images.expanduser(),
        columns=Columns(image_column, tuple(caption_column or ()), split_column),
        encoding=encoding,
        resplit=resplit,
    )
    rows = _rows(source, place, format, {name: value for name, value in drawing.items() if value is not None})
    out = out.expanduser().resolve()
    _refuse_foreign(out)
    datasets.disable_progress_bars()
    # Beside the target, so that the last step is a rename within one disk. A run that is killed leaves
    # this folder behind, and the next one clears it away.
    working = out.with_name(f".{out.name}.preparing")
    try:
        if not out.exists() and (working / _REPLACED).exists():
            (working / _REPLACED).rename(out)  # a run was killed just before it put the new one there
        shutil.rmtree(working, ignore_errors=True)
        working.mkdir(parents=True)
        with progress_bar() as progress:
            task = progress.add_task("Checking pictures", total=None)
            prepared = build(
                _wanted(rows, limit, resplit=resplit),
                working,
                # Drawings are as many of each split as was asked, and may well be much alike.
                divide=None if source == "shapes" else shares,
                limits=limits,
                drop_lookalikes=source != "shapes" and not keep_lookalikes,
                done=lambda count: progress.update(task, completed=count, description=f"Pictures checked: {count:,}"),
            )
        _print_report(prepared.report)
        if prepared.report.bad_share > max_bad:
            raise DataError(
                f"At most {max_bad:.1%} of the pictures may be bad, but {prepared.report.bad_share:.1%} are: "
                "mend what the table shows, or raise --max-bad and find all their names in report.json."
            )
        _write(prepared, working, out, preview=preview)
    except OSError as error:
        raise DataError(
            f"{source} must be readable and {out} writable, but that failed: {error}; see to the file or the "
            "disk and run again."
        ) from error
    finally:
        shutil.rmtree(working, ignore_errors=True)
    if preview:
        print(f"Look at {out / 'preview.html'}.")


def _rows(source: str, place: "Place", format_name: str | None, drawing: dict[str, int]) -> "Rows":
    """The rows of the source; `drawing` are the options for drawings that the user gave."""
    from captioner.data import sources
    from captioner.data.formats.huggingface import hub_rows
    from captioner.data.formats.place import Columns, Place

    of_folders = {
        "--format": format_name is not None,
        "--images": place.images is not None,
        "--encoding": place.encoding != Place.encoding,
    }
    of_tables = {"--image-column, --caption-column or --split-column": place.columns != Columns()}
    if source == "shapes":
        _refuse(of_folders | of_tables | {"--resplit": place.resplit}, "a folder", source)
        chosen = SHAPES | drawing
        counts = {split: chosen[split] for split in sources.SPLITS}
        return sources.shapes_rows(counts, size=chosen["size"], seed=chosen["seed"])
    _refuse({f"--{name}": True for name in drawing}, "the source `shapes`", source)
    if source.startswith("hf:"):
        _refuse(of_folders, "a folder", source)
        return hub_rows(source.removeprefix("hf:"), place.columns, resplit=place.resplit)
    if format_name is None:
        format_name = sources.recognise(place)
        others = sources.others(place, format_name)
        besides = f" (it looks like {' and '.join(others)} too: --format decides)" if others else ""
        print(f"{source} is of the format {format_name}{besides}.")
    return sources.read_rows(place, format_name)


def _refuse(given: dict[str, bool], belongs_to: str, source: str) -> None:
    """Raise ConfigError when options were given that mean nothing for the source."""
    if options := ", ".join(option for option, is_given in given.items() if is_given):
        raise ConfigError(f"{options} must go with {belongs_to}, but the source is {source}: leave it out.")


def _wanted(rows: "Rows", limit: int | None, *, resplit: bool) -> "Rows":
    """The rows up to the first `limit` pictures; with `resplit` without their splits."""
    from captioner.data.rows import Row

    pictures = 0
    for row in rows:
        if isinstance(row, Row):
            if pictures == limit:
                return
            pictures += 1
            yield replace(row, split=None) if resplit else row
        else:
            yield row


def _refuse_foreign(out: Path) -> None:
    """Raise DataError when writing `out` would destroy anything but an earlier prepared collection."""
    from captioner.data.rows import SPLITS

    if out.exists() and not out.is_dir():
        raise DataError(f"--out must be a folder, but {out} is a file: choose another name.")
    held = {path.name for path in out.iterdir()} if out.is_dir() else set()
    ours = {*SPLITS, *_ABOUT, *_OF_A_COLLECTION} if {"dataset_dict.json", "report.json"} <= held else set()
    if foreign := held - ours:
        raise DataError(
            f"--out must be a new or empty folder or a prepared collection, but {out} holds other things "
            f"({min(foreign)}): choose another name."
        )


def _write(prepared: "Prepared", working: Path, out: Path, *, preview: bool) -> None:
    """Put the whole collection in its place with one rename, unless the same is there already."""
    fresh = working / "fresh"
    prepared.collection.save_to_disk(str(fresh))
    report = json.dumps(prepared.report.as_json(), indent=2, ensure_ascii=False)
    (fresh / "report.json").write_text(report + "\n", encoding="utf-8")
    if preview:
        from captioner.inference.collection_page import render

        (fresh / "preview.html").write_text(render(prepared, title=out.name), encoding="utf-8")
    if all(_same(file, out / file.relative_to(fresh)) for file in _files(fresh) if file.name not in _ABOUT):
        # What training has computed from it and keeps in there stays good.
        for name in _ABOUT:
            if (fresh / name).exists():
                (fresh / name).replace(out / name)
        print(f"{out} holds the same already and was left as it is.")
        return
    changed = out.is_dir() and any(out.iterdir())
    if out.exists():
        out.rename(working / _REPLACED)
    fresh.rename(out)
    print(f"Written to {out}{', in place of another that was there' if changed else ''}.")


def _files(folder: Path) -> "Iterator[Path]":
    return (file for file in folder.rglob("*") if file.is_file())


def _same(file: Path, other: Path) -> bool:
    return other.is_file() and filecmp.cmp(file, other, shallow=False)


def _print_report(report: "Report") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    extra = [Column("such as", overflow="fold")] if report.dropped else []
    table = Table("", Column("pictures", justify="right"), Column("captions", justify="right"), *extra)
    for split, pictures in report.pictures.items():
        table.add_row(f"kept in {split}", f"{pictures:,}", f"{report.captions[split]:,}")
    table.add_section()
    for (unit, reason), losses in report.reasons().items():
        count, first = f"{len(losses):,}", escape(losses[0].name)
        table.add_row(f"dropped: {reason}", *((count, "") if unit == "picture" else ("", count)), first)
    table.add_section()
    for what, captions in report.mended.items():
        table.add_row(f"mended: {what} taken out", "", f"{captions:,}")
    console = Console()
    console.print(table)
    for remark in report.remarks:
        console.print(f"• {remark}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run(prepare)
