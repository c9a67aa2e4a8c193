"""Rows of any source -> one `datasets.DatasetDict`, with a full account of what was left out; and back from disk.

split         train, validation, test: those that exist; in this order
image_id      str, unique in the collection; rows are sorted by it
image         datasets.Image holding the bytes of the original file, untouched
captions      list of str, at least one, in their original spelling (`captions.mend` tells the exceptions)
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from datasets import Dataset, DatasetDict, DatasetInfo, Features, Image, List, NamedSplit, Value, load_from_disk
from datasets.arrow_writer import ArrowWriter
from datasets.table import MemoryMappedTable

from captioner.data.captions import Limits
from captioner.data.inspection import Account, Aside, Seen, inspect
from captioner.data.likeness import Looks
from captioner.data.remarks import remarks_on
from captioner.data.report import Report
from captioner.data.rows import SPLITS, Dropped, Row
from captioner.data.splits import Shares, deal
from captioner.errors import DataError

FEATURES = Features({"image_id": Value("string"), "image": Image(), "captions": List(Value("string"))})

# Rows in one Arrow record batch.
_ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Prepared:
    """A collection and the account of how it came about."""

    collection: DatasetDict
    report: Report


def build(
    rows: Iterable[Row | Dropped],
    working: Path,
    *,
    divide: Shares | None = None,
    limits: Limits = Limits(),  # noqa: B008, frozen
    drop_lookalikes: bool = True,
    done: Callable[[int], None] = lambda pictures: None,
) -> Prepared:
    """Check all rows and write them as one collection, memory-mapped from files in `working`.

    A picture is left out when it has no caption of use, does not open, or is already kept: under the same `image_id`,
    or in an earlier split with the same bytes or, with `drop_lookalikes`, the same look: there it would leak into a
    measurement. The same rows give byte for byte the same collection, in whatever order they come.

    Args:
        rows: pictures, read a few at a time.
        working: a folder for the files; it must outlive the collection.
        divide: the shares by which validation and test are taken, where the rows have none, from the pictures of train
            and of no split. None: splits are as the rows have them, and pictures of no split belong to train.
        limits: how long captions may be.
        drop_lookalikes: whether a picture that looks like one of an earlier split is left out.
        done: told after every few pictures how many have been looked at.

    Raises:
        DataError: no picture is left.
    """
    account = Account()
    losses = account.losses
    with Aside(working / "aside") as aside:
        seen = list(inspect(iter(rows), aside, limits=limits, account=account, done=done))
        dealt, remarks = _in_splits(seen, divide)
        ordered = _in_order(dealt, losses)
        apart = _apart(ordered, losses, drop_lookalikes=drop_lookalikes)
        written = {
            split: _write(split, members, aside, working, losses)
            for split, members in groupby(apart, key=lambda row: row.split or "train")
        }
    written = {split: part for split, part in written.items() if part.captions}
    if not written:
        raise DataError(_nothing_left(losses))
    captions = {split: part.captions for split, part in written.items()}
    if twice := len(ordered) - len({(row.split, row.digest) for row in ordered}):
        remarks.append(f"Again in the same split under another name, where they weigh more: {twice:,}.")
    emptied = {row.split for row in seen} - captions.keys() - {None}
    fingerprint = hashlib.sha256(b"".join(part.digest for part in written.values()))
    report = Report(
        pictures={split: len(of_split) for split, of_split in captions.items()},
        captions={split: sum(map(len, of_split)) for split, of_split in captions.items()},
        dropped=tuple(losses),
        fingerprint=fingerprint.hexdigest(),
        splits={split: _short(part.digest) for split, part in written.items()},
        mended=dict(account.mended.most_common()),
        remarks=(*remarks, *remarks_on(captions, emptied=[split for split in SPLITS if split in emptied])),
    )
    return Prepared(DatasetDict({split: part.dataset for split, part in written.items()}), report)


def _in_splits(seen: list[Seen], divide: Shares | None) -> tuple[list[Seen], list[str]]:
    """The pictures, each in a split, and a sentence about those that were dealt."""
    named = {row.split for row in seen}
    if divide is not None:
        divide = Shares(
            validation=0 if "validation" in named else divide.validation, test=0 if "test" in named else divide.test
        )
    if divide is None or not (divide.validation or divide.test):
        return [replace(row, split=row.split or "train") for row in seen], []
    pool = [row for row in seen if row.split in (None, "train")]
    dealt = dict(zip((row.digest for row in pool), deal([row.digest for row in pool], divide), strict=True))
    counts = Counter(dealt[row.digest] for row in pool)
    told = ", ".join(f"{counts[split]:,} to {split}" for split in SPLITS if counts[split])
    missing = " and ".join(split for split in ("validation", "test") if getattr(divide, split))
    remark = [f"The source sets no pictures apart for {missing}, so they were dealt by content: {told}."]
    placed = [replace(row, split=dealt[row.digest]) if row.split in (None, "train") else row for row in seen]
    return placed, remark if pool else []


def _in_order(seen: list[Seen], losses: list[Dropped]) -> list[Seen]:
    """The pictures sorted by split and `image_id`, each id once, with the captions of all its rows."""
    ordered: dict[str, Seen] = {}
    for row in sorted(seen, key=lambda row: (SPLITS.index(row.split or "train"), row.image_id)):
        first = ordered.setdefault(row.image_id, row)
        if first is row:
            continue
        if (first.split, first.digest) == (row.split, row.digest):
            ordered[row.image_id] = replace(first, captions=tuple(dict.fromkeys((*first.captions, *row.captions))))
        else:
            reason = "named twice in one split" if first.split == row.split else "listed in two splits"
            losses.append(Dropped("picture", row.image_id, reason, f"{first.split} and {row.split}"))
    return list(ordered.values())


def _apart(ordered: list[Seen], losses: list[Dropped], *, drop_lookalikes: bool) -> Iterator[Seen]:
    """The pictures whose like, by content and by look, is in no earlier split."""
    earlier: list[Seen] = []
    for split, members in groupby(ordered, key=lambda row: row.split):
        contents = {row.digest: row for row in earlier}
        looks = Looks([row.look for row in earlier] if drop_lookalikes else [])
        kept = []
        for row in members:
            same = contents.get(row.digest)
            alike = None if same is not None else looks.alike(row.look)
            if same is not None:
                detail = f"{same.image_id} in {same.split}, and {split}"
                losses.append(Dropped("picture", row.image_id, "same picture as in an earlier split", detail))
            elif alike is not None:
                detail = f"{earlier[alike].image_id} in {earlier[alike].split}, and {split}"
                reason = "looks like a picture of an earlier split"
                losses.append(Dropped("picture", row.image_id, reason, detail, fault=False))
            else:
                kept.append(row)
                yield row
        earlier += kept


@dataclass(frozen=True)
class _Written:
    """One split on disk."""

    dataset: Dataset
    captions: list[tuple[str, ...]]
    digest: bytes


def _write(split: str, rows: Iterable[Seen], aside: Aside, working: Path, losses: list[Dropped]) -> _Written:
    file = str(working / f"{split}.arrow")
    digest, captions = hashlib.sha256(split.encode()), []
    with ArrowWriter(features=FEATURES, path=file, writer_batch_size=_ROWS_AT_ONCE) as writer:
        for row in rows:
            content = _content(row, aside)
            if content is None:
                losses.append(Dropped("picture", row.image_id, "picture changed while it was read"))
                continue
            digest.update(row.digest)
            digest.update(json.dumps([row.image_id, row.captions]).encode())
            captions.append(row.captions)
            picture = {"bytes": content, "path": None}
            writer.write({"image_id": row.image_id, "image": picture, "captions": list(row.captions)})
        writer.finalize()
    dataset = Dataset(
        MemoryMappedTable.from_file(file),
        info=DatasetInfo(features=FEATURES),
        split=NamedSplit(split),
        # `datasets` would put the time of writing into this, and no two runs would be alike.
        fingerprint=_short(digest.digest()),
    )
    return _Written(dataset, captions, digest.digest())


def _content(row: Seen, aside: Aside) -> bytes | None:
    """The picture as it was when it was looked at; None if it is not any more."""
    try:
        content = aside.read(row.source)
    except OSError:
        return None
    return content if hashlib.sha256(content).digest() == row.digest else None


def _short(digest: bytes) -> str:
    return digest.hex()[:16]


def _nothing_left(losses: list[Dropped]) -> str:
    reasons = Counter((loss.unit, loss.reason) for loss in losses)
    first = {(loss.unit, loss.reason): loss.name for loss in reversed(losses)}
    told = ", ".join(
        f"{count:,} x {reason} ({unit}, such as {first[unit, reason]})"
        for (unit, reason), count in reasons.most_common(3)
    )
    help_ = (
        "; where names, letters or splits are not understood, --images, --encoding and --resplit help" if losses else ""
    )
    return (
        f"A collection must have at least one captioned picture, but nothing was left here: {told or 'no pictures'}"
        f"{help_}."
    )


def load_collection(folder: Path) -> DatasetDict:
    """Read a prepared collection back, memory-mapped.

    Raises DataError when the folder is not there, is damaged, is not what `captioner prepare` writes, or is not what
    its own report says.
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
    _check_unchanged(list(collection), folder)
    return collection


def _check_unchanged(splits: list[str], folder: Path) -> None:
    """Raise DataError when the collection is another than the one that its report is about."""
    try:
        told = json.loads((folder / "report.json").read_text(encoding="utf-8"))["splits"]
    except FileNotFoundError:
        return  # saved by a program of somebody's own
    except (OSError, ValueError, KeyError, TypeError):
        told = None
    # `datasets` stores a new fingerprint with whatever it changes.
    states = {split: (folder / split / "state.json").read_text(encoding="utf-8") for split in splits}
    found = {split: json.loads(state)["_fingerprint"] for split, state in states.items()}
    if told != found:
        raise DataError(
            f"A prepared collection must be as `captioner prepare` wrote it, but {folder} was changed since: its "
            f"fingerprints are {found} and its report says {told}; prepare it again."
        )
