"""Where answers go: into one file, which may then be rendered in another format, or beside the pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from captioner.data.images import printable
from captioner.data.listing import Item
from captioner.errors import DataError
from captioner.inference.bulk import Captioned
from captioner.inference.caption import Caption
from captioner.inference.formats import FOLDER_FORMATS, FORMATS, JOURNAL
from captioner.inference.formats.pictures import check_owned
from captioner.inference.records import Journal, Record, RecordStyle, key_of, read_records
from captioner.inference.sidecars import SidecarError, Sidecars


def journal_path(out: Path, format_name: str) -> Path:
    """Where the records of a run lie: in its output itself, or beside it."""
    return out if format_name == JOURNAL else out.with_name(f"{out.name}.jsonl")


def find_journal(out: Path) -> Path:
    """Where the records of a run that was made lie, known by its output: beside it, or else in the output itself."""
    beside = out.parent / f"{out.name}.jsonl"
    return beside if beside.is_file() else out


class OneFile:
    """A journal, and beside it the file or folder that is rendered from it, unless its lines are all that is wanted."""

    def __init__(
        self,
        out: Path,
        format_name: str,
        style: RecordStyle,
        *,
        already_there: Literal["fail", "skip", "overwrite", "append"],
        retry: bool = False,
    ) -> None:
        """`retry` is that of `Journal`.

        Raises DataError as that does, when what stands at `out` is no file (or no folder of such captions) that could
        be replaced, and when the file to render is there without the journal it came from.
        """
        if format_name in FOLDER_FORMATS:
            check_owned(out, format_name)
        elif out.exists() and not out.is_file():
            raise DataError(
                f"--out must be a file, new or one that can be replaced, but {out} is a folder, a pipe or a device; "
                "choose another --out."
            )
        self._out = Path(os.path.realpath(out))  # a link stays one
        self._render = None if format_name == JOURNAL else FORMATS[format_name]
        self._style = style
        journal = journal_path(out, format_name)
        if already_there != "overwrite" and out.is_file() and not journal.exists():
            raise DataError(
                f"{out} is there already, but not {journal}, the records that such a file is made from; replace it "
                "(--on-existing overwrite), or choose another --out."
            )
        self._journal = Journal(journal, already_there=already_there, origin=style.made_by, retry=retry)

    @property
    def errors_before(self) -> int:
        """How many of the pictures done before have no caption."""
        return self._journal.done.errors

    def done(self, item: Item) -> bool:
        """Whether the journal holds this picture already."""
        return self._journal.done.take(item.name)

    def write(self, batch: Sequence[Captioned]) -> Sequence[Captioned]:
        """Append their records to the journal. Raises DataError."""
        self._journal.append([self._style.record(captioned) for captioned in batch])
        return batch

    def append(self, records: Iterable[Record]) -> None:
        """Append records made elsewhere, but for those that the journal held when it was opened. Raises DataError."""
        self._journal.append([record for record in records if not self._journal.done.take(record["path"])])

    def finish(self) -> int:
        """Render the journal; how many captioned pictures had to be left out, being gone. Raises DataError."""
        return 0 if self._render is None else self._render(lambda: read_records(self._journal.path), self._out)

    def close(self) -> None:
        """Let others write to the journal."""
        self._journal.close()


class BesidePictures:
    """A text file for each picture that has a caption."""

    errors_before = 0
    """A picture without a sidecar is tried again."""

    def __init__(self, sidecars: Sidecars, style: RecordStyle) -> None:
        self._sidecars = sidecars
        self._style = style
        self._wrote = False
        self._owners: dict[bytes, bytes] = {}
        """Whose each sidecar of this run is, where they mirror folders from different places."""

    def done(self, item: Item) -> bool:
        """Whether its sidecar is there and shall stay.

        Raises DataError where none may be there, or where it would be another picture's, too.
        """
        try:
            self._claim(item)
            there = self._sidecars.exists(item)
        except SidecarError:  # which its answer will say
            return False
        if self._sidecars.on_existing not in ("skip", "fail") or not there:
            return False
        if self._sidecars.on_existing == "fail":
            raise DataError(
                f"There is a caption in {printable(self._sidecars.path_for(item))} already; choose another "
                "--on-existing, or another --out."
            )
        return True

    def _claim(self, item: Item) -> None:
        if self._sidecars.folder is None:
            return
        path = self._sidecars.path_for(item)
        owner = self._owners.setdefault(key_of(str(path)), key_of(item.name))
        if owner != key_of(item.name):
            raise DataError(
                f"Each picture must have a sidecar of its own, but {printable(path)} would be that of "
                f"{printable(item.name)} and of another; caption what lies in different places into different folders."
            )

    def write(self, batch: Sequence[Captioned]) -> Sequence[Captioned]:
        """Write the sidecars of those that have a caption; where one cannot be, that is its picture's error.

        Raises DataError when none can be written.
        """
        answers = [self._written(captioned) for captioned in batch]
        failed = [str(each.caption.error) for each in answers if each.caption.error_kind == "not written"]
        if failed and not self._wrote:  # none can be
            raise DataError(failed[0])
        return answers

    def _written(self, captioned: Captioned) -> Captioned:
        caption = self._style.record(captioned)["caption"]
        try:
            if caption is not None:
                self._sidecars.write(captioned.item, caption)
                self._wrote = True
        except SidecarError as error:
            return replace(captioned, caption=Caption(error=str(error), error_kind="not written"))
        return captioned

    def finish(self) -> int:
        """Nothing is left to do, and nothing left out."""
        return 0

    def close(self) -> None:
        """Nothing is open."""
