"""Several journals joined into one: what the shards of a run, or several machines, have written."""

from collections.abc import Sequence
from pathlib import Path

from captioner.data.images import printable
from captioner.durable import whole_file
from captioner.errors import DataError
from captioner.inference.records import Record, difference, key_of, read_records, to_line


def merge_journals(parts: Sequence[Path], out: Path) -> int:
    """Write the records of all `parts`, in their order, to `out`, whole or not at all; how many there are.

    Raises DataError when a part cannot be read, two hold the same picture, or they were made with different settings.
    """
    origin: Record | None = None
    seen: dict[bytes, int] = {}
    count = 0
    with whole_file(out) as file:
        for number, part in enumerate(parts):
            for record in read_records(part):
                origin = origin or record["made_by"]
                if record["made_by"] != origin:
                    raise DataError(
                        f"The parts of one whole must be made with the same settings, but those of {part} differ "
                        f"({difference(origin, record['made_by'])}); merge only what belongs together."
                    )
                first = seen.setdefault(key_of(record["path"]), number)
                if first != number:
                    raise DataError(
                        f"A picture must be in one part alone, but {printable(record['path'])} is in {parts[first]} "
                        f"and in {part}; leave one of them out."
                    )
                file.write(to_line(record))
                count += 1
    return count
