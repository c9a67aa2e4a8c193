"""What a file is that is no picture we read, told by how it begins."""

import re
from typing import Final

# How familiar files begin, and what to do about them.
_BEGINNINGS: Final = (
    (rb".{4}ftyp(heic|heix|hevc|hevx|heim|heis|mif1|msf1)", "a HEIC photo", "save it as JPEG"),
    (rb".{4}ftyp(isom|iso[2-9]|mp4.|avc1|M4V |qt  )", "a video", "save one of its frames as JPEG or PNG"),
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", "a JPEG XL picture", "save it as JPEG or PNG"),
    (rb"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture", "save it as JPEG or PNG"),
    (rb"8BPS", "a Photoshop document", "export it as JPEG or PNG"),
    (rb"PK\x03\x04", "a ZIP archive", "unpack it"),
    (rb"BZh|\xfd7zXZ|7z\xbc\xaf\x27\x1c|Rar!", "an archive", "unpack it, or pack it as tar or tar.gz"),
    (rb"%PDF-", "a PDF document", "export the page as PNG"),
    (rb"%!PS", "a PostScript drawing", "export it as PNG"),
    (rb"(?i)(?!.*<html).*<svg", "an SVG drawing", "export it as PNG"),
    (rb"(?i)\s*<(!doctype html|html)", "a web page", "download the picture itself"),
)


def guess(data: bytes) -> tuple[str, str]:
    """Return what unreadable data seems to be, and what its owner can do."""
    head = data[:1024]
    # A damaged AVIF may carry the same container brand as HEIC.
    if b"avif" not in head[:64]:
        for pattern, what, remedy in _BEGINNINGS:
            if re.match(pattern, head, re.DOTALL):
                return what, remedy
    return "none of these, or damaged at its very beginning", "save it as JPEG or PNG"
