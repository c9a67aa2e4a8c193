"""`read_image`: any picture comes back upright in RGB, or as one sentence, and never as anything else."""

import contextlib
import io
import os
import random
import resource
import socket
import struct
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw, PngImagePlugin, features

from captioner.data.images import IMAGE_SUFFIXES, read_image
from captioner.data.limits import MAX_SCANS
from captioner.errors import ImageError

FORMATS = ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"] + (["AVIF"] if features.check("avif") else [])
SUFFIX = {"JPEG": ".jpg", "TIFF": ".tif"}
RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
ORIENTATION = 0x0112
# EXIF orientation -> how a camera that says so has stored the upright picture.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def scene(width: int = 48, height: int = 32) -> Image.Image:
    """A picture without symmetry: red sky, green ground, a blue sun in the upper left."""
    picture = Image.new("RGB", (width, height), RED)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, height // 2, width, height), GREEN)
    draw.rectangle((0, 0, width // 4, height // 4), BLUE)
    return picture


def noise(width: int, height: int, *, grain: int = 4) -> Image.Image:
    """A picture of smooth random blots `grain` pixels wide, so that its compressed form has some length."""
    rng = np.random.default_rng(7)
    small = rng.integers(0, 256, (height // grain + 1, width // grain + 1, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def png(
    width: int,
    height: int,
    *,
    depth: int,
    colour: int,
    rows: bytes,
    chunks: tuple[tuple[bytes, bytes], ...] = (),
) -> bytes:
    """A PNG written by hand, for what Pillow does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    extra = b"".join(chunk(kind, body) for kind, body in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def difference(left: Image.Image, right: Image.Image) -> float:
    """Mean absolute difference of two pictures of one size, in levels."""
    assert left.size == right.size
    return float(np.abs(np.asarray(left, np.float32) - np.asarray(right, np.float32)).mean())


def refusal(source: object) -> str:
    """The sentence a source is refused with, which must be one."""
    with pytest.raises(ImageError) as caught:
        read_image(source)  # type: ignore[arg-type]
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert " must " in sentence
    assert ", but " in sentence
    assert "; " in sentence
    sentence.encode("utf-8")
    return sentence


# --- every format ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_read_from_a_path_and_from_bytes(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"scene{SUFFIX.get(kind, '.' + kind.lower())}"
    path.write_bytes(encoded(scene(), kind))
    assert path.suffix in IMAGE_SUFFIXES
    for source in (path, str(path), path.read_bytes()):
        picture = read_image(source)
        assert type(picture) is Image.Image
        assert picture.mode == "RGB"
        assert picture.info == {}
        assert difference(picture, scene()) < 8


def test_the_content_decides_and_not_the_extension(tmp_path: Path) -> None:
    path = tmp_path / "really_a_png.jpg"
    path.write_bytes(encoded(scene(), "PNG"))
    assert difference(read_image(path), scene()) == 0


def test_the_file_may_vanish_once_the_picture_is_read(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    scene().save(path)
    picture = read_image(path)
    path.unlink()
    assert picture.getpixel((0, 0)) == BLUE


def test_a_pillow_picture_is_not_changed_and_not_shared() -> None:
    source = scene()
    picture = read_image(source)
    picture.putpixel((0, 0), BLACK)
    assert source.getpixel((0, 0)) == BLUE


def test_a_lazy_pillow_picture_is_loaded_and_turned(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    scene().transpose(STORED[6]).save(path, exif=exif, quality=95)
    with Image.open(path) as lazy:
        picture = read_image(lazy)
    assert difference(picture, scene()) < 8
    assert difference(read_image(picture), picture) == 0


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert difference(read_image(data), frames[0]) < 3


def test_a_multi_picture_jpeg_is_its_first_picture() -> None:
    data = encoded(scene(), "MPO", save_all=True, append_images=[Image.new("RGB", (48, 32))], quality=95)
    assert difference(read_image(data), scene()) < 8


# --- which way is up ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", *FORMATS[6:]])
def test_all_eight_exif_orientations_give_the_same_upright_picture(kind: str) -> None:
    for orientation in range(1, 9):
        turn = STORED.get(orientation)
        stored = scene() if turn is None else scene().transpose(turn)
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        picture = read_image(encoded(stored, kind, exif=exif))
        assert difference(picture, scene()) < 8, orientation


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_unknown_orientation_counts_as_upright(value: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = value
    assert difference(read_image(encoded(scene(), "PNG", exif=exif)), scene()) == 0


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff"])
def test_broken_exif_counts_as_none(kind: str, exif: bytes) -> None:
    assert difference(read_image(encoded(scene(), kind, exif=exif)), scene()) < 8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_orientation_told_by_xmp_alone_counts(kind: str) -> None:
    xmp = b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    stored = scene().transpose(STORED[6])
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", xmp.decode())
        data = encoded(stored, kind, pnginfo=text)
    else:
        data = encoded(stored, kind, xmp=xmp)
    assert difference(read_image(data), scene()) < 8


# --- odd modes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_red_stays_red(kind: str) -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert difference(read_image(encoded(red, kind)), Image.new("RGB", (16, 16), RED)) < 3


def test_the_colour_hidden_under_transparency_is_not_shown() -> None:
    hidden = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    hidden.putpixel((0, 0), (255, 0, 0, 255))
    hidden.putpixel((1, 0), (0, 0, 0, 127))
    for source in (hidden, encoded(hidden, "PNG"), np.asarray(hidden)):
        picture = read_image(source)
        assert picture.getpixel((5, 5)) == WHITE
        assert picture.getpixel((0, 0)) == RED
        assert picture.getpixel((1, 0)) == (128, 128, 128)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_white(kind: str) -> None:
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((0, 0), 1)
    picture = read_image(encoded(palette, kind, transparency=0))
    assert picture.getpixel((5, 5)) == WHITE
    assert picture.getpixel((0, 0)) == BLUE


@pytest.mark.parametrize("mode", ["LA", "PA", "La", "RGBa"])
def test_every_mode_with_opacity_is_laid_over_white(mode: str) -> None:
    black_and_clear = bytes(4 if mode == "RGBa" else 2)
    assert read_image(Image.frombytes(mode, (1, 1), black_and_clear)).getpixel((0, 0)) == WHITE


@pytest.mark.parametrize(("depth", "colour", "rows"), [(16, 2, b"\0" * 7 * 1), (16, 0, b"\0" * 3), (1, 0, b"\0\0")])
def test_a_png_with_one_transparent_colour_is_read(depth: int, colour: int, rows: bytes) -> None:
    key = b"\0" * (6 if colour == 2 else 2)
    data = png(1, 1, depth=depth, colour=colour, rows=rows, chunks=((b"tRNS", key),))
    assert read_image(data).getpixel((0, 0)) in (WHITE, BLACK)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_half_grey_of_16_bits_stays_half_grey(kind: str) -> None:
    grey = Image.fromarray(np.array([[0, 32768, 65535]], np.uint16))
    assert np.asarray(read_image(encoded(grey, kind)))[0, :, 0].tolist() == [0, 128, 255]


def test_a_big_endian_16_bit_picture_is_not_read_backwards() -> None:
    grey = Image.frombytes("I;16B", (2, 1), b"\x80\x00\xff\xff")
    assert np.asarray(read_image(grey))[0, :, 0].tolist() == [128, 255]


def test_a_float_tiff_within_0_to_1_is_not_black() -> None:
    grey = Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32))
    assert np.asarray(read_image(encoded(grey, "TIFF")))[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([[0, 100, 255]], [0, 100, 255]),
        ([[0, 1, 1]], [0, 255, 255]),
        ([[1000, 1500, 2000]], [0, 128, 255]),
        ([[-10, 0, 10]], [0, 128, 255]),
        ([[7000, 7000, 7000]], [128, 128, 128]),
        ([[-(2**31), 0, 2**31 - 1]], [0, 128, 255]),
    ],
)
@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_32_bit_greys_are_scaled_and_never_clipped(values: list[list[int]], levels: list[int], dtype: type) -> None:
    grey = Image.fromarray(np.array(values, dtype))
    assert grey.mode in ("I", "F")
    assert np.asarray(read_image(encoded(grey, "TIFF")))[0, :, 0].tolist() == levels


def test_nan_is_the_smallest_finite_value_and_infinity_the_largest() -> None:
    grey = Image.fromarray(np.array([[np.nan, -np.inf, 10, 200, np.inf]], np.float32))
    assert np.asarray(read_image(grey))[0, :, 0].tolist() == [10, 10, 10, 200, 200]


def test_the_widest_floats_are_stretched_without_overflow() -> None:
    limit = float(np.finfo(np.float32).max)
    grey = Image.fromarray(np.array([[-limit, 0, limit]], np.float32))
    assert np.asarray(read_image(grey))[0, :, 0].tolist() == [0, 128, 255]


def test_a_picture_of_nothing_but_nan_is_refused() -> None:
    assert "finite" in refusal(Image.fromarray(np.full((2, 2), np.nan, np.float32)))


def test_a_1_bit_picture_is_black_and_white() -> None:
    picture = Image.new("1", (8, 8), 1)
    picture.putpixel((0, 0), 0)
    read = read_image(encoded(picture, "PNG"))
    assert (read.getpixel((0, 0)), read.getpixel((1, 0))) == (BLACK, WHITE)


@pytest.mark.parametrize("mode", ["YCbCr", "HSV"])
def test_other_colour_spaces_come_back_as_the_same_colours(mode: str) -> None:
    assert difference(read_image(scene().convert(mode)), scene()) < 2


def test_a_lab_tiff_comes_back_as_the_same_colours() -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    converted = ImageCms.profileToProfile(scene(), srgb, lab, outputMode="LAB")
    assert converted is not None
    # Eight bits of LAB are coarse where colours are this strong; without conversion it is 100 and more.
    assert difference(read_image(encoded(converted, "TIFF")), scene()) < 10


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("profile", ["sRGB", "broken"])
def test_a_colour_profile_is_ignored_even_a_broken_one(kind: str, profile: str) -> None:
    icc = b"no profile" if profile == "broken" else ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert read_image(encoded(scene(), kind, icc_profile=icc)) == read_image(encoded(scene(), kind))


# --- arrays ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "white"),
    [
        (np.uint8, 255),
        (np.uint16, 65535),
        (">u2", 65535),
        (np.bool_, True),
        (np.float16, 1),
        (np.float32, 1),
        (np.float64, 255),
        (np.int64, 255),
        (np.uint32, 255),
    ],
)
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (2, 3, 3), (2, 3, 4)])
def test_an_array_of_every_type_and_shape_is_read(dtype: type | str, white: float, shape: tuple[int, ...]) -> None:
    values = np.zeros(shape, dtype)
    values[0] = white
    if shape[-1] == 4:
        values[..., 3] = white
    picture = read_image(values)
    assert picture.size == (3, 2)
    assert (picture.getpixel((0, 0)), picture.getpixel((0, 1))) == (WHITE, BLACK)


def test_a_slightly_overshooting_array_is_not_taken_for_black() -> None:
    picture = read_image(np.array([[-0.001, 0.5, 1.001]]))
    assert np.asarray(picture)[0, :, 0].tolist() == [0, 128, 255]


def test_a_strided_array_is_read_and_a_later_change_is_not_seen() -> None:
    values = np.asarray(scene()).copy()
    picture = read_image(values[::-1, ::-1])
    values[:] = 0
    assert difference(picture, scene().transpose(Image.Transpose.ROTATE_180)) == 0


@pytest.mark.parametrize("shape", [(), (4,), (3, 8, 8), (8, 8, 2), (8, 8, 5), (1, 8, 8, 3), (0, 8), (8, 0, 3)])
def test_an_array_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    assert "the given array" in refusal(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    "values",
    [
        np.array([[-2.1, 2.6]]),
        np.array([[0, 256]]),
        np.full((2, 2), np.nan),
        np.array([[1j]]),
        np.array([["a"]]),
        np.array([[None]]),
        np.zeros((2, 2), "M8[s]"),
    ],
    ids=repr,
)
def test_an_array_that_holds_no_levels_is_refused(values: np.ndarray) -> None:
    refusal(values)


@pytest.mark.parametrize(
    "source", [None, 3, ["a.jpg"], io.BytesIO(b"x")], ids=["None", "a number", "a list", "a stream"]
)
def test_a_source_of_another_type_is_refused(source: object) -> None:
    assert type(source).__name__ in refusal(source)


# --- giants and bombs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [9400, 13300, 20000])
def test_a_png_bomb_is_refused_from_its_header(side: int) -> None:
    """Below, within and above the zone in which Pillow only warns: 0.1 to 0.4 gigapixels in some kB."""
    data = png(side, side, depth=1, colour=0, rows=bytes((side + 7) // 8 + 1) * side)
    assert len(data) < 100_000
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    assert "50 megapixels" in refusal(data)
    assert time.process_time() - start < 0.5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 20_000  # kB


def test_a_gif_whose_frame_outgrows_its_canvas_is_refused() -> None:
    data = bytearray(encoded(Image.new("P", (8, 8)), "GIF"))
    frame = data.index(b",\0\0\0\0")
    data[frame + 5 : frame + 9] = struct.pack("<HH", 60000, 60000)
    refusal(bytes(data))


def test_giant_arrays_and_pillow_pictures_are_refused_as_well() -> None:
    refusal(np.broadcast_to(np.uint8(0), (8000, 8000)))
    refusal(np.broadcast_to(np.uint8(0), (2, 20001)))
    refusal(Image.new("1", (20001, 2)))


@pytest.mark.parametrize("size", [(1, 20000), (20000, 1)])
def test_a_thin_picture_is_read_and_a_thinner_one_refused(size: tuple[int, int]) -> None:
    assert read_image(encoded(Image.new("L", size), "JPEG"), at_least=64).size == size
    width, height = size
    refusal(encoded(Image.new("L", (min(65500, width**2), min(65500, height**2))), "JPEG"))


def test_a_scan_bomb_is_refused() -> None:
    data = encoded(noise(64, 64), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    scan, end = data[last:-2], data[-2:]
    assert "scans" in refusal(data[:-2] + scan * MAX_SCANS + end)
    assert read_image(data[:-2] + scan * 5 + end).size == (64, 64)


def test_scan_markers_in_metadata_or_after_the_end_are_no_scans() -> None:
    data = encoded(scene(), "JPEG")
    comment = b"\xff\xfe" + struct.pack(">H", 402) + b"\xff\xda" * 200
    crowded = data[:2] + comment + data[2:] + b"\xff\xda" * 200
    assert difference(read_image(crowded), read_image(data)) == 0


def test_endless_fill_bytes_are_walked_in_linear_time() -> None:
    start = time.process_time()
    assert "scans" in refusal(b"\xff\xd8" + b"\xff" * 3_000_000 + b"\0" + b"\xff\xda\0\x02" * (MAX_SCANS + 1))
    assert time.process_time() - start < 1


def test_a_file_heavier_than_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "heavy.bmp"
    with open(path, "wb") as file:
        file.truncate(10**12)
    assert "200 MB" in refusal(path)


# --- broken files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("percent", [10, 50, 90, 99])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_picture_is_refused(kind: str, percent: int, tmp_path: Path) -> None:
    data = encoded(noise(96, 96), kind)
    path = tmp_path / "cut.jpg"
    path.write_bytes(data[: len(data) * percent // 100])
    assert str(path) in refusal(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.jpg"
    path.touch()
    assert "empty" in refusal(path)
    assert "empty" in refusal(b"")


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"hello, I am a text\n" * 9, "JPEG or PNG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"PK\3\4\x14\0", "ZIP"),
        (b"BZh91AY", "pack it as tar"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x20ftypisom\0\0\x02\0", "video"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"8BPS\0\x01", "Photoshop"),
        (b"%PDF-1.7\n", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"<!DOCTYPE html><html><svg/></html>", "web page"),
    ],
)
def test_a_file_that_is_no_accepted_picture_is_told_what_it_is(data: bytes, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(data)
    sentence = refusal(path)
    assert str(path) in sentence
    assert hint in sentence


@pytest.mark.parametrize(
    "tail",
    [b"PK\x03\x04 an archive", b"<html><script>alert(1)</script></html>", encoded(Image.new("RGB", (9, 9)), "JPEG")],
    ids=["archive", "web page", "second picture"],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
def test_what_follows_the_end_of_a_picture_is_ignored(kind: str, tail: bytes) -> None:
    data = encoded(scene(), kind)
    assert read_image(data + tail) == read_image(data)


@pytest.mark.parametrize("data", [b"\xff", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\0\0\0WEBP"])
def test_the_mere_beginning_of_a_picture_is_refused(data: bytes) -> None:
    refusal(data)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("no such file.jpg", "missing"),
        ("/", "unreadable"),
        (b"hello", "not a picture"),
        (b"", "damaged"),
        (encoded(scene(), "PNG")[:-30], "damaged"),
        (png(20_000, 20_000, depth=1, colour=0, rows=b""), "too large"),
        (np.zeros(3), "unsuitable"),
    ],
)
def test_an_error_says_its_kind(source: object, kind: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(source)  # type: ignore[arg-type]
    assert caught.value.kind == kind


def test_memory_that_runs_out_makes_a_picture_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr("captioner.data.images.rgb", run_out)
    with pytest.raises(ImageError, match="fit into the memory") as caught:
        read_image(encoded(scene(), "PNG"))
    assert caught.value.kind == "too large"


def test_the_original_error_is_kept_as_the_cause() -> None:
    data = encoded(noise(96, 96), "JPEG")
    with pytest.raises(ImageError) as caught:
        read_image(data[: len(data) // 2])
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize(("chunk", "beginning"), [(b"zTXt", b"note\0\0"), (b"iTXt", b"note\0\1\0\0\0")])
def test_a_huge_text_chunk_is_refused_or_skipped_in_bounded_memory(chunk: bytes, beginning: bytes) -> None:
    text = beginning + zlib.compress(bytes(64_000_000), 1)
    data = png(1, 1, depth=8, colour=0, rows=b"\0\0", chunks=((chunk, text),))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refusal(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 20_000  # kB


# --- odd paths ------------------------------------------------------------------------------------------


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "nothing.jpg")
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nothing.jpg")
    assert "no such file" in refusal(tmp_path / "dangling.jpg")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    assert "a folder" in refusal(tmp_path / "folder.jpg")


@pytest.mark.timeout(20)
def test_pipes_sockets_and_devices_are_refused_without_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "pipe" in refusal(tmp_path / "pipe.jpg")
    assert "device" in refusal("/dev/zero")
    monkeypatch.chdir(tmp_path)  # a socket's path may have about 100 bytes only
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket.jpg")
        assert "socket" in refusal("socket.jpg")


@pytest.mark.timeout(20)
def test_a_pipe_put_in_place_of_a_file_just_judged_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary = tmp_path / "scene.png"
    scene().save(ordinary)
    os.mkfifo(tmp_path / "pipe.png")
    status = os.stat(ordinary)
    with monkeypatch.context() as patch:
        patch.setattr("captioner.data.images.os.stat", lambda path: status)
        refusal(tmp_path / "pipe.png")


def test_a_file_one_may_not_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.png"
    scene().save(path)

    def deny(*arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("captioner.data.images.os.open", deny)  # chmod does not stop root
    assert "permission" in refusal(path)


@pytest.mark.parametrize("path", ["", "a\0b.jpg", "x" * 5000, "caf\udce9.jpg", "two\nlines\t.jpg"])
def test_no_path_breaks_the_sentence(path: str) -> None:
    refusal(path)


def test_a_file_whose_name_is_not_unicode_is_read_and_named(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    scene().save(path)
    assert difference(read_image(path), scene()) == 0
    with open(path, "wb") as file:
        file.write(b"no picture")
    assert "caf\\udce9.png" in refusal(path)


# --- speed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(1600, 1200), (1024, 700), (3000, 260), (300, 200)])
def test_a_smaller_decoding_keeps_both_sides_long_enough_and_looks_the_same(width: int, height: int) -> None:
    data = encoded(noise(width, height, grain=16), "JPEG", quality=95)
    full, small = read_image(data), read_image(data, at_least=256)
    assert min(small.size) >= min(256, *full.size)
    assert (small.width < full.width) == (min(width, height) >= 512)
    assert difference(small, full.resize(small.size, Image.Resampling.BOX)) < 4


@pytest.mark.parametrize("kind", FORMATS[1:])
def test_at_least_leaves_other_formats_in_full_size(kind: str) -> None:
    assert read_image(encoded(scene(), kind), at_least=8).size == scene().size


def test_at_least_below_one_pixel_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="at_least must be 1"):
        read_image(scene(), at_least=0)


# --- manners --------------------------------------------------------------------------------------------


def test_pillows_and_pythons_global_settings_are_left_alone() -> None:
    before = (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    read_image(encoded(scene(), "PNG"))
    refusal(b"nothing")
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


def test_threads_that_overlap_leak_no_warning_and_leave_the_filters_as_they_were() -> None:
    before = list(warnings.filters)
    sources = [encoded(noise(200, 200), kind, exif=b"Exif\0\0II*\0\xff\xff\xff\xff") for kind in ("JPEG", "PNG")]
    with ThreadPoolExecutor(8) as pool:
        pictures = list(pool.map(read_image, sources * 20))
    assert {picture.size for picture in pictures} == {(200, 200)}
    assert list(warnings.filters) == before


SEEDS = [encoded(scene(12, 8), kind) for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP")]


def read_or_refuse(data: bytes) -> None:
    """Let anything but a picture or an ImageError escape."""
    with contextlib.suppress(ImageError):
        assert read_image(data).mode == "RGB"


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_random_bytes_are_read_or_refused_and_nothing_else(data: bytes) -> None:
    read_or_refuse(data)
    for seed in SEEDS:
        read_or_refuse(seed[:8] + data)


@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 10_000),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_mutated_picture_is_read_or_refused_and_nothing_else(
    seed: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(seed)
    for place, value in changes:
        data[place % len(data)] = value
    read_or_refuse(bytes(data[: cut or None]))


def test_shuffled_chunks_of_pictures_are_read_or_refused_and_nothing_else() -> None:
    dice = random.Random(3)
    for _ in range(300):
        pieces = [seed[dice.randrange(len(seed)) :][: dice.randrange(1, 60)] for seed in SEEDS]
        dice.shuffle(pieces)
        read_or_refuse(dice.choice(SEEDS)[: dice.randrange(10, 80)] + b"".join(pieces))
