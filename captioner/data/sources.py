"""Every collection format -> one `datasets.DatasetDict`, with a full account of what was left out.

A format is one function that takes a folder and yields a `Row` for every picture it can caption and a
`Dropped` for everything it cannot. `build` then checks all rows alike (captions, doubled names, pictures
that leak from one split into another, files that do not open) and writes the collection:

    split         train, validation, test: those that exist; in this order
    image_id      str, unique in the collection; rows are sorted by it
    image         datasets.Image holding the bytes of the original file, untouched
    captions      list of str, at least one, in their original spelling without outer whitespace

To add a format, write its function, name it in `FORMATS`, and teach `recognise` its telltale file.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Literal

from datasets import (
    Dataset,
    DatasetDict,
    DatasetInfo,
    Features,
    Image,
    List,
    NamedSplit,
    Value,
    load_from_disk,
)
from datasets.arrow_writer import ArrowWriter
from datasets.table import MemoryMappedTable

from captioner.data.images import read_image
from captioner.data.shapes import draw
from captioner.errors import DataError, ImageError

SPLITS = ("train", "validation", "test")
FEATURES = Features({"image_id": Value("string"), "image": Image(), "captions": List(Value("string"))})

# Pictures in memory at one time while they are checked, and rows in one Arrow record batch.
_ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Row:
    """One captioned picture as a format tells it, before any check.

    `image` is the file or its bytes; `captions` may still hold blanks and outer whitespace.
    """

    split: str
    image_id: str
    image: Path | bytes
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Dropped:
    """One picture or one caption that is left out, and why.

    `reason` is one of few, so that reasons can be counted; `detail` may say more about this one.
    `fault` is False where nothing is wrong: the collection itself does not use the picture.
    """

    unit: Literal["picture", "caption"]
    name: str
    reason: str
    detail: str = ""
    fault: bool = True


@dataclass(frozen=True)
class Report:
    """What `build` kept, in pictures and captions per split, and everything it left out.

    `fingerprint` (64 hex digits) is equal for two collections exactly when all their rows are equal.
    """

    pictures: dict[str, int]
    captions: dict[str, int]
    dropped: tuple[Dropped, ...]
    fingerprint: str

    @property
    def bad_share(self) -> float:
        """Share of pictures, 0 to 1, that should have been usable and were not."""
        bad = sum(loss.unit == "picture" and loss.fault for loss in self.dropped)
        return bad / max(1, bad + sum(self.pictures.values()))

    def reasons(self) -> dict[tuple[str, str], list[Dropped]]:
        """What was left out, grouped by (unit, reason), the most frequent first."""
        groups: dict[tuple[str, str], list[Dropped]] = {}
        for loss in self.dropped:
            groups.setdefault((loss.unit, loss.reason), []).append(loss)
        return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))

    def as_json(self) -> dict[str, Any]:
        """The report as plain lists and dicts, every dropped thing named."""
        return {
            "fingerprint": self.fingerprint,
            "kept": {
                split: {"pictures": self.pictures[split], "captions": self.captions[split]} for split in self.pictures
            },
            "bad_share": round(self.bad_share, 6),
            "dropped": [
                {
                    "unit": unit,
                    "reason": reason,
                    "count": len(losses),
                    "names": [f"{loss.name}: {loss.detail}" if loss.detail else loss.name for loss in losses],
                }
                for (unit, reason), losses in self.reasons().items()
            ],
        }


@dataclass(frozen=True)
class Prepared:
    """A collection and the account of how it came about."""

    collection: DatasetDict
    report: Report


def recognise(folder: Path) -> str:
    """The format of a folder of captioned pictures, a key of `FORMATS`.

    Raises DataError when it is no folder or of no known format.
    """
    if not folder.is_dir():
        raise DataError(
            f"A collection must be a folder of captioned pictures (or the word `shapes`), but {folder} is "
            f"{'a file' if folder.exists() else 'not there'}: check the path."
        )
    if _flickr8k_texts(folder):
        return "flickr8k"
    raise DataError(
        f"{folder} holds no collection of a known format: flickr8k is known by its file Flickr8k.token.txt, "
        "in the folder itself or in Flickr8k_text/."
    )


def read_rows(folder: Path, format_name: str | None = None) -> Iterator[Row | Dropped]:
    """All rows of a folder, in the format named or else recognised.

    Raises DataError when the format is unknown or the folder lacks what the format needs.
    """
    name = recognise(folder) if format_name is None else format_name
    if name not in FORMATS:
        raise DataError(f"A collection's format must be one of {', '.join(FORMATS)}, not {name!r}.")
    return FORMATS[name](folder)


def flickr8k_rows(folder: Path) -> Iterator[Row | Dropped]:
    """Flickr8k: `name.jpg#0<TAB>caption` lines, and per split one file that lists its pictures.

    Hodosh, Young and Hockenmaier (2013), "Framing image description as a ranking task". The test list may
    be missing; pictures in no list are dropped. Names such as `name.jpg.1`, which the original caption
    file holds for one picture, are mended where `name.jpg` exists.
    Raises DataError when there is no caption file, no split list or no picture folder.
    """
    texts = _flickr8k_texts(folder)
    if texts is None:
        raise DataError(
            f"A flickr8k folder must hold Flickr8k.token.txt, itself or in Flickr8k_text/, but {folder} "
            "does not: check the path."
        )
    pictures = _flickr8k_pictures(folder)
    captions: dict[str, list[str]] = {}
    for found in _flickr8k_captions(texts / "Flickr8k.token.txt", pictures):
        if isinstance(found, Dropped):
            yield found
        else:
            name, caption = found
            captions.setdefault(name, []).append(caption)

    listed = set()
    for split, name in _flickr8k_splits(texts):
        listed.add(name)
        if name not in captions:
            yield Dropped("picture", name, "listed in a split but has no captions")
        elif name not in pictures:
            yield Dropped("picture", name, "picture file missing")
        else:
            yield Row(split, name, pictures[name], tuple(captions[name]))
    for name in sorted(captions.keys() - listed):
        yield Dropped("picture", name, "in no split list", fault=False)


_FLICKR8K_LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "validation": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}


def _flickr8k_texts(folder: Path) -> Path | None:
    """The folder that holds the caption file, or None."""
    places = (folder, folder / "Flickr8k_text")
    return next((place for place in places if (place / "Flickr8k.token.txt").is_file()), None)


def _flickr8k_pictures(folder: Path) -> dict[str, Path]:
    """File name -> file, for the folder that holds the pictures."""
    # The archive that everyone has spells its own name wrong.
    names = ("images", "Flicker8k_Dataset", "Flickr8k_Dataset", ".")
    for place in (folder / name for name in names):
        pictures = {
            file.name: file
            for file in (sorted(place.iterdir()) if place.is_dir() else ())
            if file.is_file() and file.suffix != ".txt"
        }
        if pictures:
            return pictures
    raise DataError(
        f"A flickr8k folder must hold its pictures in images/, Flicker8k_Dataset/ or itself, but {folder} "
        "holds none: unpack them there."
    )


def _flickr8k_captions(file: Path, pictures: dict[str, Path]) -> Iterator[tuple[str, str] | Dropped]:
    """(picture name, caption) of every line of the caption file."""
    seen = set()
    for number, line in enumerate(_lines(file), start=1):
        if line is not None and not line.strip():
            continue
        place = f"{file.name}, line {number}"
        parts = re.fullmatch(r"([^\t]+)#(\d+)\t(.*)", line or "")
        if parts is None:
            yield Dropped("caption", place, "not UTF-8 text" if line is None else "malformed line")
            continue
        name, which, caption = parts.groups()
        mended = re.sub(r"\.\d+$", "", name)
        if name not in pictures and mended in pictures:
            name = mended
        # Only the same line twice is a fault: two people may well have written the same caption.
        if (name, which, caption) in seen:
            yield Dropped("caption", place, "line given twice")
        else:
            seen.add((name, which, caption))
            yield name, caption


def _flickr8k_splits(texts: Path) -> Iterator[tuple[str, str]]:
    """(split, picture name) for every name of every split list, each name once per list."""
    lists = {split: texts / name for split, name in _FLICKR8K_LISTS.items() if (texts / name).is_file()}
    if not lists:
        raise DataError(
            f"A flickr8k folder must hold at least one split list ({', '.join(_FLICKR8K_LISTS.values())}), "
            f"but {texts} holds none: put one beside Flickr8k.token.txt."
        )
    for split, file in lists.items():
        names = (line.strip() for line in _lines(file) if line is not None)
        yield from ((split, name) for name in dict.fromkeys(names) if name)


def _lines(file: Path) -> Iterator[str | None]:
    """The lines of a text file, without their ends; None for a line that is not UTF-8."""
    for raw in file.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        try:
            yield raw.decode("utf-8").rstrip("\r")
        except UnicodeDecodeError:
            yield None


def shapes_rows(counts: dict[str, int], *, size: int, seed: int) -> Iterator[Row]:
    """The built-in drawn collection: `counts[split]` drawings of `size` x `size` pixels per split.

    No drawing of one split is drawn again in another. Raises DataError as `draw` does.
    """
    for position, split in enumerate(SPLITS):
        # Every split of every seed has a seed of its own.
        drawings = draw(counts.get(split, 0), seed=len(SPLITS) * seed + position, size=size)
        for number, drawing in enumerate(drawings):
            content = BytesIO()
            drawing.image.save(content, format="PNG")
            yield Row(split, f"{split}-{number:06}.png", content.getvalue(), drawing.captions)


# Every format that a folder can have, and the function that reads it.
FORMATS: dict[str, Callable[[Path], Iterator[Row | Dropped]]] = {"flickr8k": flickr8k_rows}


def build(rows: Iterable[Row | Dropped], working: Path) -> Prepared:
    """Check all rows and write them as one collection, memory-mapped from files in `working`.

    A picture is left out when it has no caption, does not open, or is already kept: under the same
    `image_id`, or with the same bytes in an earlier split, where it would leak into a measurement.
    Files are read a few at a time; the same rows give byte for byte the same collection.
    Raises DataError when no picture is left.
    """
    losses: list[Dropped] = []
    good = _opened(_captioned(_in_order(rows, losses), losses), losses)
    collection = DatasetDict()
    captions: Counter[str] = Counter()
    fingerprint = hashlib.sha256()
    for split, members in groupby(good, key=lambda row: row.split):
        digest = hashlib.sha256(split.encode())
        file = str(working / f"{split}.arrow")
        with ArrowWriter(features=FEATURES, path=file, writer_batch_size=_ROWS_AT_ONCE) as writer:
            for row in members:
                assert isinstance(row.image, bytes)
                digest.update(hashlib.sha256(row.image).digest())
                digest.update(json.dumps([row.image_id, row.captions]).encode())
                captions[split] += len(row.captions)
                picture = {"bytes": row.image, "path": None}
                writer.write({"image_id": row.image_id, "image": picture, "captions": list(row.captions)})
            writer.finalize()
        collection[split] = Dataset(
            MemoryMappedTable.from_file(file),
            info=DatasetInfo(features=FEATURES),
            split=NamedSplit(split),
            # `datasets` would put the time of writing into this, and no two runs would be alike.
            fingerprint=digest.hexdigest()[:16],
        )
        fingerprint.update(digest.digest())
    if not collection:
        raise DataError(_nothing_left(losses))
    pictures = {split: len(dataset) for split, dataset in collection.items()}
    return Prepared(collection, Report(pictures, dict(captions), tuple(losses), fingerprint.hexdigest()))


def _in_order(rows: Iterable[Row | Dropped], losses: list[Dropped]) -> list[Row]:
    """The rows sorted by split and `image_id`, each id once."""
    found: list[Row] = []
    for row in rows:
        if isinstance(row, Dropped):
            losses.append(row)
        else:
            found.append(row)
    ordered: dict[str, Row] = {}
    for row in sorted(found, key=lambda row: (SPLITS.index(row.split), row.image_id)):
        first = ordered.setdefault(row.image_id, row)
        if first is not row:
            reason = "named twice in one split" if first.split == row.split else "listed in two splits"
            losses.append(Dropped("picture", row.image_id, reason, f"{first.split} and {row.split}"))
    return list(ordered.values())


def _captioned(rows: Iterable[Row], losses: list[Dropped]) -> Iterator[Row]:
    """The rows that have a caption, captions without outer whitespace and none without a word."""
    for row in rows:
        trimmed = tuple(caption.strip() for caption in row.captions)
        worded = tuple(caption for caption in trimmed if any(letter.isalnum() for letter in caption))
        losses.extend([Dropped("caption", row.image_id, "empty caption")] * (len(trimmed) - len(worded)))
        if worded:
            yield replace(row, captions=worded)
        else:
            losses.append(Dropped("picture", row.image_id, "no captions"))


def _opened(rows: Iterator[Row], losses: list[Dropped]) -> Iterator[Row]:
    """The rows whose picture opens, with its bytes; none whose bytes an earlier split has."""
    splits: dict[bytes, str] = {}
    with ThreadPoolExecutor() as pool:
        while chunk := list(islice(rows, _ROWS_AT_ONCE)):
            for outcome in pool.map(_open, chunk):
                if isinstance(outcome, Dropped):
                    losses.append(outcome)
                    continue
                assert isinstance(outcome.image, bytes)
                first = splits.setdefault(hashlib.sha256(outcome.image).digest(), outcome.split)
                if first == outcome.split:
                    yield outcome
                else:
                    reason = "same picture as in an earlier split"
                    losses.append(Dropped("picture", outcome.image_id, reason, f"{first} and {outcome.split}"))


def _open(row: Row) -> Row | Dropped:
    try:
        content = row.image if isinstance(row.image, bytes) else row.image.read_bytes()
        read_image(content)
    except FileNotFoundError:
        return Dropped("picture", row.image_id, "picture file missing")
    except (ImageError, OSError) as error:
        return Dropped("picture", row.image_id, "picture unreadable", str(error))
    return replace(row, image=content)


def _nothing_left(losses: list[Dropped]) -> str:
    reasons = Counter(f"{loss.reason} ({loss.unit})" for loss in losses)
    told = ", ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3)) or "no pictures"
    return f"A collection must have at least one captioned picture, but nothing was left here: {told}."


def load_collection(folder: Path) -> DatasetDict:
    """Read a prepared collection back, memory-mapped.

    Raises DataError when the folder is not there, is damaged, or is not what `captioner prepare` writes.
    """
    remedy = "make one with `captioner prepare SOURCE --out DIR`"
    if not (folder / "dataset_dict.json").is_file():
        what = "holds none" if folder.is_dir() else "is not a folder" if folder.exists() else "is not there"
        raise DataError(f"A prepared collection must hold dataset_dict.json, but {folder} {what}: {remedy}.")
    try:
        collection = load_from_disk(str(folder))
    except Exception as error:  # whatever json, pyarrow or datasets make of a damaged file
        raise DataError(f"A prepared collection must be whole, but {folder} is damaged ({error}): {remedy}.") from error
    for split, dataset in collection.items():
        if split not in SPLITS or dataset.features != FEATURES:
            raise DataError(
                f"A prepared collection must have the splits {', '.join(SPLITS)} with the columns "
                f"{', '.join(FEATURES)}, but {folder} has {split} with {', '.join(dataset.features)}: "
                f"{remedy}."
            )
    if not sum(map(len, collection.values())):
        raise DataError(f"A prepared collection must hold a picture, but {folder} has none: {remedy}.")
    return collection
