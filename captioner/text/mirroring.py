"""What a caption says of the mirror image: left and right change places. English only."""

import re

_SIDE = re.compile(
    r"(?<!\bhas )(?<!\bhave )(?<!\bhad )\b(left|right)\b(?! (?:behind|next|in front|beside|alone|after|before|by)\b)",
    re.IGNORECASE,
)
"""Not "a dog right behind a man", and not one that "has left"."""


def mirrored_caption(caption: str) -> str:
    """The caption of the mirror image; the sides that it names are in lower case."""
    return _SIDE.sub(lambda side: "right" if side[0].lower() == "left" else "left", caption)
