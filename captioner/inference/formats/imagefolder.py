"""Records and their pictures as a folder that `datasets.load_dataset("imagefolder", data_dir=...)` reads.

    metadata.jsonl                                   file_name, path, caption, candidates, confidence, uncertain, edited
    pictures/000041/000041250-0123456789abcdef.jpg   the record's place in the journal, and the picture's digest

A picture is a hard link to the original where the file system can make one, else a copy. Names are not the originals':
those of two folders may be the same, and `datasets` would take a file called `test-1.jpg`, or in a folder called
`val`, out of the collection and into a split of its own. `path` keeps the original name. Pictures without a caption
are left out.

The digest makes a name stand for one content, so that pictures can be put beside those of an earlier answer before
`metadata.jsonl` is exchanged in one step; those that it no longer lists are taken away after that.
"""

import json
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Final

from captioner.durable import UNFINISHED, told, whole_file
from captioner.inference.formats.pictures import own_folder, place_picture, suffix_of
from captioner.inference.formats.rows import Records, Row, plain, without_nulls

_METADATA: Final = "metadata.jsonl"
_PICTURES: Final = "pictures"
_PER_FOLDER: Final = 1000
_OURS: Final = re.compile(rf"\d{{9,}}-[0-9a-f]{{16}}\.\w+|\.\d{{9,}}-.*{re.escape(UNFINISHED)}")


def write_imagefolder(records: Records, out: Path, *, below: str | Path = "", link: bool = True) -> int:
    """Returns how many pictures that have a caption are left out: they are gone, or have changed since.

    The records' paths start from the folder `below`; without `link` pictures are always copied. Raises DataError when
    `out` holds other things or cannot be written; it then loads as it did before.
    """
    own_folder(out, "imagefolder")
    left_out = 0
    with whole_file(out / _METADATA) as metadata:
        for number, record in enumerate(records()):
            if record["caption"] is None:
                continue
            name = _name(number, record)
            if place_picture(record, out / name, below=below, link=link):
                metadata.write(json.dumps(_row(name, record), ensure_ascii=False).encode() + b"\n")
            else:
                left_out += 1
    _sweep(out)
    return left_out


def _name(number: int, record: Row) -> PurePosixPath:
    """Where a picture stands in the folder."""
    digest = str(record["digest"]).replace("/", "_")  # a journal from elsewhere must not lead out of the folder
    name = f"{number:09}-{digest}{suffix_of(record['path'])}"
    return PurePosixPath(_PICTURES, f"{number // _PER_FOLDER:06}", name)


def _row(name: PurePosixPath, record: Row) -> Row:
    row = plain(record)
    chosen = {column: row[column] for column in ("path", "caption", "confidence", "uncertain")}
    # Not `captions`: whoever trains on the folder shall learn the caption alone, which somebody may have corrected.
    candidates = [candidate["text"] for candidate in row["candidates"]]
    edited = (row.get("made_by") or {}).get("edited")
    return dict(without_nulls({"file_name": str(name), **chosen, "candidates": candidates, "edited": edited}))


def _sweep(out: Path) -> None:
    """Take away the pictures that are not listed."""
    listed = set()
    with told(out):
        for folder, names in _listed(out):
            listed.add(folder)
            _remove(out / folder, kept=names)
        for path in sorted((out / _PICTURES).glob("*")):
            if path.is_dir() and path.relative_to(out) not in listed:
                _remove(path, kept=set())
                if not any(path.iterdir()):
                    path.rmdir()


def _listed(out: Path) -> Iterator[tuple[Path, set[str]]]:
    """The folders of pictures, and the names listed in each."""
    with (out / _METADATA).open("rb") as lines:
        names = (Path(json.loads(line)["file_name"]) for line in lines)
        for folder, within in groupby(names, key=lambda name: name.parent):
            yield folder, {name.name for name in within}


def _remove(folder: Path, *, kept: set[str]) -> None:
    """Take away what this format put into a folder; whatever anyone else put there stays."""
    for path in list(folder.iterdir()):
        if path.name not in kept and _OURS.fullmatch(path.name):
            path.unlink()
