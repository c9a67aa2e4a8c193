"""Splits dealt by content: the same every time, and the same for a picture whatever joins it."""

from __future__ import annotations

import hashlib

import pytest

from captioner.data.splits import LEAST, Shares, deal
from captioner.errors import ConfigError


def digests(count: int) -> list[bytes]:
    return [hashlib.sha256(bytes([number % 256, number // 256])).digest() for number in range(count)]


def test_the_number_a_content_has_says_where_it_goes():
    # First bytes 0x00 to 0xff: the lowest tenth (up to 0x19) is for validation, the highest fifth (from 0xcd) for test.
    some = [bytes([first]) + b"\xff" * 31 for first in range(256)]
    dealt = deal(some, Shares(validation=0.1, test=0.2))
    assert dealt == ["validation"] * 25 + ["train"] * 179 + ["test"] * 52


@pytest.mark.parametrize(
    ("pictures", "validation"), [(0, 0), (1, 0), (2, 1), (4, 1), (5, 1), (10, 2), (20, 4), (50, 10), (60, LEAST)]
)
def test_a_small_collection_still_has_pictures_to_validate_on(pictures, validation):
    low_only = [bytes([255]) + digest[1:] for digest in digests(pictures)]
    assert deal(low_only, Shares(validation=0.001)).count("validation") == validation


def test_adding_pictures_moves_no_other():
    before = dict(zip(digests(500), deal(digests(500), Shares(validation=0.1, test=0.1)), strict=True))
    after = dict(zip(digests(900), deal(digests(900), Shares(validation=0.1, test=0.1)), strict=True))
    assert all(after[digest] == split for digest, split in before.items())
    assert set(before.values()) == {"train", "validation", "test"}


def test_equal_contents_go_together_and_the_order_does_not_matter():
    some = digests(30)
    dealt = deal(some + some[::-1], Shares())
    assert dealt[:30] == dealt[30:][::-1]


def test_no_share_is_no_picture():
    assert set(deal(digests(50), Shares(validation=0))) == {"train"}


@pytest.mark.parametrize(
    "shares", [{"validation": -0.1}, {"test": 1.0}, {"validation": 0.5, "test": 0.5}, {"test": float("nan")}]
)
def test_shares_that_leave_nothing_to_train_on_are_refused(shares):
    with pytest.raises(ConfigError, match="leave something to train on"):
        Shares(**shares)
