"""The reward of drawn captions: CIDEr-D, and BLEU-4 with a weight, with the end token as the last word."""

from __future__ import annotations

import time

import numpy as np
import pytest

from captioner.text.metrics import CiderD, smoothed_bleu
from captioner.text.vocabulary import END, Vocabulary
from captioner.training.reward import Reward

CAPTIONS = [
    ["a brown dog runs over green grass", "a dog runs"],
    ["two children play in the water", "two wet children play"],
    ["a man rides a red bike"],
]
VOCABULARY = Vocabulary.fit((caption for row in CAPTIONS for caption in row), min_count=1)


def ended(caption: str) -> list[int]:
    return [*VOCABULARY.encode(caption), END]


def test_it_is_cider_d_with_the_end_among_the_words_of_both_sides() -> None:
    reward = Reward(CAPTIONS, VOCABULARY)
    said = [[["two", "children", "run"], ["children", "play", "in", "the", "grass"]], [["a", "man"], ["a", "bike"]]]
    drawn = [[ended(" ".join(words)) for words in rows] for rows in said]
    references = [[[*caption.split(), "<end>"] for caption in row] for row in CAPTIONS]
    expected = CiderD(references).score(
        [[word for word in words if word in VOCABULARY] + ["<end>"] for rows in said for words in rows],
        [references[1], references[1], references[2], references[2]],
    )
    np.testing.assert_allclose(reward.of([1, 2], drawn).ravel(), expected, atol=1e-9, rtol=0)


def test_a_caption_that_equals_its_only_reference_has_the_highest_reward() -> None:
    [[best]] = Reward(CAPTIONS, VOCABULARY).of([2], [[ended("a man rides a red bike")]])
    assert best == pytest.approx(10)


def test_bleu_counts_as_much_as_its_weight() -> None:
    said = [[ended("a brown dog runs"), ended("a dog runs over green grass")]]
    plain, both = (Reward(CAPTIONS, VOCABULARY, bleu_weight=weight).of([0], said) for weight in (0.0, 2.0))
    words = [[*caption.split(), "<end>"] for caption in ("a brown dog runs", "a dog runs over green grass")]
    references = [[*caption.split(), "<end>"] for caption in CAPTIONS[0]]
    np.testing.assert_allclose((both - plain)[0], 2 * smoothed_bleu(words, [references, references]))


def test_a_caption_that_never_ends_is_worth_nothing() -> None:
    [[cut]] = Reward(CAPTIONS, VOCABULARY, bleu_weight=2.0).of([2], [[VOCABULARY.encode("a man rides a red bike")]])
    assert cut == 0


def test_a_dangling_end_pays_less_than_it_does_without_the_end_token() -> None:
    """All n-grams of "a man rides a" are the reference's, but not those with the end after "a"."""
    [[dangling]] = Reward(CAPTIONS, VOCABULARY).of([2], [[ended("a man rides a")]])
    references = [[caption.split() for caption in row] for row in CAPTIONS]
    [without] = CiderD(references).score(["a man rides a".split()], references[2:])
    assert dangling < without - 1


def test_a_caption_of_the_mirror_image_is_judged_with_its_sides_changed() -> None:
    captions = [["a man on the left waves"], ["a dog runs"]]
    vocabulary = Vocabulary.fit(["a man on the left waves right", "a dog runs"], min_count=1)
    right = [[[*vocabulary.encode("a man on the right waves"), END]]]
    reward = Reward(captions, vocabulary)
    assert reward.of([0], right, mirrored=np.array([True])) == pytest.approx(10)
    assert reward.of([0], right) < 9


def test_what_is_no_side_stays_in_the_mirror() -> None:
    captions = [["a dog right behind a man"], ["a man waves"]]
    vocabulary = Vocabulary.fit(["a dog right left behind a man", "a man waves"], min_count=1)
    said = [[[*vocabulary.encode("a dog right behind a man"), END]]]
    assert Reward(captions, vocabulary).of([0], said, mirrored=np.array([True])) == pytest.approx(10)


def test_references_are_not_cut_to_the_vocabulary() -> None:
    """To leave out a word that the vocabulary lacks must not look like saying all of the reference."""
    few = Vocabulary([(word, 1) for word in VOCABULARY.counts if word != "red"])
    reward = Reward(CAPTIONS, few)
    [[without]] = reward.of([2], [[[*few.encode("a man rides a bike"), END]]])
    assert without < 8


def test_two_passes_over_the_same_captions_give_the_same_rewards() -> None:
    reward = Reward(CAPTIONS, VOCABULARY)
    drawn = [[ended("a dog plays"), ended("a dog runs in the water")]]
    assert np.array_equal(reward.of([0], drawn), reward.of([0], drawn))


def test_it_is_at_least_five_times_as_fast_as_pycocoevalcap() -> None:
    """Five drawn captions for each of 50 pictures with five references, as in a batch of training.

    `pytest tests/test_reward.py -s -k pycocoevalcap` prints both rates. Each is the best of several turns, taken one
    after the other, in processor time, so that other work on the machine counts little.
    """
    coco = pytest.importorskip("pycocoevalcap.cider.cider")
    random = np.random.default_rng(0)
    words = [f"w{number}" for number in range(400)]

    def sentence() -> str:
        return " ".join(words[min(399, int(random.exponential(60)))] for _ in range(random.integers(8, 14)))

    captions = [[sentence() for _ in range(5)] for _ in range(50)]
    drawn = [[sentence() for _ in range(5)] for _ in range(50)]
    vocabulary = Vocabulary([(word, 1) for word in words])
    reward = Reward(captions, vocabulary)
    ids = [[[*vocabulary.encode(text), END] for text in rows] for rows in drawn]
    theirs = {
        f"{picture} {row}": [f"{text} end" for text in captions[picture]] for picture in range(50) for row in range(5)
    }
    hypotheses = {f"{picture} {row}": [f"{drawn[picture][row]} end"] for picture in range(50) for row in range(5)}
    seconds: list[tuple[float, float]] = []
    for _ in range(5):
        began = time.process_time()
        reward.of(range(50), ids)
        between = time.process_time()
        coco.Cider().compute_score(theirs, hypotheses)
        seconds.append((between - began, time.process_time() - between))
    own, other = (min(each) for each in zip(*seconds, strict=True))
    print(f"\n{250 / own:,.0f} captions a second, pycocoevalcap {250 / other:,.0f}: {other / own:.1f} times")
    assert other / own >= 5
