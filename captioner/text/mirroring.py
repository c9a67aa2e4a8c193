"""What a caption says of the mirror image: left and right change places."""

import re

_SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)


def mirrored_caption(caption: str) -> str:
    """The caption of the mirror image, in lower case where it names a side; of other languages' words none is known."""
    return _SIDE.sub(lambda side: "right" if side[0].lower() == "left" else "left", caption)
