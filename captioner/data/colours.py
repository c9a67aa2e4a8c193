"""Pictures of any mode, and arrays of any type, as RGB pictures of 8 bits.

- Transparency is laid over white. Colour profiles are ignored.
- 16-bit levels are divided by 257, so that black and white stay black and white. 32-bit integers and floats
  within 0..1 are multiplied by 255, within 0..255 taken as they are, and otherwise stretched so that the
  smallest becomes black and the largest white (in an array: refused). NaN and -inf become the smallest
  finite value, +inf the largest.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from captioner.data.limits import check_size
from captioner.errors import ImageError


def rgb(picture: Image.Image) -> Image.Image:
    """Return a new RGB picture of the same size."""
    if picture.mode.startswith("I;16"):
        return _from_levels(_divide_by_257(np.asarray(picture)))
    if picture.mode in ("I", "F"):
        values = np.asarray(picture)
        return _from_levels(_scale_to_levels(values, *_finite_range(values)))
    if picture.mode in ("La", "RGBa"):  # opacity multiplied in: divide it out first
        picture = picture.convert("LA" if picture.mode == "La" else "RGBA")
    if picture.has_transparency_data:
        picture = picture if picture.mode == "RGBA" else picture.convert("RGBA")  # which would copy it
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=picture)
        return white
    if picture.mode == "LAB":  # convert() does not know the way
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(picture, lab, srgb, outputMode="RGB")
        assert converted is not None, "without inPlace a new picture is returned"
        return converted
    return picture.convert("RGB")


def rgb_from_array(values: npt.NDArray[Any], name: str) -> Image.Image:
    """Return an array of one of the documented shapes and types as an RGB picture; else raise ImageError."""
    if not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (1, 3, 4))):
        raise ImageError(
            f"{name} must have the shape (height, width) or (height, width, 1, 3 or 4), "
            f"but {values.shape} came; give one picture at a time, its channels last.",
            kind="unsuitable",
        )
    check_size((values.shape[1], values.shape[0]), name)
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
                f"undo its normalisation, or clip it.",
                kind="unsuitable",
            )
        levels = _scale_to_levels(values, low, high)
    else:
        raise ImageError(
            f"{name} must hold bool, integers or floats, but {values.dtype} came; convert it to uint8.",
            kind="unsuitable",
        )
    return rgb(_from_levels(levels))


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
