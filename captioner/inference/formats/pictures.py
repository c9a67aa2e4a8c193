"""The pictures that a folder format holds beside their captions, and the folder that it owns."""

import hashlib
import os
from pathlib import Path, PurePosixPath
from typing import Final

from captioner.data.listing import read_source
from captioner.durable import UNFINISHED, told, write_whole
from captioner.errors import DataError, ImageError
from captioner.inference.formats.rows import Row

_MARKER: Final = ".captioner"

# What every loader knows a picture by. All of them go by the content in the end; JPEG stands for what has no name.
_SUFFIXES: Final = {
    ".apng": ".png",
    ".bmp": ".bmp",
    ".gif": ".gif",
    ".png": ".png",
    ".tif": ".tiff",
    ".tiff": ".tiff",
    ".webp": ".webp",
}


def suffix_of(name: str) -> str:
    """The suffix a picture of this name gets in the folder: `.jpg` for `dog.JPEG`, and for `table.parquet#12`."""
    return _SUFFIXES.get(PurePosixPath(name).suffix.lower(), ".jpg")


def picture_of(record: Row, *, below: str | Path = "") -> bytes | None:
    """The file that a record tells of; None when it is gone, or no longer what was captioned.

    The record's path starts from the folder `below`.
    """
    try:
        content = read_source(os.path.join(below, record["path"]))
    except ImageError:
        return None
    return content if hashlib.sha256(content).hexdigest()[:16] == record["digest"] else None


def place_picture(record: Row, target: Path, *, below: str | Path = "", link: bool = True) -> bool:
    """Link or copy a record's picture to `target`, if it is not there already; whether it could be had.

    The record's path starts from the folder `below`. Without `link` it is always copied.
    """
    with told(target):
        if target.exists():
            return True
        content = picture_of(record, below=below)
        if content is None:
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (link and _link(os.path.join(below, record["path"]), target)):
            write_whole(target, content)
    return True


def _link(source: str, target: Path) -> bool:
    """Whether a link could be made; not to another disk, nor into an archive."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        return False
    return True


def own_folder(out: Path, format_name: str) -> None:
    """Make the folder, or take one that an earlier answer of the same format stands in, known by a hidden file.

    Raises DataError when it holds anything else, or cannot be made.
    """
    owner = check_owned(out, format_name)
    with told(out):
        out.mkdir(parents=True, exist_ok=True)
    if owner is None:
        write_whole(out / _MARKER, format_name)


def check_owned(out: Path, format_name: str) -> str | None:
    """Which format's answer a folder is, None for a new one. Raises DataError where `own_folder` would."""
    if not out.is_dir():
        return None
    marker = out / _MARKER
    with told(out):
        owner = marker.read_text() if marker.is_file() else None
        strangers = owner is None and any(not path.name.endswith(UNFINISHED) for path in out.iterdir())
    if strangers or (owner is not None and owner != format_name):
        held = f"an answer in the format {owner!r}" if owner else "other things"
        raise DataError(
            f"A folder in the format {format_name!r} must be new, empty or an earlier answer in it, but {out} holds "
            f"{held}; choose another --out."
        )
    return owner
