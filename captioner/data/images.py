"""Any picture, from anywhere, as an upright RGB picture: `read_image` is the only way in.

The contract: `read_image` returns a fully decoded `PIL.Image.Image` of mode "RGB" that carries pixels and
nothing else, or raises one `ImageError`. Nothing else comes out of a picture, however broken or hostile:

- What a file is, its content decides, never its name. JPEG, PNG, GIF, WebP, BMP, TIFF and AVIF are read.
- Size is judged before a pixel is decoded: `captioner.data.limits`.
- A truncated picture is refused, never half of it shown.
- EXIF and XMP orientation is applied; broken EXIF counts as none. Of an animation, the first frame is taken.
- How other colours become RGB, and deeper levels 8 bits, `captioner.data.colours` says.

Pillow's global settings are left alone. The limits bound memory; they cannot mend a fault in a C
decoder, nor bound its time. Whoever reads the pictures of strangers does it in a process that may die:
`captioner.data.decoding`.
"""

import io
import os
import stat
import threading
import warnings
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from captioner.data.colours import rgb, rgb_from_array
from captioner.data.limits import check_scans, check_size, check_weight, out_of_memory, too_large
from captioner.data.strangers import guess
from captioner.errors import ImageError

IMAGE_SUFFIXES: Final = frozenset(
    {".apng", ".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)

# A multi-picture JPEG ("MPO") is found by Pillow through "JPEG"; naming it here raises KeyError.
_FORMATS: Final = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")

# EXIF orientation -> what makes the picture upright. 1 is upright already.
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

ImageSource = str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[Any]


def read_image(source: ImageSource, *, at_least: int | None = None, name: str | None = None) -> Image.Image:
    """Return the picture upright, in mode "RGB", fully loaded and independent of `source`.

    Args:
        source: the path of a regular file, a file's bytes, a Pillow picture (its current frame), or an array
            of shape (height, width), (height, width, 1), (height, width, 3) or (height, width, 4) that holds
            bool, uint8, uint16, or integers or floats in 0..1 or 0..255; a fourth channel is opacity.
        at_least: a shorter side, in pixels, that is enough for the caller. A large JPEG is then decoded at
            1/2, 1/4 or 1/8 of its size, which is faster, with both sides still `at_least` long;
            everything else comes in full size. `None` asks for every picture in full size.
        name: what a sentence calls the picture, if not by its path.

    Raises:
        ImageError: the source cannot be read as a picture; the sentence names the source and the remedy.
        ValueError: `at_least` is below 1, which is the caller's mistake and not the picture's.
    """
    if at_least is not None and at_least < 1:
        raise ValueError(f"at_least must be 1 pixel or more, but {at_least} came; leave it out for full size")
    name = _name(source) if name is None else printable(name)
    try:
        with _without_pillow_warnings:
            return _read(source, name, at_least)
    except ImageError:
        raise
    except MemoryError as error:
        raise out_of_memory(name) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise too_large(name, "it is far larger") from error
    # Pillow promises no closed list of what a broken picture may raise; this module promises one.
    except Exception as error:
        raise ImageError(
            f"{name} must be a whole, undamaged picture, but decoding it failed ({_reason(error)}); "
            f"open it in another program and save it again, or leave it out."
        ) from error


def _read(source: ImageSource, name: str, at_least: int | None) -> Image.Image:
    """Do what `read_image` says, but raise whatever a broken picture makes Pillow raise."""
    if isinstance(source, np.ndarray):
        return rgb_from_array(source, name)
    if isinstance(source, Image.Image):
        check_size(source.size, name)
        source.load()
        return _upright_rgb(source)
    if isinstance(source, bytes):
        return _upright_rgb(_decode(source, name, at_least))
    if isinstance(source, str | os.PathLike):
        return _upright_rgb(_decode(read_file(source, name=name), name, at_least))
    raise ImageError(
        f"{name} must be a path, bytes, a Pillow picture or a NumPy array, but {type(source).__name__} came; "
        f"convert it to one of these.",
        kind="unsuitable",
    )


class _WithoutPillowWarnings:
    """A `with` block in which Pillow warns of nothing, and a decompression bomb is an error.

    `warnings.catch_warnings` swaps a list of the whole process, so threads that overlap would put it back
    in the wrong order. Here the first reader in swaps it and the last one out puts it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._saved = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._readers == 0:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
                warnings.simplefilter("error", Image.DecompressionBombWarning)
            self._readers += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._readers -= 1
            if self._readers == 0:
                self._saved.__exit__(None, None, None)


_without_pillow_warnings: Final = _WithoutPillowWarnings()


def read_file(path: str | os.PathLike[str], *, name: str | None = None) -> bytes:
    """Return what a regular file holds; raise ImageError if it is none, empty, too large or not readable.

    Never waits for a pipe or a device. `name` is what the error's sentence calls the file, if not by its path.
    """
    name = printable(path if name is None else name)
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
            raise ImageError(f"{name} must be a picture file, but it is {what}; name a file.", kind="unreadable")
        check_weight(status.st_size, name)
        with open(path, "rb", opener=_open_without_waiting) as file:
            # At most the size that was judged: the file may be growing, or have been replaced since.
            return file.read(status.st_size) or b""
    except FileNotFoundError as error:
        raise ImageError(f"{name} must exist, but there is no such file; check the path.", kind="missing") from error
    except PermissionError as error:
        raise ImageError(
            f"{name} must be readable, but permission was denied; allow this user to read it.", kind="unreadable"
        ) from error
    except (OSError, ValueError) as error:
        raise ImageError(
            f"{name} must be a readable file, but opening it failed ({_reason(error)}); check the path.",
            kind="unreadable",
        ) from error


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file so that even a pipe put in its place since cannot keep us waiting."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _decode(data: bytes, name: str, at_least: int | None) -> Image.Image:
    """Return the decoded first frame, in whatever mode the file has; raise what Pillow raises."""
    check_weight(len(data), name)
    check_scans(data, name)
    try:
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError as error:
        what, remedy = guess(data)
        raise ImageError(
            f"{name} must be a JPEG, PNG, GIF, WebP, BMP, TIFF or AVIF picture, but it is {what}; {remedy}.",
            kind="not a picture",
        ) from error
    check_size(picture.size, name)
    if at_least is not None:
        picture.draft(None, (at_least, at_least))
    picture.load()
    return picture


def _upright_rgb(picture: Image.Image) -> Image.Image:
    """Return a loaded picture of any mode as a new RGB picture, turned the way its metadata says."""
    # Read first: conversion loses it. After loading: PNG may tell it last, and TIFF turns itself.
    turn = _UPRIGHT.get(_orientation(picture))
    result = rgb(picture)
    if turn is not None:
        result = result.transpose(turn)
    result.info = {}
    return result


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF or XMP orientation, 1 if there is none or the metadata is broken."""
    try:
        value = picture.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # broken metadata raises as many things as broken pixels
        return 1
    return value if isinstance(value, int) else 1


def _name(source: object) -> str:
    """Return what a sentence calls the source: its path, printable whatever bytes it has, or its kind."""
    if isinstance(source, np.ndarray):
        return "the given array"
    if isinstance(source, Image.Image):
        return "the given picture"
    if isinstance(source, bytes):
        return "the given bytes"
    if not isinstance(source, str | os.PathLike):
        return "the picture"
    return printable(source)


def printable(path: str | os.PathLike[str]) -> str:
    """Return a path as a sentence may name it: on one line, and encodable whatever bytes it has."""
    letters = os.fsdecode(path) or "''"
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in letters
    )


def _reason(error: Exception) -> str:
    """Return an error's own words on one line, or its type's name where it has none."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(words.split()).rstrip(".") or type(error).__name__
