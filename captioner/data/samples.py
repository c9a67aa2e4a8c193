"""A few photographs that are always there, to try the captioner on: those inside the Gradio package."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

# Its other pictures are drawings, logos and a still of a film.
_PHOTOGRAPHS = ("lion.jpg", "tower.jpg", "cheetah1.jpg", "cheetah.jpg")


def sample_pictures() -> list[Path]:
    """The photographs found on this machine; nothing is fetched, and none found is an empty list."""
    return find_packaged("gradio", "media_assets/images", _PHOTOGRAPHS)


def find_packaged(package: str, folder: str, names: Iterable[str]) -> list[Path]:
    """Those of the files that lie in a folder of an installed package; the package is not imported."""
    found = importlib.util.find_spec(package)
    places = found.submodule_search_locations if found is not None else None
    paths = [Path(place, folder, name) for place in places or () for name in names]
    return [path for path in paths if path.is_file()]
