"""Records and their pictures as WebDataset shards, which `datasets.load_dataset("webdataset", data_dir=...)` reads.

    000000.tar            1,000 samples each; in every sample
      000000000.jpg         the picture's file, byte for byte; the record's place in the journal is the key
      000000000.txt         its caption
      000000000.json        its record, without the keys that hold null

A column has one name in all samples: where the pictures are of several kinds they are all called `.jpg`, for
`datasets` gives no picture at all to a row whose suffix is not that of the first. Its readers go by the content.
Pictures without a caption are left out.
"""

import io
import json
import re
import tarfile
from pathlib import Path
from typing import Final

from captioner.durable import UNFINISHED, told, whole_file
from captioner.inference.formats.pictures import own_folder, picture_of, suffix_of
from captioner.inference.formats.rows import Records, Row, in_batches, plain, without_nulls

_OURS: Final = re.compile(rf"\d{{6,}}\.tar|\.\d{{6,}}\.tar{re.escape(UNFINISHED)}")

Sample = tuple[str, Row]
"""The key of a sample, and its record."""


def write_webdataset(records: Records, out: Path, *, per_shard: int = 1000) -> int:
    """Returns how many pictures that have a caption are left out: they are gone, or have changed since.

    Each shard is written whole or not at all, and one that stands there already with the same records is kept.
    Raises DataError when `out` holds other things or cannot be written.
    """
    own_folder(out, "webdataset")
    suffix = _suffix(records)
    samples = ((f"{number:09}", record) for number, record in enumerate(records()) if record["caption"] is not None)
    left_out, shards = 0, set()
    for number, batch in enumerate(in_batches(samples, per_shard)):
        # `datasets` takes its columns from the first five samples; what these lack is lost to all.
        batch.sort(key=lambda sample: sample[1]["confidence"] is None)
        shard = out / f"{number:06}.tar"
        shards.add(shard.name)
        if not _holds(shard, batch, suffix):
            left_out += _write_shard(shard, batch, suffix)
    with told(out):
        for path in sorted(out.iterdir()):
            if _OURS.fullmatch(path.name) and path.name not in shards:
                path.unlink()
    return left_out


def _suffix(records: Records) -> str:
    """What all pictures are called."""
    suffixes = {suffix_of(record["path"]) for record in records() if record["caption"] is not None}
    return suffixes.pop() if len(suffixes) == 1 else ".jpg"


def _write_shard(shard: Path, samples: list[Sample], suffix: str) -> int:
    left_out = 0
    with whole_file(shard) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key, record in samples:
            picture = picture_of(record)
            if picture is None:
                left_out += 1
                continue
            _add(tar, key + suffix, picture)
            _add(tar, f"{key}.txt", _text(record))
            _add(tar, f"{key}.json", _json(record))
    return left_out


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    # No time, no owner: the same records give the same bytes.
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _holds(shard: Path, samples: list[Sample], suffix: str) -> bool:
    """Whether a shard is there with just these samples; its pictures need not be read for that."""
    expected = [
        member
        for key, record in samples
        for member in ((key + suffix, None), (f"{key}.txt", _text(record)), (f"{key}.json", _json(record)))
    ]
    try:
        with tarfile.open(shard, "r:") as tar:
            for (name, content), member in zip(expected, tar, strict=True):
                if member.name != name:
                    return False
                if content is not None:
                    held = tar.extractfile(member)
                    if held is None or held.read() != content:
                        return False
    except (OSError, tarfile.TarError, ValueError):  # none there, damaged, or of another length
        return False
    return True


def _text(record: Row) -> bytes:
    return str(plain(record)["caption"]).encode()


def _json(record: Row) -> bytes:
    return json.dumps(without_nulls(plain(record)), ensure_ascii=False).encode()
