"""What the visitors of a load test send: photographs and crops of them, drawings, and files that are no pictures."""

from __future__ import annotations

import io
import random
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_CROPS = 4
_DRAWINGS = 8
HEAVY = "heavy.jpg"
_HEAVY_BYTES = 12_000_000
"""More than any page takes."""


@dataclass(frozen=True)
class Sent:
    """One file."""

    name: str
    data: bytes


def sound_pictures(seed: int) -> list[Sent]:
    """Files that are captioned: the sample photographs, crops of them, drawings, 16 bits a level, and an animation."""
    from PIL import Image

    from captioner.data.images import read_image
    from captioner.data.nonphotographs import draw_nonphotographs
    from captioner.data.samples import sample_pictures

    rng = random.Random(seed)
    sent = []
    for path in sample_pictures():
        photograph = read_image(path)
        crops = [_file(_cropped(photograph, rng), "JPEG") for _ in range(_CROPS)]
        sent.append(Sent(path.name, path.read_bytes()))
        sent += [Sent(f"{path.stem}-{number}.jpg", crop) for number, crop in enumerate(crops)]
    drawings = draw_nonphotographs(_DRAWINGS, seed=seed)
    sent += [Sent(f"drawing-{number}.png", _file(drawing.image, "PNG")) for number, drawing in enumerate(drawings)]
    grey = _cropped(photograph, rng).convert("L")
    deep = Image.frombytes("I;16", grey.size, b"".join(bytes((level, level)) for level in grey.tobytes()))
    frames = io.BytesIO()
    photograph.save(frames, "GIF", save_all=True, append_images=[_cropped(photograph, rng)] * 3)
    return [*sent, Sent("deep.png", _file(deep, "PNG")), Sent("moving.gif", frames.getvalue())]


def odd_files(seed: int) -> list[Sent]:
    """Files that must be refused, each with a sentence: broken, lying about what they are, empty, too large."""
    whole = next(sent for sent in sound_pictures(seed) if sent.name.endswith(".jpg"))
    return [
        Sent("broken.jpg", whole.data[: len(whole.data) // 2]),
        Sent("letter.jpg", b"Dear reader, this is no picture."),
        Sent("empty.png", b""),
        Sent("huge.png", _huge_png()),
        Sent("noise.webp", random.Random(seed).randbytes(20_000)),
    ]


def heavy_file() -> Sent:
    """A file that is refused before it has come."""
    return Sent(HEAVY, b"\xff\xd8" + bytes(_HEAVY_BYTES))


def _cropped(photograph: Image.Image, rng: random.Random) -> Image.Image:
    width, height = photograph.size
    left, top = rng.randrange(width // 4), rng.randrange(height // 4)
    return photograph.crop((left, top, width - rng.randrange(width // 4), height - rng.randrange(height // 4)))


def _file(picture: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def _huge_png() -> bytes:
    """A few bytes that promise 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
