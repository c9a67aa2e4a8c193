"""Whether two pictures look the same."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from captioner.data.likeness import MOST_BITS, MOST_LEVELS, Look, Looks, look


def scene(seed: int, side: int = 128) -> Image.Image:
    """A smooth picture, another one for every seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)


def saved_again(image: Image.Image, **options: object) -> Image.Image:
    content = io.BytesIO()
    image.save(content, "JPEG", **options)
    return Image.open(content).convert("RGB")


def test_the_bits_of_a_look_say_where_it_gets_brighter():
    brighter = Image.linear_gradient("L").rotate(90).convert("RGB")
    assert look(brighter).bits == 2**64 - 1
    assert look(brighter.rotate(180)).bits == 0


def test_a_picture_saved_again_smaller_or_in_grey_tones_it_had_is_alike():
    picture = scene(0)
    others = Looks([look(scene(seed)) for seed in range(1, 5)] + [look(picture)])
    for version in (saved_again(picture, quality=30), picture.resize((40, 40)), picture.resize((300, 280))):
        assert others.alike(look(version)) == 4


def test_other_pictures_are_not_alike():
    looks = [look(scene(seed)) for seed in range(200)]
    for place in range(1, 200):
        assert Looks(looks[:place]).alike(looks[place]) is None


def test_bits_and_colours_must_both_be_near():
    grey = bytes([100]) * 192
    looks = Looks([Look(0, grey)])
    assert looks.alike(Look(2**MOST_BITS - 1, grey)) == 0
    assert looks.alike(Look(2 ** (MOST_BITS + 1) - 1, grey)) is None
    assert looks.alike(Look(0, bytes([100 + MOST_LEVELS]) * 192)) == 0
    assert looks.alike(Look(0, bytes([101 + MOST_LEVELS]) * 192)) is None
    # One place of another colour is another picture, however like the rest.
    assert looks.alike(Look(0, bytes([101 + MOST_LEVELS]) + grey[1:])) is None


def test_among_no_looks_none_is_alike():
    assert Looks([]).alike(Look(0, bytes(192))) is None
