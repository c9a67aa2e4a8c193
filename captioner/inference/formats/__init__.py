"""From the journal to the file or folder that was asked for: rendered whole, the same bytes for the same records."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from captioner.errors import ConfigError
from captioner.inference.formats.coco import write_coco
from captioner.inference.formats.imagefolder import write_imagefolder
from captioner.inference.formats.rows import Records
from captioner.inference.formats.tables import write_csv, write_parquet
from captioner.inference.formats.webdataset import write_webdataset

JOURNAL: Final = "jsonl"
"""The format that is not rendered: the journal itself."""

FORMATS: Final[dict[str, Callable[[Records, Path], int]]] = {
    "csv": write_csv,
    "parquet": write_parquet,
    "coco": write_coco,
    "imagefolder": write_imagefolder,
    "webdataset": write_webdataset,
}
"""Name -> what renders it. A renderer reads the records as often as it needs to and returns how many pictures that have
a caption it had to leave out, because their files are gone or have changed since they were captioned."""

FOLDER_FORMATS: Final = ("imagefolder", "webdataset")
"""Those that are folders; the others are files."""

_SUFFIXES: Final = {".jsonl": JOURNAL, ".csv": "csv", ".parquet": "parquet", ".json": "coco"}


def recognise(out: Path) -> str:
    """The format that a name asks for by its suffix: `JOURNAL` or a key of `FORMATS`. Raises ConfigError if none."""
    name = _SUFFIXES.get(out.suffix.lower())
    if name is None:
        raise ConfigError(
            f"What to write must be known by the end of --out ({', '.join(_SUFFIXES)}) or by --format, "
            f"but {out} came alone; give --format {' or '.join((JOURNAL, *FORMATS))}."
        )
    return name
