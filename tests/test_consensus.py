"""The choice by consensus: worked out by hand, the same in any company, and within the rules of the search."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from captioner import Captioner, ConfigError
from captioner.config import SearchConfig
from captioner.inference.explanation_page import render_inside
from captioner.model.captioning import CaptioningModel
from captioner.search.tree import Recorder
from captioner.text.consensus import likeness_table, order_by_consensus
from captioner.text.steering import Steering
from tests.conftest import tiny_model

EVERY_CAPTION_COUNTS = 1000.0


def order(captions: list[str], probabilities: list[float], temperature: float = 1.0) -> list[int]:
    words = [caption.split() for caption in captions]
    log_probabilities = [math.log(each) for each in probabilities]
    return order_by_consensus(likeness_table(words), log_probabilities, temperature=temperature)


@pytest.fixture(scope="module")
def speaker() -> CaptioningModel:
    """A network whose wide beams hold many unlike captions."""
    return tiny_model()


@pytest.fixture(scope="module")
def features(speaker: CaptioningModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return 9 * torch.rand(8, speaker.encoder.regions, speaker.encoder.feature_size, generator=generator)


SEARCH = SearchConfig(beam_width=12, min_length=2, max_length=8, consensus=EVERY_CAPTION_COUNTS)


def test_likeness_is_the_mean_f1_of_the_ngrams() -> None:
    """Of "a dog runs" and "a dog": 2 of 3 + 2 words, 1 of 2 + 1 pairs, 0 of 1 + 0 triples, and neither has four."""
    table = likeness_table([["a", "dog", "runs"], ["a", "dog"]])
    assert table[0][1] == table[1][0] == pytest.approx((4 / 5 + 2 / 3 + 0) / 3)
    assert table[0][0] == table[1][1] == 1


def test_a_repeated_word_is_as_like_as_it_is_often_in_both() -> None:
    assert likeness_table([["dog", "dog"], ["dog"]])[0][1] == pytest.approx((2 / 3 + 0) / 2)


def test_captions_without_words_are_alike() -> None:
    assert likeness_table([[], []]) == [[1, 1], [1, 1]]
    assert likeness_table([[], ["dog"]])[0][1] == 0


def test_of_three_captions_one_of_the_two_alike_wins_though_the_third_is_likeliest() -> None:
    """The two alike share an F1 of (2/3 + 1/2 + 0) / 3 = 0.39."""
    captions = ["men play football", "a dog runs", "a dog jumps"]
    assert order(captions, [0.4, 0.35, 0.25]) == [1, 0, 2]  # 0.4 against 0.35 + 0.39 * 0.25 and 0.25 + 0.39 * 0.35


def test_likely_captions_count_more_the_lower_the_temperature() -> None:
    """At temperature 1 the two alike reach 0.2 + 0.39 * 0.2 = 0.28 each."""
    captions = ["men play football", "a dog runs", "a dog jumps"]
    assert order(captions, [0.6, 0.2, 0.2]) == [0, 1, 2]
    assert order(captions, [0.6, 0.2, 0.2], temperature=EVERY_CAPTION_COUNTS) == [1, 2, 0]
    assert order(captions, [0.4, 0.35, 0.25], temperature=0.01) == [0, 1, 2]


def test_equals_keep_their_order() -> None:
    captions = ["a red dog", "a big dog", "a wet dog", "a fat dog", "a sad dog"]
    assert order(captions, [0.2] * 5) == [0, 1, 2, 3, 4]
    assert order(captions[::-1], [0.2] * 5) == [0, 1, 2, 3, 4]


def test_no_captions_have_no_order() -> None:
    assert order([], []) == []


def test_captions_far_less_likely_than_any_number_can_tell_do_no_harm() -> None:
    assert order_by_consensus([[1.0, 0.5], [0.5, 1.0]], [-1.0, -1e6], temperature=0.1) == [0, 1]


def test_the_search_answers_with_its_own_captions_in_the_order_of_consensus(
    speaker: CaptioningModel, features: torch.Tensor
) -> None:
    by_score = speaker.search(features, replace(SEARCH, consensus=0), best=12)
    by_consensus = speaker.search(features, SEARCH, best=12)
    assert [captions[0] for captions in by_score] != [captions[0] for captions in by_consensus]
    for scored, agreed in zip(by_score, by_consensus, strict=True):
        table = likeness_table([caption.words for caption in scored])
        assert set(agreed) == set(scored)
        means = [sum(table[scored.index(caption)]) for caption in agreed]
        assert means == pytest.approx(sorted(means, reverse=True), rel=0.02)


def test_fewer_answers_are_the_first_of_more(speaker: CaptioningModel, features: torch.Tensor) -> None:
    every = speaker.search(features, SEARCH, best=12)
    for best in (1, 5):
        assert speaker.search(features, SEARCH, best=best) == [captions[:best] for captions in every]


def test_a_picture_alone_is_answered_as_in_company(speaker: CaptioningModel, features: torch.Tensor) -> None:
    together = speaker.search(features, SEARCH)
    for number, [caption] in enumerate(together):
        [[alone]] = speaker.search(features[number : number + 1], SEARCH)
        assert alone.words == caption.words


def test_consensus_keeps_to_every_rule(speaker: CaptioningModel, features: torch.Tensor) -> None:
    vocabulary = speaker.vocabulary
    rules = Steering(forbid=("dog", "in the"), require=("red",)).rules(vocabulary)
    for captions in speaker.search(features, SEARCH, best=12, rules=rules):
        for caption in captions:
            said = vocabulary.detokenise(vocabulary.decode(caption.words)).lower()
            assert "red" in said
            assert "dog" not in said
            assert "in the" not in said


def test_groups_samples_and_greedy_search_stay_as_they_are(speaker: CaptioningModel, features: torch.Tensor) -> None:
    for search in (
        replace(SEARCH, groups=3, beam_width=6),
        replace(SEARCH, method="sample"),
        replace(SEARCH, beam_width=1),
    ):
        best = 1 if search.beam_width == 1 else 4
        without = replace(search, consensus=0.0)
        assert speaker.search(features, search, best=best) == speaker.search(features, without, best=best)


@pytest.mark.parametrize("consensus", [-1.0, math.nan, math.inf])
def test_a_consensus_that_is_no_temperature_is_a_mistake(speaker: CaptioningModel, consensus: float) -> None:
    with pytest.raises(ConfigError, match="consensus must be a finite number"):
        speaker.constraints(replace(SEARCH, consensus=consensus))


def test_what_is_explained_is_the_caption_chosen_and_the_tree_says_so(speaker: CaptioningModel) -> None:
    """Its path in the tree leads to what is said, and where another has a better score the page tells why."""
    captioner = Captioner(speaker)
    told = []
    for number in range(6):
        picture = torch.randint(0, 256, (48, 64, 3), generator=torch.Generator().manual_seed(number)).byte().numpy()
        explanation = captioner.explain(picture, search=SEARCH)
        assert explanation.text == captioner.caption(picture, search=SEARCH).text
        tree = explanation.tree
        assert tree is not None
        end = tree.branches[max(tree.chosen)]
        assert end.words == tree.said == tuple(word.text for word in explanation.words)
        assert end.log_probability == pytest.approx(explanation.log_probability, abs=1e-4)
        best_scored = captioner.caption(picture, search=replace(SEARCH, consensus=0.0)).text
        assert tree.by_consensus == (best_scored != explanation.text)
        assert ("not the one of the best score" in render_inside(explanation)) == tree.by_consensus
        told.append(tree.by_consensus)
    assert any(told)


def test_the_recorder_keeps_all_that_were_compared(speaker: CaptioningModel, features: torch.Tensor) -> None:
    recorder = Recorder()
    [caption, *_] = speaker.search(features[:1], SEARCH, best=1, recorder=recorder)[0]
    finished = {recorder.trees[0].words(node.index) for node in recorder.trees[0].nodes if node.fate.name == "BEST"}
    assert caption.words in finished
    assert len(finished) == SEARCH.beam_width
