"""Records as one COCO captions file: what `pycocotools`, `pycocoevalcap` and torchvision's `CocoCaptions` read.

    images        id (the record's place in the journal, from 1) and file_name, for each picture that has a caption
    annotations   one for each of these: id, image_id, caption; also confidence, uncertain and candidates
    errors        file_name, error and error_kind of each picture that has no caption; COCO knows no such list
    info          made_by: the settings that the captions come from, each once

Other candidates are no annotations of their own: COCO's five captions are five people's, and its evaluation takes one
caption per picture. The list of annotations alone is what COCO calls results (`COCO.loadRes`).
"""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from captioner.durable import whole_file
from captioner.inference.formats.rows import Records, Row, as_text, plain


class _Text(Protocol):
    def write(self, text: str, /) -> object: ...


def write_coco(records: Records, out: Path) -> int:
    """One JSON file, an object per line within its lists. Returns 0: no record is left out.

    The journal is read four times, so that memory does not grow with it. Raises DataError when the file cannot be
    written; `out` is then as it was.
    """
    with whole_file(out) as binary:
        file = codecs.getwriter("utf-8")(binary)
        file.write("{")
        _write_list(file, "images", (_image(number, record) for number, record in _captioned(records)))
        _write_list(file, "annotations", (_annotation(number, record) for number, record in _captioned(records)))
        _write_list(file, "errors", (_error(record) for record in records() if record["caption"] is None))
        file.write(f'"info": {_json({"description": "Captions by Captioner", "made_by": _origins(records)})}}}\n')
    return 0


def _captioned(records: Records) -> Iterator[tuple[int, Row]]:
    return ((number, record) for number, record in enumerate(records(), start=1) if record["caption"] is not None)


def _write_list(file: _Text, name: str, objects: Iterator[Row]) -> None:
    file.write(f'"{name}": [')
    for number, each in enumerate(objects):
        file.write(f"{',' if number else ''}\n{_json(each)}")
    file.write("\n],\n")


def _image(number: int, record: Row) -> Row:
    return {"id": number, "file_name": as_text(record["path"])}


def _annotation(number: int, record: Row) -> Row:
    told = {name: plain(record)[name] for name in ("caption", "confidence", "uncertain", "candidates")}
    return {"id": number, "image_id": number, **told}


def _error(record: Row) -> Row:
    row = plain(record)
    return {"file_name": row["path"], "error": row["error"], "error_kind": row["error_kind"]}


def _origins(records: Records) -> list[Row]:
    different = {_json(record["made_by"]): None for record in records()}
    return [json.loads(origin) for origin in different]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
