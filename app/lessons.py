"""The collection that a person writes on the page: a folder that `captioner prepare` reads as it is.

    metadata.jsonl   file_name, captions, split: one line for each picture that is kept
    pictures/        dog-3f2a81bc9d4e5f60.jpg: the visitor's name for it, then the beginning of its content's SHA-256
    .waiting/        pictures that came and nobody has corrected yet, listed in .waiting.jsonl
    .removed/        those that were removed last, listed in .removed.jsonl
    .splits.json     the split of each picture that was ever kept, by the beginning of its content's SHA-256

Every change is on the disk when its method returns. Several pages, and several servers, may change it at once: each
change reads what there is and writes it anew while the others wait, so of two edits of one picture the last stays, and
of two pictures both.

Each picture gets its split when it is first kept, and has it for good, also when it is removed and comes again: from
those in `test` no model made here has learnt, also not the one that the next teaching begins with.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, get_args

from captioner.data.captions import LONGEST_WORD, Limits, check
from captioner.data.images import read_file
from captioner.durable import alone, told, write_whole
from captioner.errors import DataError
from captioner.inference.formats.pictures import own_folder, suffix_of
from captioner.inference.records import to_line

MOST_CAPTIONS: Final = 5
"""Of one picture: as many as Flickr8k has; more teach little."""
_LIMITS: Final = Limits()
_REMOVED: Final = 20
"""Pictures that were removed last, and can be put back."""
_LONGEST_STEM: Final = 60
_DIGITS: Final = 16

Split = Literal["train", "validation", "test"]
Shelf = Literal["pictures", ".waiting", ".removed"]


@dataclass(frozen=True)
class Lesson:
    """A picture and what is to be said about it."""

    name: str
    """Its path below the folder, with slashes; it changes when the picture is kept, removed or put back."""
    captions: tuple[str, ...]
    """While it waits: what a model suggests, or a person has begun to write."""
    split: Split | None = None
    """None until it is kept."""

    @property
    def title(self) -> str:
        """What the visitor called the picture."""
        return re.sub(rf"-[0-9a-f]{{{_DIGITS}}}$", "", PurePosixPath(self.name).stem)


class Lessons:
    """The folder; every method may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        """It is made when the first picture comes."""
        self.folder = folder
        self._changing = threading.Lock()

    def kept(self) -> list[Lesson]:
        """What models learn from, in the order in which it came. Raises DataError when the list is damaged."""
        return self._listed("pictures")

    def waiting(self) -> list[Lesson]:
        """The pictures that nobody has corrected yet, in the order in which they came. Raises DataError."""
        return [lesson for lesson in self._listed(".waiting") if self.picture(lesson).is_file()]

    def picture(self, lesson: Lesson) -> Path:
        """Where its file is."""
        return self.folder / lesson.name

    def wait(self, path: Path, name: str, suggestion: str) -> Lesson:
        """Take a picture in that a person is to correct; one that is here already stays as it is.

        `name` is what the visitor calls it. Raises ImageError when it cannot be read, DataError when the folder cannot
        be written.
        """
        content = read_file(path, name=name)
        own_name = harmless(name, content)
        with self._alone():
            own_folder(self.folder, "lessons")
            if (same := self._same(own_name)) is not None:
                return same
            lesson = Lesson(f".waiting/{own_name}", (suggestion,) if suggestion else ())
            with told(self.folder):
                self.picture(lesson).parent.mkdir(exist_ok=True)
            write_whole(self.picture(lesson), content)
            return self._put(lesson, ".waiting")

    def keep(self, name: str, captions: Sequence[str]) -> Lesson:
        """Keep a waiting picture, or change the captions of one that is kept.

        Raises DataError when a caption is of no use, there are too many, the picture is gone, or nothing can be
        written.
        """
        given = checked(captions)
        with self._alone():
            lesson = self._found(name, "pictures", ".waiting")
            return self._put(replace(lesson, captions=given), "pictures")

    def draft(self, name: str, captions: Sequence[str]) -> Lesson:
        """Remember what a person has begun to write: of a waiting picture as it is, of a kept one as its captions.

        Raises DataError as `keep` does; while the picture waits, any caption will do.
        """
        with self._alone():
            lesson = self._found(name, "pictures", ".waiting")
            shelf = _shelf_of(lesson)
            begun = tuple(caption for caption in captions if caption.strip())
            return self._put(replace(lesson, captions=begun if shelf == ".waiting" else checked(captions)), shelf)

    def remove(self, name: str) -> Lesson:
        """Take a picture out; `put_back` undoes it. Raises DataError when it is gone or nothing can be written."""
        with self._alone():
            lesson = self._found(name, "pictures", ".waiting")
            if self.picture(lesson).is_file():
                return self._put(lesson, ".removed")
            self._take_off(lesson)  # there is nothing to put back
            return lesson

    def put_back(self, name: str) -> Lesson:
        """Undo the removal of a picture, by the name that `remove` gave it.

        Raises DataError as `remove` does, and when the picture has come again: its captions are newer.
        """
        with self._alone():
            if (same := self._same(name)) is not None:
                raise DataError(
                    f"A picture is put back where it is missing, but {same.title} is here already; leave it."
                )
            lesson = self._found(name, ".removed")
            return self._put(lesson, "pictures" if lesson.split else ".waiting")

    def _put(self, lesson: Lesson, shelf: Shelf) -> Lesson:
        """The lesson on a shelf, in place of itself where it stands there already, and on no other.

        Its file is there before it is listed, and where it was until then, so that no death in between loses it.
        """
        kept, before = self._listed(shelf), self.picture(lesson)
        places = [place for place, other in enumerate(kept) if other.name == lesson.name]
        on_shelf = lesson if places else self._renamed(lesson, shelf)
        if shelf == "pictures" and on_shelf.split is None:
            on_shelf = replace(on_shelf, split=self._remembered().get(self._digest(lesson)) or next_split(kept))
        if places:
            kept[places[0]] = on_shelf
        else:
            kept = [*(other for other in kept if other.name != on_shelf.name), on_shelf]
        if on_shelf.split is not None:
            self._remember(self._digest(lesson), on_shelf.split)
        if self.picture(on_shelf) != before:
            _link(before, self.picture(on_shelf))
        self._write(shelf, kept[-_REMOVED:] if shelf == ".removed" else kept)
        for gone in kept[:-_REMOVED] if shelf == ".removed" else ():
            self.picture(gone).unlink(missing_ok=True)
        if on_shelf.name != lesson.name:
            self._take_off(lesson)
            before.unlink(missing_ok=True)
        return on_shelf

    def _take_off(self, lesson: Lesson) -> None:
        """Strike a lesson off the list of its shelf."""
        shelf = _shelf_of(lesson)
        self._write(shelf, [other for other in self._listed(shelf) if other.name != lesson.name])

    def _digest(self, lesson: Lesson) -> str:
        with told(self.picture(lesson)):
            return _digest(self.picture(lesson).read_bytes())

    def _remembered(self) -> dict[str, Split]:
        """The split of each picture that was ever kept, by its content's digest. Raises DataError when damaged."""
        file = self.folder / ".splits.json"
        try:
            with told(file):
                splits: dict[str, Split] = json.loads(file.read_bytes()) if file.exists() else {}
            if not set(splits.values()) <= set(get_args(Split)):
                raise ValueError(splits)
        except (ValueError, AttributeError, TypeError) as error:
            raise DataError(
                f"{file.name} must hold the split of each picture, but it is damaged; delete it."
            ) from error
        return splits

    def _remember(self, digest: str, split: Split) -> None:
        splits = self._remembered()
        if splits.get(digest) != split:
            write_whole(self.folder / ".splits.json", json.dumps(splits | {digest: split}, indent=0) + "\n")

    def _same(self, name: str) -> Lesson | None:
        """The picture of that content, kept or waiting: the same one, whatever it is called now."""
        here = (*self._listed("pictures"), *self.waiting())
        return next((lesson for lesson in here if _identity(lesson.name) == _identity(name)), None)

    @staticmethod
    def _renamed(lesson: Lesson, shelf: Shelf) -> Lesson:
        return replace(lesson, name=f"{shelf}/{PurePosixPath(lesson.name).name}")

    def _found(self, name: str, *shelves: Shelf) -> Lesson:
        for lesson in (lesson for shelf in shelves for lesson in self._listed(shelf)):
            if lesson.name == name and self.picture(lesson).is_file():
                return lesson
        # Two pages may be open: what waited here may have been kept there.
        title = PurePosixPath(name).name
        for lesson in self._listed("pictures") if "pictures" in shelves else ():
            if PurePosixPath(lesson.name).name == title:
                return lesson
        raise DataError("This picture must still be in the collection, but it was removed; add it again.")

    def _listed(self, shelf: Shelf) -> list[Lesson]:
        file = self._list(shelf)
        with told(file):
            lines = file.read_bytes().splitlines() if file.exists() else []
        return [_lesson(line, file, number) for number, line in enumerate(lines, start=1) if line.strip()]

    def _write(self, shelf: Shelf, lessons: Sequence[Lesson]) -> None:
        write_whole(self._list(shelf), b"".join(to_line(_row(lesson)) for lesson in lessons))

    def _list(self, shelf: Shelf) -> Path:
        return self.folder / ("metadata.jsonl" if shelf == "pictures" else f"{shelf}.jsonl")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with told(self.folder):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self._changing, alone(self.folder.with_name(f".{self.folder.name}.lock")):
            yield


def next_split(kept: Sequence[Lesson]) -> Split:
    """Where the next picture goes: a fifth each is held out to choose by and to judge by, of more than 100 less.

    Of ten pictures six are learnt from, of 100 sixty, of 1,000 eight hundred.
    """
    pictures = len(kept) + 1
    held_out = min(pictures // 5, max(20, pictures // 10))
    for split in ("test", "validation"):
        if sum(lesson.split == split for lesson in kept) < held_out:
            return "test" if split == "test" else "validation"
    return "train"


def checked(captions: Sequence[str]) -> tuple[str, ...]:
    """The captions as they are kept: mended, without empty ones, each once.

    Raises DataError when one is of no use, none is left or they are too many.
    """
    given = check((caption for caption in captions if caption.strip()), _LIMITS)
    if given.faults:
        reason, beginning = given.faults[0]
        raise DataError(
            f"A caption must be a sentence of {_LIMITS.min_words} to {_LIMITS.max_words} words of at most "
            f"{LONGEST_WORD} letters, but {beginning!r} is not ({reason}); write what one sees."
        )
    different = tuple(dict.fromkeys(given.kept))
    if not 1 <= len(different) <= MOST_CAPTIONS:
        raise DataError(
            f"A picture must have 1 to {MOST_CAPTIONS} captions, but {len(different)} came; write one on each line."
        )
    return different


def harmless(name: str, content: bytes) -> str:
    """A file's name that tells a visitor's name for it, yet is a plain one everywhere, and this content's alone."""
    letters = re.sub(r"[^\w ]+", "-", PurePosixPath(name.replace("\\", "/")).stem)
    stem = letters.encode()[:_LONGEST_STEM].decode(errors="ignore").strip(" -_") or "picture"
    return f"{stem}-{_digest(content)}{suffix_of(name)}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


def _identity(name: str) -> str:
    """The digest that `harmless` wrote into a name; the name itself where a person gave it."""
    own = PurePosixPath(name)
    marked = re.search(rf"-([0-9a-f]{{{_DIGITS}}})$", own.stem)
    return own.name if marked is None else marked[1]


def _link(before: Path, after: Path) -> None:
    """The same file under a second name, or a copy where there can be no links."""
    with told(after):
        after.parent.mkdir(exist_ok=True)
        try:
            os.link(before, after)
        except FileExistsError:  # left by a death in between
            pass
        except OSError:
            write_whole(after, before.read_bytes())


def _shelf_of(lesson: Lesson) -> Shelf:
    first = PurePosixPath(lesson.name).parts[0]
    return ".waiting" if first == ".waiting" else ".removed" if first == ".removed" else "pictures"


def _row(lesson: Lesson) -> dict[str, Any]:
    split = {} if lesson.split is None else {"split": lesson.split}
    return {"file_name": lesson.name, "captions": list(lesson.captions), **split}


def _lesson(line: bytes, file: Path, number: int) -> Lesson:
    try:
        row = json.loads(line)
        split: Any = row.get("split")
        if split not in (None, "train", "validation", "test"):
            raise ValueError(split)
        return Lesson(str(row["file_name"]), tuple(map(str, row["captions"])), split)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"Line {number} of {file.name} must be a JSON object with a file_name and captions, but it is not; mend "
            "it, or take the line out."
        ) from error
