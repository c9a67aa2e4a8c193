"""Join what the shards of a run have written.

captioner merge captions.csv captions.1.csv captions.2.csv
"""

from pathlib import Path
from typing import Annotated

import typer

from captioner.errors import ConfigError, DataError

from . import run


def merge(
    out: Annotated[Path, typer.Argument(help="The file or folder to write.")],
    parts: Annotated[list[Path], typer.Argument(help="What each shard has written: its --out.")],
    format: Annotated[
        str | None,
        typer.Option(help="jsonl, csv, parquet, coco, imagefolder or webdataset; the ending of OUT tells most."),
    ] = None,
) -> None:
    """Join the records of several runs into one, in the order given; no picture may be in two of them."""
    from captioner.durable import is_being_written
    from captioner.inference.destinations import find_journal, journal_path
    from captioner.inference.formats import FORMATS, JOURNAL, recognise
    from captioner.inference.merging import merge_journals
    from captioner.inference.records import read_records

    name = format if format is not None else recognise(out)
    if name not in (JOURNAL, *FORMATS):
        raise ConfigError(f"--format must be one of {', '.join((JOURNAL, *FORMATS))}, but {name!r} came.")
    journal = journal_path(out, name)
    for path in {out, journal}:
        if path.exists():
            raise DataError(f"There is a {path} already; choose another name, or take it away.")
    journals = [find_journal(part) for part in parts]
    if unfinished := [part for part, path in zip(parts, journals, strict=True) if is_being_written(path)]:
        raise DataError(
            f"Parts are joined when they are whole, but {unfinished[0]} is being written; wait for its run."
        )
    count = merge_journals(journals, journal)
    left_out = FORMATS[name](lambda: read_records(journal), out) if name != JOURNAL else 0
    typer.echo(f"captioner: {count:,} records from {len(parts)} files are in {out}.", err=True)
    if left_out:
        typer.echo(f"captioner: {left_out:,} of them are not in {out}: their files are gone or changed.", err=True)
        raise typer.Exit(3)


if __name__ == "__main__":
    run(merge)
