"""The collection that a teacher writes and a person corrects: a folder that `captioner prepare` reads as it is.

    metadata.jsonl        file_name, captions, path: one line for each picture, yours to correct
    pictures/3f/3f2a....jpg   named by its content: a hard link to the original where there can be one, else a copy
    made_by.json          which teacher wrote the captions, and what it was asked
    failed.jsonl          the pictures that the last run got no captions for, and why

Lines of `metadata.jsonl` are added and never changed, so whatever a person corrects stays. A picture whose line is
there is done; one whose line was taken out is labelled anew by the next run; one that should stay out keeps its line,
with `"captions": []`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from captioner.data.listing import Item
from captioner.durable import Growing, told, write_whole
from captioner.errors import DataError
from captioner.inference.formats.pictures import own_folder, place_picture, suffix_of
from captioner.inference.records import difference, key_of, to_line

_FORMAT: Final = "labelled"


@dataclass(frozen=True)
class Labelled:
    """One picture with its captions, or with why it has none."""

    item: Item
    digest: str | None
    captions: tuple[str, ...] = ()
    error: str | None = None
    error_kind: str | None = None


class LabelledFolder:
    """The folder, open for one run at a time; close it, or use it in a `with` block."""

    def __init__(self, out: Path, made_by: dict[str, Any], *, resume: bool) -> None:
        """Begin the folder, or go on with it and learn what it holds.

        Raises DataError when it cannot be written, holds other things, was made in another way, is there without
        `resume`, or when a line of its metadata is broken.
        """
        own_folder(out, _FORMAT)
        self._out = out
        self._done: set[bytes] = set()
        self._digests: set[str] = set()
        metadata = out / "metadata.jsonl"
        with told(metadata):
            content = metadata.read_bytes() if metadata.exists() else b""
        if content and not resume:
            raise DataError(
                f"There are captions in {out} already; add to them, which leaves them as they are, with --resume, or "
                "choose another --out."
            )
        self._check_origin(made_by, begun=bool(content))
        self._learn(content, metadata)
        self._metadata = Growing(metadata)
        try:
            self._failed = Growing(out / "failed.jsonl", fresh=True)
        except BaseException:
            self._metadata.close()
            raise

    def done(self, item: Item) -> bool:
        """Whether a picture of this name has its line."""
        return key_of(item.name) in self._done

    def holds(self, digest: str) -> bool:
        """Whether a picture of this content has its line."""
        return digest in self._digests

    def write(self, batch: Sequence[Labelled]) -> list[Labelled]:
        """Add pictures; when this returns they are on the disk -> the same, where one that is gone has its error.

        Raises DataError when they cannot be written.
        """
        placed = [self._placed(labelled) for labelled in batch]
        good = [labelled for labelled in placed if labelled.error is None]
        self._metadata.append(_lines(self._row(labelled) for labelled in good))
        for labelled in good:
            self._done.add(key_of(labelled.item.name))
            self._digests.add(str(labelled.digest))
        failed = [labelled for labelled in placed if labelled.error is not None]
        self._failed.append(
            _lines({"path": each.item.name, "error": each.error, "error_kind": each.error_kind} for each in failed)
        )
        return placed

    def close(self) -> None:
        """Let others write to it."""
        self._metadata.close()
        self._failed.close()

    def __enter__(self) -> LabelledFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_origin(self, made_by: dict[str, Any], *, begun: bool) -> None:
        path = self._out / "made_by.json"
        try:
            before = json.loads(path.read_bytes()) if begun else made_by
        except (OSError, ValueError) as error:
            raise DataError(f"{path} must tell what made the captions beside it, but it cannot be read.") from error
        if differs := difference(before, made_by):
            raise DataError(
                f"{self._out} was made with other settings ({differs}); give the same again to go on, or choose "
                "another --out."
            )
        write_whole(path, json.dumps(made_by, indent=2, ensure_ascii=False) + "\n")

    def _learn(self, content: bytes, metadata: Path) -> None:
        """Note what is done."""
        lines = content.removeprefix(b"\xef\xbb\xbf").splitlines(keepends=True)
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                self._digests.add(PurePosixPath(row["file_name"]).stem)
                if isinstance(path := row.get("path"), str):
                    self._done.add(key_of(path))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                if isinstance(error, ValueError) and number == len(lines) and not line.endswith(b"\n"):
                    return  # torn by a crash; it will be cut off
                raise DataError(
                    f"Line {number} of {metadata} must be a JSON object with a file_name and captions, but it is not; "
                    "mend it, or take the line out to have its picture labelled anew."
                ) from error

    def _placed(self, labelled: Labelled) -> Labelled:
        if labelled.error is not None:
            return labelled
        record = {"path": labelled.item.name, "digest": labelled.digest}
        if place_picture(record, self._out / self._name(labelled)):
            return labelled
        sentence = f"{labelled.item.name} must stay as it is until it is labelled, but it has changed; run again."
        return Labelled(labelled.item, labelled.digest, error=sentence, error_kind="missing")

    @staticmethod
    def _name(labelled: Labelled) -> PurePosixPath:
        digest = str(labelled.digest)
        return PurePosixPath("pictures", digest[:2], f"{digest}{suffix_of(labelled.item.name)}")

    def _row(self, labelled: Labelled) -> dict[str, Any]:
        return {
            "file_name": str(self._name(labelled)),
            "captions": list(labelled.captions),
            "path": labelled.item.name,
        }


def _lines(records: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(map(to_line, records))
