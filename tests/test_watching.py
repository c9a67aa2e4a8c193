"""What a watch tells of a caption is what the network computes when it says it again, however it was found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from captioner.config import SearchConfig
from captioner.model.captioning import CaptioningModel
from captioner.search.backtracking import backtrack
from captioner.text.steering import WordRules
from captioner.text.vocabulary import START
from tests.conftest import tiny_model

PLAIN = SearchConfig(beam_width=4, min_length=2, max_length=6)


def features_for(model: CaptioningModel) -> torch.Tensor:
    shape = (3, model.encoder.regions, model.encoder.feature_size)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("sentinel", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"beam_width": 1},
        {"groups": 2},
        {"consensus": 1.0},
        {"no_repeat_ngram": 0, "min_length": 0},
        {"method": "sample", "seed": 3},
    ],
)
def test_it_tells_what_is_computed_when_the_caption_is_said_again(settings: dict[str, Any], sentinel: bool) -> None:
    model = tiny_model(sentinel=sentinel)
    features, watch = features_for(model), model.watch()
    found = model.search(features, replace(PLAIN, **settings), best=2, watch=watch)
    for picture, captions in enumerate(found):
        for caption in captions:
            told, trace = watch.choices(picture, caption.words), model.trace(features[picture], caption.words)
            torch.testing.assert_close(told.log_probabilities, trace.log_probabilities)
            assert float(told.log_probabilities.sum()) == pytest.approx(caption.log_probability, abs=1e-4)
            entropies = torch.special.entr(trace.distributions.exp()).sum(dim=-1)
            torch.testing.assert_close(told.entropies, entropies, rtol=1e-4, atol=1e-5)
            assert trace.weights is not None
            away = trace.weights[:, -1] if sentinel else torch.zeros(len(caption.words) + 1)
            torch.testing.assert_close(told.looked_away, away)


@pytest.mark.parametrize("kind", ["attend", "top_down", "show_and_tell"])
@pytest.mark.parametrize("required", [(), ("dog",), ("dog", "grass")])
def test_watching_changes_nothing_and_follows_required_words(kind: str, required: tuple[str, ...]) -> None:
    model = tiny_model(kind=kind)
    rules = WordRules(required=tuple((model.vocabulary.encode(word)[0],) for word in required))
    features, watch = features_for(model), model.watch()
    found = model.search(features, PLAIN, rules=rules, watch=watch)
    assert found == model.search(features, PLAIN, rules=rules)
    for picture, [best, *_] in enumerate(found):
        told = watch.choices(picture, best.words).log_probabilities
        torch.testing.assert_close(told, model.trace(features[picture], best.words).log_probabilities)


def test_a_caption_found_by_going_back_is_known_too() -> None:
    model = tiny_model()
    features, watch = features_for(model), model.watch()
    state = model.decoder.start(features, rows=1)
    constraints = model.constraints(PLAIN)
    way = backtrack(watch.step, state, 1, pictures=3, start=START, constraints=constraints)
    assert way is not None
    expected = model.trace(features[1], way.words).log_probabilities
    torch.testing.assert_close(watch.choices(1, way.words).log_probabilities, expected)


def test_a_caption_that_was_not_said_is_refused() -> None:
    model = tiny_model()
    watch = model.watch()
    model.search(features_for(model), PLAIN, watch=watch)
    with pytest.raises(LookupError, match="about picture 1"):
        watch.choices(1, [4, 4, 4, 4, 4])
