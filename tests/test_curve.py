"""A curve for inline SVG lies where it can be worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioner.inference.curve import HEIGHT, WIDTH, curve, curves

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda number: round(number, 3))


def test_points_lie_between_round_numbers_beyond_all_of_them() -> None:
    drawn = curve([(1, 3.0), (2, 1.3), (4, 0.4)])
    assert [mark.label for mark in drawn.across] == ["1", "2", "3", "4"]
    assert [mark.label for mark in drawn.up] == ["0", "1", "2", "3"]
    assert [(point.x, point.y) for point in drawn.points] == [
        (0, 0),
        (WIDTH / 3, pytest.approx(HEIGHT * 1.7 / 3)),
        (WIDTH, pytest.approx(HEIGHT * 2.6 / 3)),
    ]


def test_a_single_point_lies_in_the_middle() -> None:
    [point] = curve([(1, 46.7)]).points
    assert point.x == WIDTH / 2
    assert 0 < point.y < HEIGHT


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20))
def test_no_point_leaves_the_frame_and_the_marks_are_few(points: list[tuple[float, float]]) -> None:
    drawn = curve(points)
    assert all(-1e-6 <= point.x <= WIDTH + 1e-6 and -1e-6 <= point.y <= HEIGHT + 1e-6 for point in drawn.points)
    for marks, length in ((drawn.across, WIDTH), (drawn.up, HEIGHT)):
        assert 2 <= len(marks) <= 6
        assert len({mark.label for mark in marks}) == len(marks)
        assert {round(marks[0].at), round(marks[-1].at)} == {0, length}


def test_curves_in_one_frame_share_its_axes_and_a_logarithmic_one_counts_powers_of_ten() -> None:
    drawn = curves({"upper": [(1, 1.0), (3, 0.1)], "lower": [(1, 1.0), (3, 0.001)]}, logarithmic=True)
    assert [mark.label for mark in drawn.up] == ["10⁻³", "10⁻²", "10⁻¹", "1"]
    assert [mark.at for mark in drawn.up] == [pytest.approx(HEIGHT * share / 3) for share in (3, 2, 1, 0)]
    assert [(point.x, point.y) for point in drawn.points["upper"]] == [(0, 0), (WIDTH, pytest.approx(HEIGHT / 3))]
    assert [(point.x, point.y) for point in drawn.points["lower"]] == [(0, 0), (WIDTH, pytest.approx(HEIGHT))]
