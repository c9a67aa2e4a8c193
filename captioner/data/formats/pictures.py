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
        self._files = {_key(relative): relative for relative in sorted(_pictures_below(self.root))}

    def __iter__(self) -> Iterator[str]:
        """The paths of all pictures, relative to the root, in alphabetical order."""
        return iter(self._files)

    def __getitem__(self, relative: str) -> Path:
        return self.root / self._files[relative]

    def find(self, name: str, *, near: str = "") -> str | Dropped:
        """The path, relative to the root, of the picture that a collection calls `name`.

        A name may start at the root, in the folder `near` of it, or further inside where only one picture fits.
        """
        told = _key(name.strip())
        if told not in self._files:
            told = told.replace("\\", "/")
        if told.startswith(("http://", "https://")):
            return Dropped("picture", name, "a web address, not a file")
        if posixpath.isabs(told):
            told = posixpath.relpath(told, _key(self.root.as_posix()))
        told = posixpath.normpath(told)
        if told.split("/")[0] == "..":
            return Dropped("picture", name, "path leads out of the folder")
        for path in (told, posixpath.join(near, told)):
            if path in self._files:
                return path
        return self._further_inside(name, told, near)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        by_name: dict[str, list[str]] = {}
        for key in self._files:
            by_name.setdefault(posixpath.basename(key), []).append(key)
        return by_name

    def _further_inside(self, name: str, told: str, near: str) -> str | Dropped:
        same_name = self._by_name.get(posixpath.basename(told), [])
        for fitting in (
            [path for path in same_name if path.endswith(f"/{told}")],
            [path for path in same_name if near and near in path.split("/")],
            same_name,
        ):
            if len(fitting) == 1:
                return fitting[0]
        if same_name:
            return Dropped("picture", name, "several pictures have this name", ", ".join(same_name[:3]))
        return Dropped("picture", name, MISSING)

    def unused(self, used: set[str]) -> Iterator[Dropped]:
        """Every picture that is not in `used`: nobody captioned it."""
        for relative in self:
            if relative not in used:
                yield Dropped("picture", relative, "nobody captioned it", fault=False)


def split_of_path(relative: str) -> str | None:
    """The split that a folder of the path is named after, the outermost first."""
    return next(filter(None, map(split_named, relative.split("/")[:-1])), None)


def _key(name: str) -> str:
    """A name as it is compared: systems differ in whether an accent is a letter's part."""
    return unicodedata.normalize("NFC", name)


def _pictures_below(root: Path) -> Iterator[str]:
    for below, found in walk(str(root), Globs()):
        if isinstance(found, ImageError):
            raise DataError(str(found))
        if found == "picture":
            yield below
