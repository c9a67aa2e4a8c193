"""A few photographs that are always there, to try the captioner on: those inside the Gradio package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

# Its other pictures are drawings, logos and a still of a film.
_PHOTOGRAPHS = ("lion.jpg", "tower.jpg", "cheetah1.jpg", "cheetah.jpg")


def sample_pictures() -> list[Path]:
    """The photographs found on this machine; nothing is fetched, and none found is an empty list."""
    gradio = importlib.util.find_spec("gradio")
    folders = gradio.submodule_search_locations if gradio is not None else None
    photographs = [Path(folder, "media_assets", "images", name) for folder in folders or () for name in _PHOTOGRAPHS]
    return [photograph for photograph in photographs if photograph.is_file()]
