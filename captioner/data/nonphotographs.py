"""Pictures that are no photographs, drawn here: what a captioner trained on photographs should not describe.

Blank and stamped pages, noise, gradients, text, forms, charts, screenshots, line drawings, silhouettes, patterns,
diagrams, and the drawings of `captioner.data.shapes`. They teach a captioner to say that it is not sure. Each kind
is one function of a random generator; to add a kind, write its function and name it in `KINDS`.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from captioner.data.shapes import draw as draw_shapes
from captioner.data.stationery import any_colour, box, font, paper, paragraphs, picture, sheet, slope, words
from captioner.errors import DataError

SMALLEST_SIZE = 64
"""Pixels; on anything smaller no letter can be read."""


class NonPhotograph(NamedTuple):
    """A picture (RGB) and which of `KINDS` it is."""

    kind: str
    image: Image.Image


def draw_nonphotographs(count: int, *, seed: int, size: int = 224) -> Iterator[NonPhotograph]:
    """`count` pictures of `size` x `size` pixels, the kinds in turn; the n-th is always the same for the same seed.

    Raises DataError when `count` or `seed` is negative or `size` below SMALLEST_SIZE.
    """
    if count < 0 or seed < 0:
        raise DataError(f"A number of pictures and a seed must be 0 or more, not {min(count, seed)}.")
    if size < SMALLEST_SIZE:
        raise DataError(f"A picture's side must be {SMALLEST_SIZE} pixels or more to hold text, not {size}.")
    kinds = list(KINDS)
    return (_drawn(kinds[number % len(kinds)], [seed, number], size) for number in range(count))


def _drawn(kind: str, seed: list[int], size: int) -> NonPhotograph:
    rng = np.random.default_rng(seed)
    image = KINDS[kind](rng, size)
    if rng.random() < 0.4:  # as if scanned: a little crooked, soft, unevenly lit and grainy
        image = image.rotate(rng.normal(0, 2), Image.Resampling.BICUBIC, fillcolor=image.getpixel((0, 0)))
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.0)))
        light = 1 - rng.uniform(0, 0.6) * slope(rng, size)[..., None]
        image = picture(light * np.asarray(image) + rng.normal(0, rng.uniform(1, 8), (size, size, 1)))
    if rng.random() < 0.6:  # most photographs are JPEGs, and its traces must not be what tells them apart
        file = BytesIO()
        image.save(file, "JPEG", quality=int(rng.integers(30, 96)))
        image = Image.open(file).convert("RGB")
    return NonPhotograph(kind, image)


def _blank(rng: np.random.Generator, size: int) -> Image.Image:
    """An empty sheet, lit unevenly or not; perhaps with a fold, a margin, a hole, a stamp or a stain."""
    light = rng.uniform(-25, 25) * (slope(rng, size) - 0.5) if rng.random() < 0.5 else np.zeros((size, size))
    page = picture(light[..., None] + np.array(paper(rng)) + rng.normal(0, rng.uniform(0, 3), (size, size, 1)))
    brush = ImageDraw.Draw(page)
    ink = any_colour(rng)
    match rng.integers(6):
        case 1:
            place = rng.uniform(0.2, 0.8) * size
            brush.line([(place, 0), (place + rng.normal(0, 4), size)], fill=(200, 200, 200), width=2)
        case 2:
            margin = rng.uniform(0.04, 0.15) * size
            brush.rectangle([margin, margin, size - margin, size - margin], outline=ink)
        case 3:
            for place in (0.25, 0.75):
                brush.circle((0.06 * size, place * size), 0.025 * size, fill=(60, 60, 60))
        case 4:
            brush.circle(tuple(rng.uniform(0.2, 0.8, 2) * size), rng.uniform(0.05, 0.14) * size, outline=ink, width=3)
        case 5:
            brush.ellipse(box(rng, size, 0.2), fill=tuple(np.array(paper(rng)) - 12))
    return page


def _noise(rng: np.random.Generator, size: int) -> Image.Image:
    """Random pixels or blocks, grey or coloured, of any spread, sometimes blurred to clouds."""
    cells = int(rng.choice([size, size, size // 2, size // 4, size // 8]))
    values = rng.normal(0, 1, (cells, cells, int(rng.choice([1, 3]))))
    if rng.random() < 0.3:
        values = np.sign(values)
    noise = picture(rng.uniform(60, 200) + rng.uniform(15, 90) * values).resize((size, size), Image.Resampling.NEAREST)
    return noise.filter(ImageFilter.GaussianBlur(rng.uniform(1, 10))) if rng.random() < 0.4 else noise


def _gradient(rng: np.random.Generator, size: int) -> Image.Image:
    """Two or three colours that pass into each other, straight or in a ring."""
    across = slope(rng, size)
    if rng.random() < 0.4:
        rows, columns = np.mgrid[:size, :size] / size - rng.uniform(0.2, 0.8, (2, 1, 1))
        across = np.hypot(rows, columns) / np.hypot(rows, columns).max()
    stops = np.linspace(0, 1, int(rng.integers(2, 4)))
    colours = rng.uniform(0, 255, (len(stops), 3))
    return picture(np.stack([np.interp(across, stops, channel) for channel in colours.T], axis=-1))


def _text(rng: np.random.Generator, size: int) -> Image.Image:
    """A page of paragraphs, with or without a heading, in one or two columns; light on dark now and then."""
    page, brush, ink = sheet(rng, size)
    height = rng.uniform(0.03, 0.075) * size
    columns = int(rng.choice([1, 1, 2]))
    top = rng.uniform(0.03, 0.1) * size
    if rng.random() < 0.5:
        brush.text((0.07 * size, top), words(rng, 3), fill=ink, font=font(2 * height))
        top += 3 * height
    for column in range(columns):
        left, right = (0.07 + 0.9 * column / columns) * size, (0.07 + 0.9 * (column + 0.92) / columns) * size
        paragraphs(rng, brush, (left, top, right, 0.96 * size), height, ink)
    return page


def _form(rng: np.random.Generator, size: int) -> Image.Image:
    """A table, a list, a form or a bill: text and numbers between lines."""
    page, brush, ink = sheet(rng, size)
    rows, columns = int(rng.integers(4, 14)), int(rng.integers(1, 6))
    left, top, right = 0.06 * size, rng.uniform(0.05, 0.2) * size, 0.94 * size
    height, width = (0.95 * size - top) / rows, (right - left) / columns
    ruled = rng.random() < 0.7
    for row in range(rows):
        y = top + row * height
        if ruled:
            brush.line([(left, y), (right, y)], fill=ink)
        for column in range(columns):
            told = words(rng, 2) if column == 0 else f"{rng.uniform(0, 999):.2f}"
            brush.text((left + column * width + 3, y + 2), told, fill=ink, font=font(min(0.7 * height, 0.07 * size)))
    if ruled and rng.random() < 0.6:
        for column in range(columns + 1):
            brush.line([(left + column * width, top), (left + column * width, 0.95 * size)], fill=ink)
    return page


def _chart(rng: np.random.Generator, size: int) -> Image.Image:
    """Bars, lines, points or a pie, with axes and labels."""
    page, brush, ink = sheet(rng, size)
    left, top, right, bottom = np.array([0.14, 0.14, 0.93, 0.86]) * size
    count = int(rng.integers(3, 12))
    places = left + (right - left) * (np.arange(count) + 0.5) / count
    match rng.integers(4):
        case 0:
            bar = 0.3 * (right - left) / count
            for x, high in zip(places, rng.uniform(top, bottom - 4, count), strict=True):
                brush.rectangle([x - bar, high, x + bar, bottom], fill=any_colour(rng))
        case 1:
            for _ in range(int(rng.integers(1, 5))):
                heights = np.clip(rng.uniform(top, bottom) + rng.normal(0, 0.06 * size, count).cumsum(), top, bottom)
                brush.line(list(zip(places, heights, strict=True)), fill=any_colour(rng), width=int(rng.integers(1, 5)))
        case 2:
            for _ in range(int(rng.integers(20, 120))):
                brush.circle((rng.uniform(left, right), rng.uniform(top, bottom)), 0.01 * size, fill=any_colour(rng))
        case 3:
            ends = np.cumsum(rng.dirichlet(np.full(count, 3.0))) * 360
            for start, end in zip([0, *ends[:-1]], ends, strict=True):
                brush.pieslice([left, top, right, bottom], start, end, fill=any_colour(rng), outline=ink)
            return page
    brush.line([(left, top), (left, bottom), (right, bottom)], fill=ink, width=2)
    for x in places:
        brush.text((x - 4, bottom + 3), words(rng, 1)[:4], fill=ink, font=font(0.045 * size))
    brush.text((left, 0.04 * size), words(rng, 4), fill=ink, font=font(0.06 * size))
    return page


def _screenshot(rng: np.random.Generator, size: int) -> Image.Image:
    """A program's window: title bar, sidebar, panels, buttons and text."""
    page, brush, ink = sheet(rng, size)
    accent, bar = any_colour(rng), rng.uniform(0.05, 0.11) * size
    side = rng.uniform(0, 0.3) * size
    brush.rectangle([0, 0, size, bar], fill=accent)
    brush.text((0.03 * size, 0.2 * bar), words(rng, 2), fill=(255, 255, 255), font=font(0.6 * bar))
    brush.rectangle([0, bar, side, size], fill=paper(rng))
    for line in range(int(rng.integers(3, 12))):
        brush.text((4, bar + 6 + line * 0.075 * size), words(rng, 1), fill=(90, 90, 90), font=font(0.045 * size))
    for _ in range(int(rng.integers(2, 7))):
        x, y = rng.uniform(side, 0.75 * size), rng.uniform(bar, 0.8 * size)
        right, low = x + rng.uniform(0.1, 0.5) * size, y + rng.uniform(0.06, 0.3) * size
        fill = accent if rng.random() < 0.3 else paper(rng)
        brush.rounded_rectangle([x, y, right, low], 5, fill=fill, outline=(150, 150, 150))
        paragraphs(rng, brush, (x + 4, y + 4, min(right, size), low), 0.045 * size, ink)
    return page


def _line_drawing(rng: np.random.Generator, size: int) -> Image.Image:
    """Wandering lines, houses, faces and stick figures with a pen."""
    page, brush, ink = sheet(rng, size)
    width = int(rng.integers(1, 5))
    for _ in range(int(rng.integers(2, 8))):
        left, top, right, low = box(rng, size, 0.15)
        middle = (left + right) / 2
        match rng.integers(4):
            case 0:
                turns = rng.uniform(0.1, 0.9, 2)[:, None] * size + rng.normal(0, 0.05 * size, (2, 20)).cumsum(axis=1)
                brush.line(list(map(tuple, turns.T)), fill=ink, width=width, joint="curve")
            case 1:
                brush.polygon([(left, low), (left, top), (right, top), (right, low)], outline=ink, width=width)
                brush.line([(left, top), (middle, top - (right - left) / 2), (right, top)], fill=ink, width=width)
            case 2:
                brush.ellipse([left, top, right, low], outline=ink, width=width)
                brush.arc([left + 5, top + 5, max(left + 6, right - 5), max(top + 6, low - 5)], 20, 160, fill=ink)
            case 3:
                head, waist = (low - top) / 6, (2 * low + top) / 3
                brush.circle((middle, top), head, outline=ink, width=width)
                brush.line([(middle, top + head), (middle, waist)], fill=ink, width=width)
                brush.line([(left, low), (middle, waist), (right, low)], fill=ink, width=width)
                brush.line([(left, top + 3 * head), (right, top + 2 * head)], fill=ink, width=width)
    return page


def _silhouette(rng: np.random.Generator, size: int) -> Image.Image:
    """One or more filled figures without detail: round, ragged or with limbs."""
    page, brush, ink = sheet(rng, size)
    angles = np.linspace(0, 2 * math.pi, 90, endpoint=False)
    for _ in range(int(rng.integers(1, 4))):
        radius = np.full(90, 1.0)
        for wave in range(2, int(rng.integers(4, 12))):
            radius += rng.normal(0, 0.5 / wave) * np.cos(wave * angles + rng.uniform(0, 2 * math.pi))
        middle, reach = rng.uniform(0.25, 0.75, 2) * size, rng.uniform(0.1, 0.4, 2) * size
        outline = middle + reach * np.clip(radius, 0.1, 2)[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        brush.polygon(list(map(tuple, outline)), fill=ink)
    return page


def _pattern(rng: np.random.Generator, size: int) -> Image.Image:
    """Stripes, squares, dots or a code of black and white cells, turned at will."""
    cells = int(rng.integers(4, 40))
    rows, columns = np.mgrid[:size, :size] * cells // size
    mask = [
        (rows + columns) % 2 == 0,
        columns % 2 == 0,
        np.hypot(*((np.mgrid[:size, :size] * cells / size) % 1 - 0.5)) < 0.3,
        rng.random((cells, cells))[rows, columns] < 0.5,
        rng.random(cells)[columns] < 0.5,
    ][int(rng.integers(5))]
    dark, light = rng.uniform(0, 110, 3), rng.uniform(130, 255, 3)
    pattern = picture(np.where(mask[..., None], dark, light))
    return pattern.rotate(rng.uniform(0, 90), fillcolor=tuple(light.astype(int))) if rng.random() < 0.3 else pattern


def _diagram(rng: np.random.Generator, size: int) -> Image.Image:
    """Boxes with labels and arrows between them, or a plan of streets."""
    page, brush, ink = sheet(rng, size)
    middles = rng.uniform(0.12, 0.88, (int(rng.integers(3, 9)), 2)) * size
    width = int(rng.choice([1, 2, 3, 8]))
    for before, after in itertools.pairwise(middles):
        brush.line([tuple(before), (after[0], before[1]), tuple(after)], fill=ink, width=width)
    for x, y in middles:
        half = rng.uniform(0.05, 0.13) * size
        shape = brush.ellipse if rng.random() < 0.3 else brush.rectangle
        shape([x - half, y - half / 2, x + half, y + half / 2], fill=paper(rng), outline=ink, width=2)
        brush.text((x - half + 3, y - 0.025 * size), words(rng, 1), fill=(20, 20, 20), font=font(0.05 * size))
    return page


def _shapes(rng: np.random.Generator, size: int) -> Image.Image:
    [drawing] = draw_shapes(1, seed=int(rng.integers(2**31)), size=size)
    return drawing.image


KINDS: dict[str, Callable[[np.random.Generator, int], Image.Image]] = {
    "blank": _blank,
    "noise": _noise,
    "gradient": _gradient,
    "text": _text,
    "form": _form,
    "chart": _chart,
    "screenshot": _screenshot,
    "line drawing": _line_drawing,
    "silhouette": _silhouette,
    "pattern": _pattern,
    "diagram": _diagram,
    "shapes": _shapes,
}
"""Every kind of picture and the function that draws one, of (size, size) pixels."""
