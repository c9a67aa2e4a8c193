"""The views of a training picture: the same each time, and what they are said to be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from captioner.data.views import Views
from captioner.text.mirroring import mirrored_caption


def some_pixels() -> torch.Tensor:
    """Two pictures, brighter from left to right."""
    ramp = torch.linspace(20, 220, 32).round().to(torch.uint8)
    return ramp.expand(2, 3, 32, 32).clone()


@pytest.mark.parametrize(
    ("views", "mirrored"),
    [
        (Views(), [False]),
        (Views(mirrored=True), [False, True]),
        (Views(crops=2), [False, False, False]),
        (Views(mirrored=True, crops=3), [False, True, False, True, False]),
    ],
)
def test_every_second_view_is_mirrored_if_any_is(views: Views, mirrored: list[bool]) -> None:
    assert views.are_mirrored(np.arange(len(views))).tolist() == mirrored
    for view, mirror in enumerate(mirrored):
        shown = views.show(some_pixels(), view, range(2)).float().mean(dim=(1, 2))
        falls = shown[:, 0] > shown[:, -1]
        assert falls.tolist() == [mirror, mirror]


def test_the_first_two_views_are_the_whole_picture_and_its_mirror_image() -> None:
    views, pixels = Views(mirrored=True, crops=1), some_pixels()
    assert torch.equal(views.show(pixels, 0, range(2)), pixels)
    assert torch.equal(views.show(pixels, 1, range(2)), pixels.flip(-1))


def test_a_crop_is_the_same_each_time_and_whichever_pictures_are_asked_for() -> None:
    views, pixels = Views(crops=2), some_pixels()
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    crops = views.show(pixels, 1, [7, 8])
    assert torch.equal(torch.rand(1), expected)  # nobody else's random numbers are disturbed
    assert crops.shape == pixels.shape
    assert crops.dtype == torch.uint8
    assert torch.equal(views.show(pixels[:1], 1, [8])[0], crops[1])
    assert not torch.equal(crops[0], crops[1])
    assert not torch.equal(views.show(pixels, 2, [7, 8]), crops)


def test_left_and_right_change_places_in_the_mirror_and_nothing_else() -> None:
    said = "Left of a man, a bright dog turns right; left-handed rights"
    other = "a dog right behind a man who has left the boat, left alone"
    assert mirrored_caption(other) == other
    assert mirrored_caption(said) == "right of a man, a bright dog turns left; right-handed rights"
