"""Intervals of scores, of one model and of the difference between two, against answers worked out by hand."""

import math

import pytest

from captioner.errors import ConfigError, DataError
from captioner.text.bootstrap import changes, confidence_intervals
from captioner.text.metrics import picture_statistics, score
from tests.test_metrics import corpus, words


def test_intervals_contain_the_score_of_all_pictures():
    hypotheses, references = corpus(100)
    scores = score(hypotheses, references)
    intervals = confidence_intervals(picture_statistics(hypotheses, references), samples=300)
    assert list(intervals) == ["bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider_d"]
    for name, interval in intervals.items():
        assert interval.low < getattr(scores, name) < interval.high


def test_intervals_shrink_with_the_square_root_of_the_pictures():
    def width(pictures: int) -> float:
        interval = confidence_intervals(picture_statistics(*corpus(pictures)), samples=300)["rouge_l"]
        return interval.high - interval.low

    assert width(40) / width(640) == pytest.approx(math.sqrt(640 / 40), rel=0.35)


def test_intervals_widen_with_the_level_and_repeat_with_the_seed():
    hypotheses, references = corpus(50)
    narrow = confidence_intervals(picture_statistics(hypotheses, references), samples=100, level=0.5)
    wide = confidence_intervals(picture_statistics(hypotheses, references), samples=100, level=0.9)
    assert wide == confidence_intervals(picture_statistics(hypotheses, references), samples=100, level=0.9)
    assert wide != confidence_intervals(picture_statistics(hypotheses, references), samples=100, level=0.9, seed=1)
    assert all(wide[name].low < narrow[name].low < narrow[name].high < wide[name].high for name in wide)


def test_pictures_that_are_all_alike_leave_no_doubt():
    hypotheses, references = words(*["a dog runs fast"] * 5), [words("a dog sits there")] * 5
    interval = confidence_intervals(picture_statistics(hypotheses, references), samples=20)["bleu_1"]
    assert interval == pytest.approx((50, 50))


def test_a_change_tells_the_scores_of_both_and_an_interval_around_the_gain():
    old, references = corpus(100)
    new = [captions[0] for captions in references]
    told = changes(old, new, references, samples=300)
    before, after = score(old, references), score(new, references)
    alone = confidence_intervals(picture_statistics(old, references), samples=300)
    for name, change in told.items():
        assert change.old == pytest.approx(getattr(before, name))
        assert change.new == pytest.approx(getattr(after, name))
        assert change.gain == pytest.approx(change.new - change.old)
        assert change.gain_interval.low < change.gain < change.gain_interval.high
        assert change.old_interval == alone[name]


def test_the_same_captions_have_a_gain_of_nothing_and_leave_no_doubt():
    hypotheses, references = corpus(30)
    for change in changes(hypotheses, hypotheses, references, samples=50).values():
        assert (change.gain, change.gain_interval) == (0, (0, 0))
        assert change.old_interval.low < change.old_interval.high


def test_the_gain_is_sure_where_every_picture_gains_alike_however_much_pictures_differ():
    """Half of the pictures are hard: old 0 and new 25 BLEU-1; the others easy: old 75 and new 100."""
    references = [words("a dog runs fast")] * 20
    old = words(*["x x x x", "a dog runs x"] * 10)
    new = words(*["a x x x", "a dog runs fast"] * 10)
    change = changes(old, new, references, samples=200)["bleu_1"]
    assert (change.old, change.new) == pytest.approx((37.5, 62.5))
    assert change.gain_interval == pytest.approx((25, 25))
    assert change.old_interval.high - change.old_interval.low > 20


def test_one_picture_that_changes_gives_an_interval_between_nothing_and_its_share():
    """Of 4 pictures one goes from 0 to 100 BLEU-1: a draw holds it 0 to 4 times, each worth 25; 0 in (3/4)^4 = 32 %."""
    references = [words("a dog runs fast")] * 4
    same = words(*["a dog runs fast"] * 3)
    change = changes([*same, ["x"] * 4], [*same, *words("a dog runs fast")], references)["bleu_1"]
    assert change.gain == pytest.approx(25)
    assert change.gain_interval.low == pytest.approx(0)
    assert change.gain_interval.high == pytest.approx(75)  # 3 of 4 or more in 5.1 % of the draws, 4 in 0.4 %


def test_two_sets_of_captions_must_be_of_the_same_pictures():
    with pytest.raises(DataError, match="1 hypotheses came with the references of 2"):
        changes(words("a dog", "a cat"), words("a dog"), [words("a dog"), words("a cat")])


@pytest.mark.parametrize("settings", [{"samples": 0}, {"level": 0}, {"level": 95}])
def test_intervals_refuse_settings_that_mean_nothing(settings):
    with pytest.raises(ConfigError, match="must"):
        confidence_intervals(picture_statistics(words("a dog"), [words("a dog")]), **settings)
