"""What lies below a folder, as a stream: pictures, archives of pictures, and subfolders that cannot be read.

`walk` neither waits nor grows, however many files a folder holds: names are read in stretches of `STRETCH`, each
sorted, so that a folder of up to that many entries comes in the order of its names and a larger one in sorted
stretches of the order the file system has. Of every stretch the files come first, then what its subfolders hold.

What is passed over: names that begin with a dot (macOS's `._x.jpg`, `.git`, files that are still being written),
and files that are named neither like a picture nor like an archive. Linked files are taken like others. A linked
folder is entered, but not one that contains its own link, and none twice through links: a loop ends.
"""

import fnmatch
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import Final, Literal

from captioner.data.images import IMAGE_SUFFIXES, printable
from captioner.errors import ImageError

TAR_SUFFIXES: Final = (".tar", ".tar.gz", ".tgz", ".tar.zst")
TABLE_SUFFIXES: Final = (".parquet",)
STRETCH: Final = 10_000

Kind = Literal["picture", "tar", "table", "saved"]
"""A file named like a picture; a tar archive; a Parquet file; a folder that `datasets` saved."""


def kind_of_file(name: str) -> Kind | None:
    """What a file is by its name, or None if it is neither a picture nor an archive."""
    lowered = name.lower()
    if os.path.splitext(lowered)[1] in IMAGE_SUFFIXES:
        return "picture"
    if lowered.endswith(TAR_SUFFIXES):
        return "tar"
    return "table" if lowered.endswith(TABLE_SUFFIXES) else None


def is_saved_dataset(folder: str) -> bool:
    """Whether a folder was written by the `save_to_disk` of `datasets`."""

    def holds(name: str) -> bool:
        return os.path.isfile(os.path.join(folder, name))

    return holds("dataset_dict.json") or (holds("state.json") and holds("dataset_info.json"))


@dataclass(frozen=True)
class Globs:
    """Which things below a folder are wanted: what an `include` matches (all if there is none), and no `exclude`.

    A pattern is matched, as by `fnmatch`, against the path below the folder, against the same with a slash in front
    and against the bare name: `*.png` is every PNG, `train/*` all that is below train, `/a.png` the one at the top,
    `**/small/*` what is in a folder small anywhere (`*` matches slashes too). The suffix is compared without regard
    to case, the rest with. An `exclude` that matches a folder or an archive leaves out all that is in it; an
    `include` that matches an archive takes in all of it that no `exclude` matches.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def wants(self, below: str) -> bool:
        """Whether the thing at this path is wanted."""
        return (not self.include or _matches(self.include, below)) and not self.leaves_out(below)

    def includes(self, below: str) -> bool:
        """Whether an `include` names the thing at this path: an archive, all of which is then wanted."""
        return _matches(self.include, below)

    def leaves_out(self, below: str) -> bool:
        """Whether an `exclude` names the thing at this path."""
        return _matches(self.exclude, below)

    def worth_opening(self, kind: Kind, below: str) -> bool:
        """Whether something at this path can be wanted: of an archive no `include` names, members still may be."""
        return not self.leaves_out(below) if kind == "tar" else self.wants(below)


def _matches(patterns: Sequence[str], below: str) -> bool:
    if not patterns:
        return False
    path = _lower_suffix(below)
    texts = (path, f"/{path}", path.rpartition("/")[2])
    return any(fnmatch.fnmatchcase(text, _lower_suffix(pattern.rstrip("/"))) for pattern in patterns for text in texts)


def _lower_suffix(path: str) -> str:
    stem, suffix = os.path.splitext(path)
    return stem + suffix.lower()


@dataclass(frozen=True)
class _Subfolder:
    below: str


def walk(top: str, globs: Globs) -> Iterator[tuple[str, Kind | ImageError]]:
    """Everything to caption below a folder: its path below `top`, with slashes, and what it is.

    Archives and saved data sets are named, not opened. A subfolder that cannot be read is an ImageError in its place.
    """
    followed = {os.path.realpath(top)}
    # A stack of our own: folders may be nested deeper than Python likes to recurse.
    open_folders = [_entries(top, "", globs)]
    while open_folders:
        step = next(open_folders[-1], None)
        if step is None:
            open_folders.pop()
        elif not isinstance(step, _Subfolder):
            yield step
        elif _may_enter(join(top, step.below), followed):
            open_folders.append(_entries(top, step.below, globs))


def join(top: str, below: str) -> str:
    """The path of what lies `below` a folder, without a `./` in front."""
    if not below:
        return top
    return below if top == "." else os.path.join(top, below)


def _entries(top: str, folder: str, globs: Globs) -> Iterator[tuple[str, Kind | ImageError] | _Subfolder]:
    """What lies directly in one folder below `top` ("" is `top` itself)."""
    path = join(top, folder)
    inside = f"{folder}/" if folder else ""
    if is_saved_dataset(path):
        if not folder or globs.worth_opening("saved", folder):
            yield folder, "saved"
        return
    try:
        with os.scandir(path) as entries:
            while stretch := sorted(islice(entries, STRETCH), key=attrgetter("name")):
                subfolders = []
                for entry in stretch:
                    below = inside + entry.name
                    if entry.name.startswith("."):
                        continue
                    if _is_folder(entry):
                        if not globs.leaves_out(below):
                            subfolders.append(_Subfolder(below))
                    elif (kind := kind_of_file(entry.name)) and globs.worth_opening(kind, below):
                        yield below, kind
                yield from subfolders
    except OSError as error:
        yield folder, _unreadable(path, error)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, say: whoever reads it will say so
        return False


def _may_enter(folder: str, followed: set[str]) -> bool:
    """Whether a folder is none that was reached by a link before, nor a link into a folder around itself."""
    if not os.path.islink(folder):
        return True
    target = os.path.realpath(folder)
    around = os.path.realpath(os.path.dirname(folder) or ".")
    if target in followed or os.path.commonpath((target, around)) == target:
        return False
    followed.add(target)
    return True


def _unreadable(folder: str, error: OSError) -> ImageError:
    return ImageError(
        f"{printable(folder)} must be a folder that can be read, but that failed ({error.strerror}); "
        f"allow this user to read it, or leave it out.",
        kind="missing" if isinstance(error, FileNotFoundError) else "unreadable",
    )
