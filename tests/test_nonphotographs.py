"""Drawings of what is no photograph: the same for the same seed, of every kind, and fit to be told apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from captioner.data.nonphotographs import KINDS, draw_nonphotographs
from captioner.errors import DataError


def test_the_same_seed_draws_the_same_and_another_seed_draws_others() -> None:
    first, again, other = (list(draw_nonphotographs(len(KINDS), seed=seed, size=96)) for seed in (3, 3, 4))
    for one, same, different in zip(first, again, other, strict=True):
        assert one.image.tobytes() == same.image.tobytes()
        assert one.image.tobytes() != different.image.tobytes(), one.kind


def test_the_nth_drawing_does_not_depend_on_how_many_are_drawn() -> None:
    few, many = (list(draw_nonphotographs(count, seed=0, size=64)) for count in (5, 20))
    assert [drawing.image.tobytes() for drawing in few] == [drawing.image.tobytes() for drawing in many[:5]]


def test_the_kinds_come_in_turn_and_drawings_are_rgb_squares() -> None:
    drawings = list(draw_nonphotographs(2 * len(KINDS), seed=1, size=100))
    assert [drawing.kind for drawing in drawings] == 2 * list(KINDS)
    assert {(drawing.image.mode, drawing.image.size) for drawing in drawings} == {("RGB", (100, 100))}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_drawn_at_the_smallest_and_at_a_large_size(kind: str) -> None:
    for seed, size in itertools.product(range(12), (64, 300)):
        image = KINDS[kind](np.random.default_rng(seed), size)
        assert image.size == (size, size)
    assert len({KINDS[kind](np.random.default_rng(seed), 64).tobytes() for seed in range(12)}) == 12


def test_text_is_darker_than_its_paper_or_lighter() -> None:
    """A page of text that shows nothing would be one more blank page."""
    for seed in range(10):
        levels = np.asarray(KINDS["text"](np.random.default_rng(seed), 224).convert("L"), dtype=float)
        assert levels.std() > 8


@pytest.mark.parametrize(
    ("count", "seed", "size"), [(-1, 0, 96), (1, -1, 96), (1, 0, 63)], ids=["count", "seed", "size"]
)
def test_an_impossible_wish_is_one_sentence(count: int, seed: int, size: int) -> None:
    with pytest.raises(DataError, match="must be"):
        draw_nonphotographs(count, seed=seed, size=size)
