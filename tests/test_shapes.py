"""The drawn collection: the same again from the same seed, and every caption true of its drawing."""

import re

import numpy as np
import pytest

from captioner.data.shapes import BACKGROUNDS, COLOURS, KINDS, SMALLEST_SIZE, Drawing, draw
from captioner.errors import DataError

SIZE = 96


@pytest.fixture(scope="module")
def drawings() -> list[Drawing]:
    return list(draw(200, seed=7, size=SIZE))


def mask(drawing: Drawing, colour: str) -> np.ndarray:
    """(SIZE, SIZE) bool: where the drawing has this colour, up to noise and smoothed edges."""
    pixels = np.asarray(drawing.image, dtype=float)
    return np.linalg.norm(pixels - COLOURS[colour], axis=-1) < 60


def looks(area: np.ndarray) -> tuple[str, str]:
    """(size, kind) of one shape, measured: only square and triangle stand on a full side."""
    rows, columns = np.nonzero(area)
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    filled = len(rows) / (height * width)
    # The last row but one, because the last may be an edge half smoothed away.
    stands = np.sum(rows == rows.max() - 1) / width > 0.75
    kind = ("square" if filled > 0.8 else "triangle") if stands else ("circle" if filled > 0.66 else "star")
    return "large" if max(height, width) > 0.25 * SIZE else "small", kind


def shapes_named(caption: str) -> list[tuple[str, str, str]]:
    """(size, colour, kind) of every shape in a caption, in its order."""
    pattern = rf"a (?:(large|small) )?({'|'.join(COLOURS)}) ({'|'.join(KINDS)})"
    return re.findall(pattern, caption)


def test_the_same_seed_draws_the_same_again():
    again = [list(draw(5, seed=3)) for _ in range(2)]
    assert [d.image.tobytes() for d in again[0]] == [d.image.tobytes() for d in again[1]]
    assert [d.captions for d in again[0]] == [d.captions for d in again[1]]


def test_a_longer_run_begins_like_a_shorter_one():
    short, long = list(draw(3, seed=1)), list(draw(6, seed=1))
    assert [d.image.tobytes() for d in short] == [d.image.tobytes() for d in long[:3]]


def test_other_seeds_draw_other_pictures():
    one, two = ({d.image.tobytes() for d in draw(50, seed=seed)} for seed in (0, 1))
    assert len(one) == len(two) == 50
    assert not one & two


def test_a_drawing_is_an_rgb_square_with_five_different_captions(drawings):
    for drawing in drawings:
        assert (drawing.image.mode, drawing.image.size) == ("RGB", (SIZE, SIZE))
        assert len(set(drawing.captions)) == 5


def test_all_that_can_be_drawn_is_drawn(drawings):
    said = {word for drawing in drawings for caption in drawing.captions for word in caption.split()}
    assert said >= {
        *COLOURS,
        *BACKGROUNDS,
        "large",
        "small",
        "above",
        "below",
        "left",
        "right",
        "row",
        "column",
    }
    assert said >= {"one", "two", "three"}


def test_captions_name_exactly_the_colours_and_the_number_that_are_in_the_picture(drawings):
    for drawing in drawings:
        seen = {colour for colour in COLOURS if mask(drawing, colour).sum() > 20}
        number = ["one shape ", "two shapes ", "three shapes "][len(seen) - 1]
        assert sum(caption.startswith(number) for caption in drawing.captions) == 1
        for caption in drawing.captions:
            named = [colour for _, colour, _ in shapes_named(caption)]
            assert set(named) == seen
            assert len(named) == len(seen)


def test_captions_give_every_shape_its_kind_and_size(drawings):
    for drawing in drawings:
        for size, colour, kind in shapes_named(drawing.captions[0]):
            seen_size, seen_kind = looks(mask(drawing, colour))
            assert kind == seen_kind, drawing.captions[0]
            assert size in ("", seen_size), drawing.captions[0]


def test_captions_tell_the_arrangement(drawings):
    middle = {"above": 0, "below": 0, "column": 0, "left of": 1, "right of": 1, "row": 1}
    for drawing in drawings:
        for caption in drawing.captions:
            relation = next((words for words in middle if words in caption), None)
            if relation is None:
                assert len(shapes_named(caption)) == 1
                continue
            places = [
                np.argwhere(mask(drawing, colour)).mean(axis=0)[middle[relation]]
                for _, colour, _ in shapes_named(caption)
            ]
            assert places == sorted(places, reverse=relation in ("below", "right of")), caption


def test_captions_name_the_background(drawings):
    for drawing in drawings:
        corner = np.asarray(drawing.image, dtype=float)[:3, :3].mean(axis=(0, 1))
        nearest = min(BACKGROUNDS, key=lambda name: np.linalg.norm(corner - BACKGROUNDS[name]))
        assert all(f" {nearest} background" in caption for caption in drawing.captions)


def test_all_captions_of_a_drawing_name_the_same_shapes(drawings):
    for drawing in drawings:
        assert len({frozenset(shapes_named(caption)) for caption in drawing.captions}) == 1


@pytest.mark.parametrize("wrong", [{"count": -1}, {"seed": -1}, {"size": SMALLEST_SIZE - 1}])
def test_a_number_that_cannot_be_is_told_at_once(wrong):
    given = {"count": 1, "seed": 0, "size": SIZE} | wrong
    with pytest.raises(DataError, match=str(next(iter(wrong.values())))):
        draw(given["count"], seed=given["seed"], size=given["size"])
