"""Records as a table, one row per picture: CSV for spreadsheets, Parquet for data frames.

Both have the same columns, whatever was asked for. What has parts itself (`candidates`, `words`, `made_by`) is JSON
text in CSV; in Parquet only `made_by` is, for its parts differ from one version to the next.

A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula, and a picture's name may be one. So a
text that begins with such a sign gets an apostrophe in front, and so does one that begins with an apostrophe: a reader
who takes one leading apostrophe away from a cell that has one holds the exact text. `as_name` then tells the name.
"""

import codecs
import csv
import json
from pathlib import Path
from typing import Any, Final

from captioner.durable import whole_file
from captioner.inference.formats.rows import Records, Row, in_batches, plain

COLUMNS: Final = (
    "path",
    "caption",
    "confidence",
    "uncertain",
    "candidates",
    "words",
    "error",
    "error_kind",
    "digest",
    "made_by",
)

# What begins a formula in one program or another, in any width, and our own sign that it is none.
_FORMULA_SIGNS: Final = tuple("=+-@\t\r\n＝＋－＠'")

_ROW_GROUP: Final = 10_000


def write_csv(records: Records, out: Path) -> int:
    """A CSV file (RFC 4180, UTF-8) with a line of names. Returns 0: every record is a row.

    Raises DataError when it cannot be written; `out` is then as it was.
    """
    with whole_file(out) as file:
        table = csv.writer(codecs.getwriter("utf-8")(file))
        table.writerow(COLUMNS)
        for record in map(plain, records()):
            table.writerow([_cell(record.get(column)) for column in COLUMNS])
    return 0


def write_parquet(records: Records, out: Path) -> int:
    """A Parquet file in row groups of 10,000. Returns 0: every record is a row. Raises as `write_csv` does."""
    import pyarrow
    from pyarrow import parquet

    text, number = pyarrow.string(), pyarrow.float64()
    types = {
        "confidence": number,
        "uncertain": pyarrow.bool_(),
        "candidates": pyarrow.list_(pyarrow.struct({"text": text, "log_probability": number})),
        "words": pyarrow.list_(pyarrow.struct({"word": text, "confidence": number})),
    }
    schema = pyarrow.schema([(column, types.get(column, text)) for column in COLUMNS])
    with whole_file(out) as file, parquet.ParquetWriter(file, schema, compression="zstd") as table:
        for batch in in_batches(map(plain, records()), _ROW_GROUP):
            table.write_table(pyarrow.Table.from_pylist([_with_origin_as_text(row) for row in batch], schema=schema))
    return 0


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value.startswith(_FORMULA_SIGNS):
        return f"'{value}"
    return value


def _with_origin_as_text(row: Row) -> Row:
    return {**row, "made_by": json.dumps(row["made_by"], ensure_ascii=False)}
