"""Every metric against answers worked out by hand, and against the programs papers use."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioner.errors import DataError
from captioner.text import metrics
from captioner.text.metrics import CiderD, bleu, meteor, picture_statistics, rouge_l, score, smoothed_bleu


def words(*captions: str) -> list[list[str]]:
    return [caption.split() for caption in captions]


def corpus(pictures: int, *, shortest: int = 1, seed: int = 0) -> tuple[list, list]:
    """Captions up to 20 words with Zipf's word frequencies and 4 to 6 references; hypotheses are one
    reference with a third of its words changed, so that n-grams of every order match now and then."""
    generator = np.random.default_rng(seed)
    frequency = 1 / np.arange(1, 501)
    frequency /= frequency.sum()

    def draw(length: int) -> list[str]:
        return [f"word{rank}" for rank in generator.choice(500, size=length, p=frequency)]

    def change(caption: list[str]) -> list[str]:
        return [draw(1)[0] if generator.random() < 0.33 else word for word in caption]

    references = [
        [draw(generator.integers(shortest, 21)) for _ in range(generator.integers(4, 7))] for _ in range(pictures)
    ]
    hypotheses = [change(captions[generator.integers(len(captions))]) for captions in references]
    return hypotheses, references


def as_coco(hypotheses: list, references: list) -> tuple[dict, dict]:
    """(references, hypotheses) in the form and the order pycocoevalcap takes them."""
    join = " ".join
    return (
        {picture: [join(caption) for caption in captions] for picture, captions in enumerate(references)},
        {picture: [join(caption)] for picture, caption in enumerate(hypotheses)},
    )


# BLEU


def test_bleu_clips_a_repeated_word_to_its_count_in_one_reference():
    # Papineni et al. 2002, example 2: "the" is right at most twice of seven.
    hypotheses = words("the the the the the the the")
    references = [words("the cat is on the mat", "there is a cat on the mat")]
    assert bleu(hypotheses, references) == pytest.approx((2 / 7, 0, 0, 0))


def test_bleu_is_the_geometric_mean_of_the_precisions():
    # Two of three words and one of two word pairs match; the lengths are equal.
    values = bleu(words("a dog runs"), [words("a dog sleeps")])
    assert values[:2] == pytest.approx((2 / 3, math.sqrt(2 / 3 * 1 / 2)))


def test_bleu_takes_off_for_brevity():
    assert bleu(words("a dog"), [words("a dog runs fast")])[0] == pytest.approx(math.exp(1 - 4 / 2))


def test_smoothed_bleu_adds_one_to_the_counts_of_two_words_and_more():
    # Of "a dog runs fast" three words match and one word pair, but no three words in a row.
    values = smoothed_bleu(words("a dog runs fast", "x"), [words("a dog sleeps fast"), words("a dog sleeps fast")])
    assert values == pytest.approx([(3 / 4 * (1 + 1) / (3 + 1) * 1 / (2 + 1) * 1 / (1 + 1)) ** (1 / 4), 0])


def test_bleu_sums_counts_over_pictures_before_it_divides():
    # One of one word and one of three words: 2 / 4, not the mean of 1 and 1/3.
    assert bleu(words("dog", "a b c"), [words("dog"), words("a x y")])[0] == pytest.approx(1 / 2)


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_references_equally_close_in_length_the_shorter_counts(order):
    # Five words between references of three and seven: 0.67 where a library takes the first listed.
    captions = words("a b c", "a b c d e f g")[::order]
    hypotheses = words("a b c d e")
    assert bleu(hypotheses, [captions])[0] == 1
    assert score(hypotheses, [captions]).length_ratio == pytest.approx(5 / 3)


def test_bleu_of_captions_that_share_nothing_is_exactly_zero_without_a_warning():
    assert bleu(words("a b c d e"), [words("v w x y z")]) == (0, 0, 0, 0)
    assert bleu(words("a dog"), [words("a dog")]) == (1, 1, 0, 0)


def test_bleu_equals_pycocoevalcap():
    coco = pytest.importorskip("pycocoevalcap.bleu.bleu")
    hypotheses, references = corpus(300, shortest=4)
    expected, _ = coco.Bleu(4).compute_score(*as_coco(hypotheses, references), verbose=0)
    assert bleu(hypotheses, references) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_bleu_equals_sacrebleu(order):
    sacrebleu = pytest.importorskip("sacrebleu")
    hypotheses, references = corpus(300, shortest=4)
    most = max(len(captions) for captions in references)
    columns = [
        [" ".join(captions[column]) if column < len(captions) else None for captions in references]
        for column in range(most)
    ]
    judge = sacrebleu.BLEU(tokenize="none", smooth_method="none", max_ngram_order=order, force=True)
    expected = judge.corpus_score([" ".join(hypothesis) for hypothesis in hypotheses], columns).score
    assert 100 * bleu(hypotheses, references)[order - 1] == pytest.approx(expected, abs=1e-6)


def test_a_caption_too_short_for_an_n_gram_counts_in_nltk_as_one_that_failed():
    # Both captions are perfect, but the first has no run of four words: 1 of 2, where others say 1 of 1.
    captions = words("a b c", "a b c d")
    assert bleu(captions, [[caption] for caption in captions]) == pytest.approx((1, 1, 1, 0.5**0.25))


# ROUGE-L


def test_rouge_l_takes_precision_and_recall_from_different_references():
    # Precision 2 of 3 words; recall 2 of 2 from the first reference, 2 of 5 from the second.
    expected = 2.44 * (2 / 3) * 1 / (1 + 1.44 * (2 / 3))
    assert rouge_l(words("a dog runs"), [words("a dog", "the dog runs fast today")]) == pytest.approx(expected)


def test_rouge_l_is_one_for_a_reference_and_zero_for_nothing_in_common():
    assert rouge_l(words("a dog"), [words("a dog", "two cats")]) == pytest.approx(1)
    assert rouge_l(words("a dog"), [words("two cats")]) == 0
    assert rouge_l(words("a dog", "a dog"), [words("a dog"), words("two cats")]) == pytest.approx(0.5)


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abcd"), max_size=12))
def test_the_bit_parallel_common_subsequence_equals_the_usual_table(first, second):
    table = np.zeros((len(first) + 1, len(second) + 1), dtype=int)
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            longer = max(table[i, j + 1], table[i + 1, j])
            table[i + 1, j + 1] = table[i, j] + 1 if one == other else longer
    assert metrics._longest_common_subsequence(first, second) == table[-1, -1]


def test_rouge_l_equals_pycocoevalcap():
    coco = pytest.importorskip("pycocoevalcap.rouge.rouge")
    hypotheses, references = corpus(300)
    expected, _ = coco.Rouge().compute_score(*as_coco(hypotheses, references))
    assert rouge_l(hypotheses, references) == pytest.approx(expected, abs=1e-4)


# CIDEr-D


def test_cider_d_of_a_perfect_word_is_a_quarter_of_ten():
    # One word has n-grams of one order of four; that one matches perfectly.
    references = [words("red"), words("cat")]
    assert CiderD(references).score(words("red", "dog"), references) == pytest.approx([2.5, 0])


def test_cider_d_takes_off_for_a_wrong_length():
    # (1, 1) against (1, 0), both words equally rare: cosine 1 / sqrt(2), and one word too many.
    references = [words("red"), words("cat")]
    expected = 2.5 / math.sqrt(2) * math.exp(-(1**2) / (2 * 6**2))
    assert CiderD(references).score(words("red dog", "cat"), references)[0] == pytest.approx(expected)


def test_repeating_a_rare_word_does_not_pay():
    # Weight 4 is clipped to 1 but its norm stays 4: a quarter, and three words too many.
    references = [words("red"), words("cat")]
    expected = 2.5 / 4 * math.exp(-(3**2) / (2 * 6**2))
    assert CiderD(references).score(words("red red red red", "cat"), references)[0] == pytest.approx(expected)


def test_cider_d_takes_document_frequencies_from_another_corpus():
    # Of four documents "red" is in two and "cat" in one: weights log 2 and log 4, which is twice as much.
    cider = CiderD([words("red"), words("red"), words("cat"), words("dog")])
    expected = 2.5 * (2 / math.sqrt(1**2 + 2**2)) * math.exp(-(1**2) / (2 * 6**2))
    assert cider.score(words("red cat"), [words("cat")]) == pytest.approx([expected])


def test_a_word_in_several_references_of_one_picture_is_in_one_document():
    once = CiderD([words("red"), words("cat")])
    twice = CiderD([words("red", "red red"), words("cat")])
    assert once.vector(["red"]) == twice.vector(["red"])


def test_cider_d_of_a_single_picture_is_zero_even_for_a_perfect_caption():
    references = [words("a dog runs on the grass")]
    assert CiderD(references).score(words("a dog runs on the grass"), references) == pytest.approx([0])


@pytest.mark.parametrize("captions_kept", [0, 3, 1000])
def test_cider_d_is_the_same_again_whatever_it_remembers(captions_kept):
    hypotheses, references = corpus(10)
    cider = CiderD(references, captions_kept=captions_kept)
    first = cider.score(hypotheses, references)
    np.testing.assert_array_equal(cider.score(hypotheses, references), first)
    np.testing.assert_array_equal(cider.score(hypotheses[:2], references[:2]), first[:2])


def test_reference_vectors_are_built_once():
    _, references = corpus(5)
    cider = CiderD(references)
    first, again = cider.reference_vectors(references), cider.reference_vectors(references)
    assert all(a is b for one, other in zip(first, again, strict=True) for a, b in zip(one, other, strict=True))


def test_cider_d_equals_pycocoevalcap():
    coco = pytest.importorskip("pycocoevalcap.cider.cider")
    hypotheses, references = corpus(300)
    mean, expected = coco.Cider().compute_score(*as_coco(hypotheses, references))
    values = CiderD(references).score(hypotheses, references)
    np.testing.assert_allclose(values, expected, atol=1e-4)
    assert score(hypotheses, references).cider_d == pytest.approx(100 * mean, abs=1e-2)


# METEOR (NLTK)


def test_meteor_of_two_perfect_words_is_below_one():
    # All match in one chunk of two words: 1 - 0.5 * (1 / 2) ** 3.
    assert meteor(words("a dog"), [words("a dog")]) == pytest.approx(0.9375)


def test_meteor_matches_stems_and_takes_the_best_reference():
    assert meteor(words("dogs running"), [words("two cats", "dog runs")]) == pytest.approx(0.9375)


def test_meteor_knows_no_synonyms_and_needs_no_wordnet():
    assert meteor(words("automobile"), [words("car")]) == 0


# Everything at once


def test_scores_of_perfect_captions_are_those_of_papers():
    captions = words("a small dog runs", "two men play chess")
    scores = score(captions, [[caption] for caption in captions])
    assert (scores.bleu_1, scores.bleu_4, scores.rouge_l) == pytest.approx((100, 100, 100))
    assert scores.cider_d == pytest.approx(1000)
    assert scores.length_ratio == 1
    assert scores.vocabulary_used == 8
    assert scores.novel is None


def test_novel_is_the_share_of_captions_never_seen_in_training():
    references = [words("a dog"), words("a cat"), words("a man"), words("a car")]
    hypotheses = words("a dog", "a cat", "a dog", "one car")
    assert score(hypotheses, references, words("a dog", "the cat")).novel == 0.5


def test_a_caption_without_words_scores_zero():
    scores = score([[], []], [words("a dog"), words("a cat")])
    assert set(dataclasses.astuple(scores)) == {0, None}


def test_references_without_words_are_survived():
    references = [[[], ["a", "dog"]], [[]]]
    scores = score(words("a dog", "a cat"), references)
    assert scores.rouge_l == pytest.approx(50)
    assert score([[], []], [[[]], [[]]]).length_ratio == 0


# Sums over pictures


@pytest.mark.parametrize("shortest", [1, 4])
def test_bleu_from_sums_over_pictures_equals_bleu(shortest):
    hypotheses, references = corpus(100, shortest=shortest)
    hypotheses[0] = []
    sums = metrics._bleu_statistics(hypotheses, references).sum(axis=0, keepdims=True)
    np.testing.assert_allclose(metrics._bleu_from_statistics(sums)[0], bleu(hypotheses, references), rtol=1e-12)


def test_bleu_from_sums_is_zero_where_no_n_gram_matches():
    sums = metrics._bleu_statistics(words("a dog"), [words("a dog")])
    np.testing.assert_array_equal(metrics._bleu_from_statistics(sums), [[1, 1, 0, 0]])


# Mistakes


def cider_score(hypotheses, references):
    return CiderD(references).score(hypotheses, references)


@pytest.mark.parametrize("metric", [bleu, rouge_l, cider_score, meteor, score, picture_statistics])
@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [
        (words("a dog"), [words("a dog"), words("a cat")], "1 hypotheses came with the references of 2"),
        (words("a dog", "a cat"), [words("a dog"), []], "picture 1 has none"),
        ([], [], "at least one picture"),
        ("a dog", [words("a dog")], "every hypothesis must be a list of words, but a string came"),
        (["a dog"], [words("a dog")], "every hypothesis must be a list of words, but a string came"),
        (words("a dog"), ["a dog"], "every reference of picture 0 must be a list of words"),
        (words("a dog"), [["a dog"]], "every reference of picture 0 must be a list of words"),
    ],
)
def test_every_metric_refuses_what_it_cannot_compare(metric, hypotheses, references, message):
    with pytest.raises(DataError, match=message):
        metric(hypotheses, references)


@pytest.mark.parametrize("training_captions", ["a dog", ["a dog"]])
def test_training_captions_must_be_split_into_words(training_captions):
    with pytest.raises(DataError, match="every training caption must be a list of words"):
        score(words("a dog"), [words("a dog")], training_captions)
