"""The pictures of a folder, found by the names that captions call them."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from captioner.data.folders import Globs, walk
from captioner.data.rows import Dropped, split_named
from captioner.errors import DataError, ImageError

MISSING = "picture file missing"


class Pictures:
    """All files named like pictures below a folder; links are followed, hidden files passed over.

    Raises DataError when the folder cannot be listed.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise DataError(f"The pictures must lie in a folder, but {root} is none: name it with --images.")
        self.root = root.resolve()
        # Names and no paths: there may be millions.
        self._files = {as_compared(relative): relative for relative in sorted(_pictures_below(self.root))}

    def __iter__(self) -> Iterator[str]:
        """The paths of all pictures, relative to the root, in alphabetical order."""
        return iter(self._files)

    def __getitem__(self, relative: str) -> Path:
        return self.root / self._files[relative]

    def find(self, name: str, *, near: str = "") -> str | Dropped:
        """The path, relative to the root, of the picture that a collection calls `name`.

        A name may start in the folder `near`, at the root, or further inside where only one picture fits: then
        folders that are not here (those of another computer) count for nothing, and neither do capitals or a suffix
        left out, where nothing fits better. No name leads out of the root.
        """
        told = as_compared(name.strip())
        if told not in self._files:
            told = told.replace("\\", "/")
        if told.startswith(("http://", "https://")):
            return Dropped("picture", name, "a web address, not a file")
        if posixpath.isabs(told):
            told = posixpath.relpath(told, as_compared(self.root.as_posix()))
        paths = [posixpath.normpath(posixpath.join(start, told)) for start in (near, "")]
        for path in paths:
            if path in self._files:
                return path
        fitting = self._further_inside([part for part in paths[1].split("/") if part != ".."], near)
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            return Dropped("picture", name, "several pictures have this name", ", ".join(fitting[:3]))
        outside = all(path.startswith("..") for path in paths)
        return Dropped("picture", name, "path leads out of the folder" if outside else MISSING)

    def _further_inside(self, told: list[str], near: str) -> list[str]:
        """The pictures that fit the parts of a name best; each lies in all folders that it tells and that are here."""
        if not told:
            return []
        *folders, base = told
        here = self._folders.intersection((*folders, *near.split("/")))
        fitting = [path for path in self._by_name.get(base.casefold(), []) if here <= set(path.split("/")[:-1])]
        for start in range(len(told)):
            end = "/".join(told[start:])
            if ending := [path for path in fitting if f"/{path}".endswith(f"/{end}")]:
                return ending
        return [path for path in fitting if posixpath.basename(path).casefold() == base.casefold()] or fitting

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """The paths of pictures by their last name in small letters, with and without its suffix."""
        by_name: dict[str, list[str]] = {}
        for path in self._files:
            name = posixpath.basename(path).casefold()
            for spelling in (name, posixpath.splitext(name)[0]):
                by_name.setdefault(spelling, []).append(path)
        return by_name

    @cached_property
    def _folders(self) -> set[str]:
        """The names of all folders that hold pictures."""
        return {folder for path in self._files for folder in path.split("/")[:-1]}

    def unused(self, used: set[str]) -> Iterator[Dropped]:
        """Every picture that is not in `used`: nobody captioned it."""
        for relative in self:
            if relative not in used:
                yield Dropped("picture", relative, "nobody captioned it", fault=False)


def split_of_path(relative: str) -> str | None:
    """The split that a folder of the path is named after, the outermost first."""
    return next(filter(None, map(split_named, relative.split("/")[:-1])), None)


def as_compared(name: str) -> str:
    """A name as it is compared: systems differ in whether an accent is a letter's part."""
    return unicodedata.normalize("NFC", name)


def _pictures_below(root: Path) -> Iterator[str]:
    for below, found in walk(str(root), Globs()):
        if isinstance(found, ImageError):
            raise DataError(str(found))
        if found == "picture":
            yield below
