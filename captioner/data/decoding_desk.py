"""Where a picture is laid down for the process that decodes it, and its pixels for us: a file that both have open.

Whatever its length, everything lies in the file, which is in memory where the system allows it and never has a
name. The pipes between the two carry only `HEADER`s, so that nobody ever waits for room in a pipe. From the first byte:

    pixels     3 x size x size bytes, once they are decoded
    digest     `DIGEST_BYTES` bytes, as soon as the file is read: they survive the death of the decoder
    text       JSON: {"name", "path"} on the way there, {"width", "height"} or {"error", "kind"} on the way back
    picture    the bytes of the picture's file, where they came without a path
"""

import json
import os
import struct
import tempfile
from pathlib import Path
from typing import Any, get_args

import numpy as np

from captioner.data.limits import MAX_SIDE
from captioner.data.preprocessing import Pixels
from captioner.errors import ImageError, ImageErrorKind

HEADER = struct.Struct("<QQ")
"""How many bytes of text and of picture lie on the desk. Two zeros: the process has started."""

DIGEST_BYTES = 8


class Desk:
    """One side's view of the file; `file` is its descriptor, `size` that of the pixels' square."""

    def __init__(self, file: int, *, size: int) -> None:
        self.file = file
        self._shape = (3, size, size)
        self._digest_place = 3 * size * size
        self._text_place = self._digest_place + DIGEST_BYTES

    def put_request(self, name: str, source: Path | bytes) -> bytes:
        """Clear the desk and lay a picture on it; the header to send."""
        os.ftruncate(self.file, self._digest_place)
        path, data = (None, source) if isinstance(source, bytes) else (os.fspath(source), b"")
        text = json.dumps({"name": name, "path": path}).encode()
        self._write(text, self._text_place)
        self._write(data, self._text_place + len(text))
        return HEADER.pack(len(text), len(data))

    def take_request(self, header: bytes) -> tuple[str, Path | bytes]:
        """The name of a picture, and its path or the bytes of its file."""
        text_length, data_length = HEADER.unpack(header)
        request = json.loads(os.pread(self.file, text_length, self._text_place))
        if request["path"] is not None:
            return request["name"], Path(request["path"])
        return request["name"], os.pread(self.file, data_length, self._text_place + text_length)

    def put_digest(self, digest: bytes) -> None:
        """Lay down the first `DIGEST_BYTES` bytes of what the picture's file hashes to."""
        self._write(digest[:DIGEST_BYTES], self._digest_place)

    def put_pixels(self, pixels: Pixels, shape: tuple[int, int]) -> bytes:
        """Lay down the pixels, and the width and height of the picture they come from; the header to send."""
        self._write(pixels.data.cast("B"), 0)
        return self._put_text({"width": shape[0], "height": shape[1]})

    def put_error(self, error: ImageError) -> bytes:
        """Lay down why there are no pixels; the header to send."""
        return self._put_text({"error": str(error), "kind": error.kind})

    def take_reply(self, header: bytes) -> tuple[Pixels, tuple[int, int]] | tuple[ImageError, None]:
        """The pixels and the picture's width and height, or why there are none.

        Raises ValueError when what lies there makes no sense. A decoder that was broken into may lay down anything,
        or cut the file short: so it is read, not mapped.
        """
        text_length, _ = HEADER.unpack(header)
        try:
            reply = json.loads(os.pread(self.file, min(text_length, 100_000), self._text_place))
        except (ValueError, RecursionError) as error:
            raise ValueError("the reply is no JSON") from error
        match reply:
            case {"width": int(width), "height": int(height)} if (
                min(width, height) >= 1 and max(width, height) <= MAX_SIDE
            ):
                pixels = np.empty(self._shape, np.uint8)
                if os.preadv(self.file, [pixels.data], 0) != pixels.nbytes:
                    raise ValueError("the reply is incomplete")
                return pixels, (width, height)
            case {"error": str(sentence), "kind": kind} if kind in get_args(ImageErrorKind):
                return ImageError(sentence, kind=kind), None
        raise ValueError("the reply is neither pixels nor an error")

    def digest(self) -> str | None:
        """The hexadecimal digits of the digest; None if none was laid down since the last request."""
        digest = os.pread(self.file, DIGEST_BYTES, self._digest_place)
        return digest.hex() if any(digest) else None

    def _put_text(self, reply: dict[str, Any]) -> bytes:
        text = json.dumps(reply).encode()
        self._write(text, self._text_place)
        return HEADER.pack(len(text), 0)

    def _write(self, data: bytes | memoryview, place: int) -> None:
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self.file, rest, place)
            rest, place = rest[written:], place + written


def nameless_file() -> int:
    """The descriptor of a new file without a name, in memory where the system allows it. Raises OSError."""
    import fcntl  # there is none on Windows, where nothing is shared

    if hasattr(os, "memfd_create"):
        file = os.memfd_create("captioner")
    else:
        with tempfile.TemporaryFile() as temporary:
            file = os.dup(temporary.fileno())
    try:  # not 0, 1 or 2, even where these are closed: whom it is passed to has other things there
        return fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(file)
