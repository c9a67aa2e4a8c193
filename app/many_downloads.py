"""The captions of a batch as files to take along: what the command line writes, packed where it writes a folder."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from captioner.data.listing import Item
from captioner.durable import told
from captioner.errors import DataError
from captioner.inference.formats.imagefolder import write_imagefolder
from captioner.inference.formats.tables import write_csv
from captioner.inference.records import to_line
from captioner.inference.sidecars import Sidecars

from .many_batch import Batch
from .takeaway import undated


class Download(NamedTuple):
    """A file to take along."""

    path: Path
    left_out: int
    """Captioned pictures that it should hold, but that are no longer there."""


def write_download(batch: Batch, kind: str) -> Download:
    """Write the captions in one of `KINDS`, in place of the last download of the kind.

    One after the other. Raises DataError, which names no folder, where that cannot be.
    """
    name, write = KINDS[kind]
    downloads = batch.folder / "downloads" / name
    with batch.downloading:
        shutil.rmtree(downloads, ignore_errors=True)
        _check_room(batch, 0)
        target = downloads / secrets.token_urlsafe(8) / name  # a new address: no browser takes an old answer for it
        try:
            with told(target):
                target.parent.mkdir(parents=True)
                return Download(target, write(batch, target))
        except DataError as error:
            shutil.rmtree(downloads, ignore_errors=True)
            raise DataError(str(error).replace(f"{target.parent}/", "")) from error


def _jsonl(batch: Batch, target: Path) -> int:
    target.write_bytes(b"".join(map(to_line, batch.records())))
    return 0


def _csv(batch: Batch, target: Path) -> int:
    records = batch.records()
    return write_csv(lambda: iter(records), target)


def _sidecars(batch: Batch, target: Path) -> int:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        sidecars = Sidecars(Path(folder))
        for picture in batch.pictures:
            if picture.text is not None and isinstance(picture.source, Path):
                sidecars.write(Item(str(picture.source), PurePosixPath(picture.name), picture.source), picture.text)
        _pack(Path(folder), target)
    return 0


def _imagefolder(batch: Batch, target: Path) -> int:
    records = batch.records()
    # Each picture is written twice: into the folder, and into the archive of it.
    _check_room(batch, 2 * sum(file.stat().st_size for file in (batch.folder / "pictures").rglob("*")))
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        left_out = write_imagefolder(lambda: iter(records), Path(folder), below=batch.folder / "pictures", link=False)
        _pack(Path(folder), target)
    return left_out


def _check_room(batch: Batch, size: int) -> None:
    if size >= batch.room():
        raise DataError("There is no room for this download at the moment; try again in a few minutes.")


def _pack(folder: Path, target: Path) -> None:
    """Everything in a folder but hidden files, in the order of names."""
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                member = undated(path.relative_to(folder).as_posix())
                with path.open("rb") as source, archive.open(member, "w") as packed:
                    shutil.copyfileobj(source, packed)


KINDS: Final[dict[str, tuple[str, Callable[[Batch, Path], int]]]] = {
    "JSONL": ("captions.jsonl", _jsonl),
    "CSV": ("captions.csv", _csv),
    "Text files": ("captions.zip", _sidecars),
    "ImageFolder": ("imagefolder.zip", _imagefolder),
}
"""Kind -> the name of its file, and what writes it and returns how many pictures it had to leave out."""
