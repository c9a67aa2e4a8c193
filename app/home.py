"""Where the page keeps things between visits: the models that were accepted, and one's captioned pictures."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from captioner.durable import write_whole
from captioner.errors import ConfigError

_NAME = re.compile(r"\w(?:[\w .-]{0,62}\w)?")
"""What is a plain name of a folder on every platform, and reads well in a list of models."""


@dataclass(frozen=True)
class Home:
    """A folder of the one who serves the page; strangers (`--public`) never reach it."""

    folder: Path
    """Made when something is first kept there."""

    @property
    def collection(self) -> Path:
        """The folder of the captioned pictures; it may not be there yet."""
        return self.folder / "collection"

    def models(self) -> dict[str, Path]:
        """The folders of the accepted models by their names, in alphabetical order; whether they are sound is open."""
        found = (self.folder / "models").glob("*/manifest.json")
        return {path.parent.name: path.parent for path in sorted(found) if _NAME.fullmatch(path.parent.name)}

    def chosen(self) -> str | None:
        """The accepted model that visits begin with; None before one was accepted, and once it is gone."""
        try:
            name = self._choice.read_text(encoding="utf-8")
        except (OSError, ValueError):
            return None
        return name if name in self.models() else None

    def choose(self, name: str) -> None:
        """Let visits begin with this accepted model. Raises DataError when that cannot be written."""
        write_whole(self._choice, name)

    @property
    def _choice(self) -> Path:
        return self.folder / "chosen.txt"

    def new_model(self, name: str) -> Path:
        """The folder for a new model of that name, not yet made.

        Raises ConfigError when models cannot be called so, or one already is.
        """
        if not _NAME.fullmatch(name):
            raise ConfigError(
                "A model's name must be 1 to 64 letters, digits, spaces, points and hyphens, the first and the last of "
                f"them letters or digits, but {name!r} came; choose another."
            )
        folder = self.folder / "models" / name
        if folder.exists():
            raise ConfigError(f"A new model needs a name of its own, but there is one called {name!r}; choose another.")
        return folder


def default_home() -> Path:
    """Where a user's data are kept on this platform; on Linux $XDG_DATA_HOME/captioner or ~/.local/share/captioner."""
    if sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    else:
        given = Path(os.environ.get("XDG_DATA_HOME", ""))  # to be ignored unless absolute, says its specification
        folder = given if given.is_absolute() else Path.home() / ".local" / "share"
    return folder / "captioner"
