"""Any picture, from anywhere, as an upright RGB picture: `read_image` is the only way in.

The contract: `read_image` returns a fully decoded `PIL.Image.Image` of mode "RGB" that carries pixels and
nothing else, or raises one `ImageError`. Nothing else comes out of a picture, however broken or hostile:

- What a file is, its content decides, never its name. JPEG, PNG, GIF, WebP, BMP, TIFF and AVIF are read.
- Size is judged from the header, before a pixel is decoded: `MAX_PIXELS`, `MAX_SIDE`, `MAX_BYTES`, and for
  JPEG `MAX_SCANS`. A truncated picture is refused, never half of it shown.
- EXIF and XMP orientation is applied; broken EXIF counts as none. Colour profiles are ignored.
- Transparency is laid over white. Of an animation, the first frame is taken.
- 16-bit levels are divided by 257, so that black and white stay black and white. 32-bit integers and floats
  within 0..1 are multiplied by 255, within 0..255 taken as they are, and otherwise stretched so that the
  smallest becomes black and the largest white (in an array: refused). NaN and -inf become the smallest
  finite value, +inf the largest.

Pillow's global settings are left alone. The limits bound memory; they cannot mend a fault in a C
decoder, nor bound its time. Whoever reads the pictures of strangers does it in a process that may die.
"""

import io
import os
import re
import stat
import threading
import warnings
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from captioner.errors import ImageError

MAX_PIXELS: Final = 50_000_000
# A longer side would turn into a giant as soon as somebody scales the shorter one up.
MAX_SIDE: Final = 20_000
# The largest allowed picture, uncompressed, at four bytes a pixel.
MAX_BYTES: Final = 4 * MAX_PIXELS
# Each progressive scan repaints the whole picture; honest encoders write about ten.
MAX_SCANS: Final = 100

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

# How familiar files that are not accepted begin, and what to do about them.
_STRANGERS: Final = (
    (rb".{4}ftyp(heic|heix|hevc|hevx|heim|heis|mif1|msf1)", "a HEIC photo", "save it as JPEG"),
    (rb".{4}ftyp(isom|iso[2-9]|mp4.|avc1|M4V |qt  )", "a video", "save one of its frames as JPEG or PNG"),
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", "a JPEG XL picture", "save it as JPEG or PNG"),
    (rb"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture", "save it as JPEG or PNG"),
    (rb"8BPS", "a Photoshop document", "export it as JPEG or PNG"),
    (rb"%PDF-", "a PDF document", "export the page as PNG"),
    (rb"%!PS", "a PostScript drawing", "export it as PNG"),
    (rb"(?i)(?!.*<html).*<svg", "an SVG drawing", "export it as PNG"),
    (rb"(?i)\s*<(!doctype html|html)", "a web page", "download the picture itself"),
)

# In a JPEG, FF and a code. Stuffing (00), fill (FF) and
# the markers without a length (TEM, RST, SOI) are not meant.
_JPEG_SEGMENT: Final = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
_END_OF_IMAGE: Final = 0xD9
_START_OF_SCAN: Final = 0xDA

ImageSource = str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[Any]


def read_image(source: ImageSource, *, at_least: int | None = None) -> Image.Image:
    """Return the picture upright, in mode "RGB", fully loaded and independent of `source`.

    Args:
        source: the path of a regular file, a file's bytes, a Pillow picture (its current frame), or an array
            of shape (height, width), (height, width, 1), (height, width, 3) or (height, width, 4) that holds
            bool, uint8, uint16, or integers or floats in 0..1 or 0..255; a fourth channel is opacity.
        at_least: a shorter side, in pixels, that is enough for the caller. A large JPEG is then decoded at
            1/2, 1/4 or 1/8 of its size, which is faster, with both sides still `at_least` long;
            everything else comes in full size. `None` asks for every picture in full size.

    Raises:
        ImageError: the source cannot be read as a picture; the sentence names the source and the remedy.
        ValueError: `at_least` is below 1, which is the caller's mistake and not the picture's.
    """
    if at_least is not None and at_least < 1:
        raise ValueError(f"at_least must be 1 pixel or more, but {at_least} came; leave it out for full size")
    name = _name(source)
    try:
        with _without_pillow_warnings:
            return _read(source, name, at_least)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(_too_large(name, "it is far larger")) from error
    # Pillow promises no closed list of what a broken picture may raise; this module promises one.
    except Exception as error:
        raise ImageError(
            f"{name} must be a whole, undamaged picture, but decoding it failed ({_reason(error)}); "
            f"open it in another program and save it again, or leave it out."
        ) from error


def _read(source: ImageSource, name: str, at_least: int | None) -> Image.Image:
    """Do what `read_image` says, but raise whatever a broken picture makes Pillow raise."""
    if isinstance(source, np.ndarray):
        return _from_array(source, name)
    if isinstance(source, Image.Image):
        _check_size(source.size, name)
        source.load()
        return _upright_rgb(source)
    if isinstance(source, bytes):
        return _upright_rgb(_decode(source, name, at_least))
    if isinstance(source, str | os.PathLike):
        return _upright_rgb(_decode(_read_file(source, name), name, at_least))
    raise ImageError(
        f"{name} must be a path, bytes, a Pillow picture or a NumPy array, but {type(source).__name__} came; "
        f"convert it to one of these."
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


def _read_file(path: str | os.PathLike[str], name: str) -> bytes:
    """Return what a regular file holds; raise ImageError if it is none, too large or not readable."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
            raise ImageError(f"{name} must be a picture file, but it is {what}; name a file.")
        _check_weight(status.st_size, name)
        with open(path, "rb", opener=_open_without_waiting) as file:
            # At most the size that was judged: the file may be growing, or have been replaced since.
            return file.read(status.st_size) or b""
    except FileNotFoundError as error:
        raise ImageError(f"{name} must exist, but there is no such file; check the path.") from error
    except PermissionError as error:
        raise ImageError(f"{name} must be readable, but permission was denied; allow this user to read it.") from error
    except (OSError, ValueError) as error:
        raise ImageError(
            f"{name} must be a readable file, but opening it failed ({_reason(error)}); check the path."
        ) from error


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file so that even a pipe put in its place since cannot keep us waiting."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _decode(data: bytes, name: str, at_least: int | None) -> Image.Image:
    """Return the decoded first frame, in whatever mode the file has; raise what Pillow raises."""
    _check_weight(len(data), name)
    if data.startswith(b"\xff\xd8") and _has_too_many_scans(data):
        raise ImageError(
            f"{name} must be a JPEG of at most {MAX_SCANS} scans, but it has more, as only an attack does; "
            f"save it again in another program, or leave it out."
        )
    try:
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError as error:
        what, remedy = _guess(data)
        raise ImageError(
            f"{name} must be a JPEG, PNG, GIF, WebP, BMP, TIFF or AVIF picture, but it is {what}; {remedy}."
        ) from error
    _check_size(picture.size, name)
    if at_least is not None:
        picture.draft(None, (at_least, at_least))
    picture.load()
    return picture


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


def _guess(data: bytes) -> tuple[str, str]:
    """Return what unreadable data seems to be, and what its owner can do."""
    head = data[:1024]
    # A damaged AVIF may carry the same container brand as HEIC.
    if b"avif" not in head[:64]:
        for pattern, what, remedy in _STRANGERS:
            if re.match(pattern, head, re.DOTALL):
                return what, remedy
    return "none of these, or damaged at its very beginning", "save it as JPEG or PNG"


def _upright_rgb(picture: Image.Image) -> Image.Image:
    """Return a loaded picture of any mode as a new RGB picture, turned the way its metadata says."""
    # Read first: conversion loses it. After loading: PNG may tell it last, and TIFF turns itself.
    turn = _UPRIGHT.get(_orientation(picture))
    result = _rgb(picture)
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


def _rgb(picture: Image.Image) -> Image.Image:
    """Return a new RGB picture of the same size."""
    if picture.mode.startswith("I;16"):
        return _from_levels(_divide_by_257(np.asarray(picture)))
    if picture.mode in ("I", "F"):
        values = np.asarray(picture)
        return _from_levels(_scale_to_levels(values, *_finite_range(values)))
    if picture.mode in ("La", "RGBa"):  # opacity multiplied in: divide it out first
        picture = picture.convert("LA" if picture.mode == "La" else "RGBA")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=picture)
        return white
    if picture.mode == "LAB":  # convert() does not know the way
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(picture, lab, srgb, outputMode="RGB")
        assert converted is not None, "without inPlace a new picture is returned"
        return converted
    return picture.convert("RGB")


def _from_array(values: npt.NDArray[Any], name: str) -> Image.Image:
    """Return an array of one of the documented shapes and types as an RGB picture; else raise ImageError."""
    if not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (1, 3, 4))):
        raise ImageError(
            f"{name} must have the shape (height, width) or (height, width, 1, 3 or 4), "
            f"but {values.shape} came; give one picture at a time, its channels last."
        )
    _check_size((values.shape[1], values.shape[0]), name)
    if values.dtype == np.uint8:
        levels = values
    elif values.dtype == np.bool_:
        levels = np.where(values, np.uint8(255), np.uint8(0))
    elif values.dtype.kind == "u" and values.dtype.itemsize == 2:
        levels = _divide_by_257(values)
    elif values.dtype.kind in "iuf":
        low, high = _finite_range(values)
        if low < -0.5 or high > 255.5:
            raise ImageError(
                f"{name} must hold values in 0..1 or 0..255, but {low:g}..{high:g} came; "
                f"undo its normalisation, or clip it."
            )
        levels = _scale_to_levels(values, low, high)
    else:
        raise ImageError(f"{name} must hold bool, integers or floats, but {values.dtype} came; convert it to uint8.")
    return _rgb(_from_levels(levels))


def _from_levels(levels: npt.NDArray[np.uint8]) -> Image.Image:
    """Return levels of shape (height, width[, channels]) as a picture, RGB unless there is opacity."""
    if levels.ndim == 3 and levels.shape[2] == 1:
        levels = levels[:, :, 0]
    picture = Image.fromarray(np.ascontiguousarray(levels))
    return picture if picture.mode == "RGBA" else picture.convert("RGB")


def _divide_by_257(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return levels 0..65535 as the nearest levels 0..255: 65535 = 257 * 255."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _finite_range(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the smallest and the largest finite value; raise ValueError if there is none."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        raise ValueError("no value in it is a finite number")
    return float(finite.min()), float(finite.max())


def _scale_to_levels(values: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.uint8]:
    """Return numbers whose finite range is low..high as levels 0..255, by the rule in the module's text.

    Half a level of overshoot, such as resampling leaves, still counts as within a range.
    """
    # In place, because at the size limit every copy costs 400 MB.
    levels = values.astype(np.float64)
    np.nan_to_num(levels, copy=False, nan=low, posinf=high, neginf=low)
    if low * 255 >= -0.5 and high * 255 <= 255.5:
        levels *= 255
    elif (low < -0.5 or high > 255.5) and low == high:
        levels.fill(128)  # flat: there is nothing to stretch
    elif low < -0.5 or high > 255.5:
        # Halved, because the difference of two huge floats may be too large for a float.
        levels /= 2
        levels -= low / 2
        levels *= 255 / (high / 2 - low / 2)
    return np.clip(np.rint(levels, out=levels), 0, 255, out=levels).astype(np.uint8)


def _check_weight(size: int, name: str) -> None:
    """Raise ImageError if a file of `size` bytes is empty or too large."""
    if size == 0:
        raise ImageError(f"{name} must hold a picture, but it is empty; copy or download it again.")
    if size > MAX_BYTES:
        raise ImageError(
            f"{name} must have at most {MAX_BYTES // 1_000_000} MB, but it has {size / 1_000_000:.0f} MB; "
            f"save it smaller."
        )


def _check_size(size: tuple[int, int], name: str) -> None:
    """Raise ImageError if a picture of (width, height) pixels is empty or too large."""
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{name} must have at least one pixel, but it has {width} x {height}; crop it anew.")
    if width * height > MAX_PIXELS or max(size) > MAX_SIDE:
        raise ImageError(_too_large(name, f"it has {width} x {height}"))


def _too_large(name: str, what_came: str) -> str:
    """Return the sentence for too many pixels."""
    return (
        f"{name} must have at most {MAX_PIXELS // 1_000_000} megapixels and sides of at most {MAX_SIDE} "
        f"pixels, but {what_came}; scale it down."
    )


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
    path = os.fsdecode(source) or "''"
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in path
    )


def _reason(error: Exception) -> str:
    """Return an error's own words on one line, or its type's name where it has none."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(words.split()).rstrip(".") or type(error).__name__
