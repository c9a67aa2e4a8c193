"""Where the captions of `captioner caption` go: what its options mean together."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from captioner.errors import ConfigError, DataError

from . import lies_in

if TYPE_CHECKING:
    from captioner.data.listing import Item
    from captioner.inference.bulk import Captioned
    from captioner.inference.caption import Caption
    from captioner.inference.destinations import BesidePictures, OneFile
    from captioner.inference.records import RecordStyle

Existing = Literal["skip", "overwrite", "append", "prepend", "fail"]

_SIDECAR = "sidecar"


class Output:
    """A place for captions that was asked for, checked, but not opened yet."""

    def __init__(
        self, out: Path | None, format_name: str | None, existing: Existing | None, *, resume: bool, retry: bool = False
    ) -> None:
        """Raises ConfigError when the options contradict one another."""
        from captioner.inference.formats import FORMATS, JOURNAL, recognise

        known = (JOURNAL, *FORMATS, _SIDECAR)
        if format_name is not None and format_name not in known:
            raise ConfigError(f"--format must be one of {', '.join(known)}, but {format_name!r} came.")
        if out is not None and out.name in ("", ".."):
            raise ConfigError(f"--out must name a file or folder to write, not {out}; give it a name of its own.")
        self.out = out
        self.format = format_name if format_name is not None or out is None else recognise(out)
        if out is None and self.format not in (None, _SIDECAR):
            raise ConfigError(f"--format {self.format} needs a place to write to; give --out.")
        if resume and (out is None or self.format == _SIDECAR):
            raise ConfigError(
                "--resume goes on with the file that --out names; sidecars that are there are skipped anyway."
            )
        if resume and existing not in (None, "skip"):
            raise ConfigError(f"--resume goes on with what is there, but --on-existing {existing} came too; drop one.")
        if retry and not resume:
            raise ConfigError("--retry tries again what a run before could not read; give --resume, too.")
        if existing is not None and self.format is None:
            raise ConfigError("--on-existing is about captions that were written; give --out or --format sidecar.")
        if existing == "prepend" and self.format != _SIDECAR:
            raise ConfigError("--on-existing prepend is for sidecars alone; choose append.")
        self._retry = retry
        self._existing: Existing = existing or ("skip" if resume or self.format == _SIDECAR else "fail")

    def check_apart(self, named: Sequence[str]) -> None:
        """Raise ConfigError if pictures would be written into a folder that pictures are read from."""
        from captioner.inference.formats import FOLDER_FORMATS

        if self.out is None or self.format not in FOLDER_FORMATS:
            return
        for name in named:
            if os.path.isdir(name) and lies_in(self.out, name):
                raise ConfigError(
                    f"--format {self.format} writes pictures, so --out must lie outside what is captioned, but "
                    f"{self.out} lies in {name}; choose another --out."
                )

    @property
    def kept(self) -> bool:
        """Whether captions are written to stay, and not only printed."""
        return self.format is not None

    @property
    def has_journal(self) -> bool:
        """Whether captions are written into one file, and not only printed or put beside pictures."""
        return self.kept and self.format != _SIDECAR

    def take_parts_folder(self) -> Path:
        """Where several machines put what they have until it is in the journal.

        Raises DataError when an earlier run has left some there, and is neither gone on with nor replaced.
        """
        assert self.out is not None, "only what has a journal has parts"
        folder = self.out.with_name(f"{self.out.name}.parts")
        if folder.exists() and self._existing == "overwrite":
            shutil.rmtree(folder)
        if folder.exists() and self._existing != "skip":
            raise DataError(
                f"There are captions in {folder} already; go on with them (--resume), replace them "
                "(--on-existing overwrite), or choose another --out."
            )
        return folder

    def remarks(self, *, errors_before: int, left_out: int, stopped: bool) -> Iterator[str]:
        """What there is to say after a run."""
        if errors_before:
            hint = "" if self._retry else "; --retry tries again what could not be read"
            yield f"{errors_before:,} of those done before have no caption{hint}."
        if left_out:
            yield f"{left_out:,} captions are not in {self.out}: their pictures are gone or changed."
        if stopped:
            again = "the same command" if self.format == _SIDECAR else "the same command with --resume"
            yield f"Stopped as asked; nothing is lost: {again} goes on." if self.kept else "Stopped as asked."

    def open(self, style: "RecordStyle") -> "OneFile | BesidePictures":
        """The place itself; only for captions that are kept. Raises DataError when nothing can be written there."""
        from captioner.inference.destinations import BesidePictures, OneFile
        from captioner.inference.sidecars import Sidecars

        if self.format == _SIDECAR:
            return BesidePictures(Sidecars(self.out, on_existing=self._existing), style)
        assert self.out is not None, "every format but sidecars has its --out"
        assert self.format is not None, "nobody opens a place for captions that are printed"
        assert self._existing != "prepend", "only sidecars are prepended to"
        return OneFile(self.out, self.format, style, already_there=self._existing, retry=self._retry)

    def undone(self, items: "Iterator[Item]") -> "Iterator[Item]":
        """The items that have no caption there yet; nothing is written."""
        from captioner.inference.destinations import journal_path
        from captioner.inference.records import Done, RecordStyle, can_be_tried_again, read_records

        if self.format == _SIDECAR:
            sidecars = self.open(RecordStyle({}))
            return (item for item in items if not sidecars.done(item))
        if self.out is None or self.format is None or not (path := journal_path(self.out, self.format)).exists():
            return items
        if self._existing == "fail":
            self.open(RecordStyle({})).close()  # which will be refused
        kept = (record for record in read_records(path) if not (self._retry and can_be_tried_again(record)))
        done = Done(kept if self._existing == "skip" else ())
        return (item for item in items if not done.take(item.name))


class Printed:
    """Captions as lines on standard output: a destination that keeps nothing."""

    errors_before = 0

    def __init__(self, style: "RecordStyle", *, confidence: bool, words: bool, alt_text: bool) -> None:
        self._style = style
        self._confidence = confidence
        self._words = words
        self._alt_text = alt_text

    def done(self, item: "Item") -> bool:
        """Nothing is."""
        return False

    def write(self, batch: "Sequence[Captioned]") -> "Sequence[Captioned]":
        """Print `path: caption` for each that has one."""
        from captioner.text.alt_text import lint_alt_text

        for captioned in batch:
            caption, path = captioned.caption, captioned.item.name
            if self._style.error(captioned)[0] is not None:
                continue
            _print(f"{path}: {self._line(caption, path)}")
            for finding in lint_alt_text(caption.text or "") if self._alt_text else ():
                print(f"captioner: {path} as alt text: {finding}", file=sys.stderr)
        return batch

    def finish(self) -> int:
        """Nothing is left to do."""
        return 0

    def close(self) -> None:
        """Nothing is open."""

    def _line(self, caption: "Caption", path: str) -> str:
        """A caption as a line: `A dog runs. (medium, 0.41; dog 0.93, runs 0.55)`."""
        told = self._style.wording(caption, path, hedged=True)
        if not (self._confidence or self._words):
            return told
        how_sure = "uncertain" if caption.confidence is None else f"{caption.level}, {caption.confidence:.2f}"
        if self._words and caption.word_confidences is not None:
            pairs = zip(caption.candidates[0].words, caption.word_confidences, strict=True)
            how_sure += "; " + ", ".join(f"{word} {each:.2f}" for word, each in pairs if each is not None)
        return f"{told} ({how_sure})"


def _print(line: str) -> None:
    try:
        print(line, flush=True)
    except BrokenPipeError:  # whoever reads has had enough
        raise
    except OSError as error:
        raise DataError(
            f"Captions cannot be written to standard output ({error.strerror}); make room there."
        ) from error
