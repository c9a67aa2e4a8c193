"""How large a picture may be: judged from its file and its header, before a pixel is decoded."""

import re
from typing import Final

from captioner.errors import ImageError

MAX_PIXELS: Final = 50_000_000
# A longer side would turn into a giant as soon as somebody scales the shorter one up.
MAX_SIDE: Final = 20_000
# The largest allowed picture, uncompressed, at four bytes a pixel.
MAX_BYTES: Final = 4 * MAX_PIXELS
# Each progressive scan repaints the whole picture; honest encoders write about ten.
MAX_SCANS: Final = 100

# In a JPEG, FF and a code. Stuffing (00), fill (FF) and
# the markers without a length (TEM, RST, SOI) are not meant.
_JPEG_SEGMENT: Final = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
_END_OF_IMAGE: Final = 0xD9
_START_OF_SCAN: Final = 0xDA


def check_weight(size: int, name: str) -> None:
    """Raise ImageError if a file of `size` bytes is empty or too large."""
    if size == 0:
        raise ImageError(f"{name} must hold a picture, but it is empty; copy or download it again.")
    if size > MAX_BYTES:
        raise ImageError(
            f"{name} must have at most {MAX_BYTES // 1_000_000} MB, but it has {size / 1_000_000:.0f} MB; "
            f"save it smaller.",
            kind="too large",
        )


def check_size(size: tuple[int, int], name: str) -> None:
    """Raise ImageError if a picture of (width, height) pixels is empty or too large."""
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{name} must have at least one pixel, but it has {width} x {height}; crop it anew.")
    if width * height > MAX_PIXELS or max(size) > MAX_SIDE:
        raise too_large(name, f"it has {width} x {height}")


def check_scans(data: bytes, name: str) -> None:
    """Raise ImageError if the file's bytes are a JPEG of more than `MAX_SCANS` scans."""
    if data.startswith(b"\xff\xd8") and _has_too_many_scans(data):
        raise ImageError(
            f"{name} must be a JPEG of at most {MAX_SCANS} scans, but it has more, as only an attack does; "
            f"save it again in another program, or leave it out.",
            kind="too large",
        )


def too_large(name: str, what_came: str) -> ImageError:
    """Return the error for too many pixels."""
    return ImageError(
        f"{name} must have at most {MAX_PIXELS // 1_000_000} megapixels and sides of at most {MAX_SIDE} "
        f"pixels, but {what_came}; scale it down.",
        kind="too large",
    )


def out_of_memory(name: str) -> ImageError:
    """Return the error for a picture that needs more memory than there is."""
    return ImageError(
        f"{name} must fit into the memory there is for decoding it, but it needs more; scale it down.",
        kind="too large",
    )


def _has_too_many_scans(data: bytes) -> bool:
    """Return whether a JPEG starts more than `MAX_SCANS` scans before its end-of-image marker.

    ITU-T T.81, B.1.1: in compressed data FF is always followed by 00 or a restart marker, so that FF DA there
    starts a scan; but metadata and whatever follows the picture may hold FF DA by chance.
    """
    # Almost every file ends here, a thousand times faster than decoding it: no scan without its marker.
    if data.count(b"\xff\xda") <= MAX_SCANS:
        return False
    scans, position = 0, 2
    while marker := _JPEG_SEGMENT.search(data, position):
        code = marker[1][0]
        if code == _END_OF_IMAGE:
            return False
        scans += code == _START_OF_SCAN
        if scans > MAX_SCANS:
            return True
        length = data[marker.end() : marker.end() + 2]
        position = marker.end() + int.from_bytes(length, "big")
    return False
