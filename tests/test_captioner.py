"""The captioner as its users meet it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import captioner
from captioner import Captioner, CheckpointError, ConfigError, ImageError
from captioner.model.captioning import CaptioningModel
from captioner.text.vocabulary import END, NEVER_SAID, START, normalise
from tests.conftest import tiny_model


@pytest.fixture
def tiny(model_folder: Path) -> Captioner:
    return Captioner.from_pretrained(model_folder, device="cpu")


def test_the_public_surface_is_exactly_this() -> None:
    assert sorted(captioner.__all__) == [
        "Candidate",
        "Caption",
        "Captioner",
        "CaptionerError",
        "CheckpointError",
        "ConfigError",
        "DataError",
        "Explanation",
        "ImageError",
        "SearchConfig",
        "Steering",
        "TrainingError",
        "__version__",
        "load_config",
    ]
    assert all(getattr(captioner, name) is not None for name in captioner.__all__)
    with pytest.raises(AttributeError):
        captioner.nothing_of_the_kind  # noqa: B018


def test_one_picture_gives_one_caption_with_its_candidates_best_first(tiny: Captioner, pictures: list[Path]) -> None:
    caption = tiny.caption(pictures[0])
    assert caption.text == caption.candidates[0].text
    assert len(caption.candidates) == 3
    assert len({candidate.text for candidate in caption.candidates}) == 3
    assert all(candidate.log_probability < 0 for candidate in caption.candidates)
    assert caption.error is None


def test_a_path_bytes_picture_and_array_are_captioned_alike(tiny: Captioner, pictures: list[Path]) -> None:
    picture = Image.open(pictures[1])
    sources = [pictures[1], str(pictures[1]), pictures[1].read_bytes(), picture, np.array(picture)]
    assert len({caption.text for caption in tiny.caption(sources)}) == 1


def test_captions_do_not_depend_on_the_batch_or_its_order(tiny: Captioner, pictures: list[Path]) -> None:
    together = [caption.text for caption in tiny.caption_each(pictures, batch_size=5)]
    assert [caption.text for caption in tiny.caption_each(pictures, batch_size=1)] == together
    assert [caption.text for caption in tiny.caption_each(pictures, batch_size=2)] == together
    assert [caption.text for caption in tiny.caption_each(reversed(pictures))] == together[::-1]


def test_a_broken_picture_in_a_list_is_an_error_in_its_place(tiny: Captioner, pictures: list[Path]) -> None:
    pictures[2].write_bytes(b"not a picture")
    captions = tiny.caption(pictures)
    assert [caption.error is None for caption in captions] == [True, True, False, True, True]
    assert captions[2].text is None
    assert str(pictures[2]) in str(captions[2].error)


def test_one_broken_picture_raises(tiny: Captioner, tmp_path: Path) -> None:
    with pytest.raises(ImageError):
        tiny.caption(tmp_path / "missing.jpg")


def test_only_broken_pictures_are_errors_too(tiny: Captioner) -> None:
    assert [caption.error is None for caption in tiny.caption([b"", b""])] == [False, False]


def test_more_candidates_than_beams_is_one_sentence(tiny: Captioner, pictures: list[Path]) -> None:
    with pytest.raises(ConfigError, match="widen the beam"):
        tiny.caption(pictures[0], candidates=4)


@pytest.mark.parametrize("method", ["beam", "sample"])
@pytest.mark.parametrize("candidates", [0, -1])
def test_less_than_one_candidate_is_one_sentence(
    tiny: Captioner, pictures: list[Path], method: Any, candidates: int
) -> None:
    with pytest.raises(ConfigError, match="At least one candidate"):
        tiny.caption(pictures[0], candidates=candidates, search=replace(tiny.search, method=method))


def test_impossible_lengths_are_one_sentence(tiny: Captioner, pictures: list[Path]) -> None:
    with pytest.raises(ConfigError, match="min_length <= max_length"):
        tiny.caption(pictures[0], search=replace(tiny.search, min_length=9, max_length=3))


def test_the_unknown_word_is_never_said_even_when_it_is_likeliest(pictures: list[Path]) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.decoder.output_bias[list(NEVER_SAID)] = 100.0
    for beam_width in (1, 3):
        search = replace(model.config.search, beam_width=beam_width)
        caption = Captioner(model).caption(pictures[0], search=search)
        assert all(word in model.vocabulary for word in normalise(str(caption.text)))


def test_log_probabilities_share_all_probability_among_words_and_end(model: CaptioningModel) -> None:
    state = model.decoder.start(torch.rand(1, model.encoder.regions, model.encoder.feature_size), rows=1)
    log_probabilities, _ = model.next_word(torch.tensor([[START]]), state)
    torch.testing.assert_close(log_probabilities.exp().sum(), torch.tensor(1.0))
    assert log_probabilities[0, 0, list(NEVER_SAID)].isneginf().all()
    assert log_probabilities[0, 0, END].isfinite()


def test_an_explanation_tells_each_words_probability_and_where_it_looked(tiny: Captioner, pictures: list[Path]) -> None:
    explanation = tiny.explain(pictures[0])
    caption = tiny.caption(pictures[0])
    assert explanation.text == caption.text
    assert [word.text for word in explanation.words] == list(caption.candidates[0].words)
    for word in explanation.words:
        assert 0 < word.probability < 1
        assert word.attention is not None
        assert word.attention.shape == (2, 2)
        assert word.attention.sum() + word.not_looking == pytest.approx(1, abs=1e-5)


def test_the_probabilities_of_the_words_multiply_to_the_captions(tiny: Captioner, pictures: list[Path]) -> None:
    model = tiny.model
    features = torch.rand(1, model.encoder.regions, model.encoder.feature_size)
    [[best]] = model.search(features, model.config.search)
    assert float(model.trace(features[0], best.words).log_probabilities.sum()) == pytest.approx(
        best.log_probability, abs=1e-4
    )


def test_a_folder_that_holds_no_model_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="captioner train"):
        Captioner.from_pretrained(tmp_path)


def test_a_device_that_does_not_exist_is_one_sentence(model_folder: Path) -> None:
    with pytest.raises(ConfigError, match="'abacus'"):
        Captioner.from_pretrained(model_folder, device="abacus")


def test_pictures_explained_together_are_answered_as_each_alone_in_a_batch_of_that_size(tiny: Captioner) -> None:
    size = tiny.model.encoder.preprocessing.size
    shades = [np.full((3, size, size), shade, np.uint8) for shade in (0, 90, 200)]
    describer = tiny.describer()
    together = describer.explain(describer.encode_singly(shades, filled_to=4))
    captions = describer.describe(describer.encode_singly(shades, filled_to=4), word_probabilities=True)
    for shade, explanation, caption in zip(shades, together, captions, strict=True):
        [alone] = describer.explain(describer.encode_singly([shade], filled_to=4))
        assert explanation is not None
        assert alone is not None
        assert explanation.as_json() == alone.as_json()
        assert explanation.caption == alone.caption == caption


def test_with_the_mirror_both_looks_count_alike_and_a_mirrored_picture_is_seen_mirrored(tiny: Captioner) -> None:
    model = tiny.model
    side, grid = model.encoder.preprocessing.size, (model.encoder.grid_height, model.encoder.grid_width)
    pixels = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def turned(features: torch.Tensor) -> torch.Tensor:
        return features.unflatten(1, grid).flip(2).flatten(1, 2)

    with torch.no_grad():
        plain, both = model.look(pixels, mirror=False), model.look(pixels, mirror=True)
        torch.testing.assert_close(both, (plain + turned(model.encoder(pixels.flip(-1)))) / 2)
        torch.testing.assert_close(model.look(pixels.flip(-1), mirror=True), turned(both))
    assert not torch.allclose(both, plain)


def test_what_is_captioned_with_the_mirror_is_the_mean_look(tiny: Captioner, pictures: list[Path]) -> None:
    search = replace(tiny.search, mirror=True)
    pixels = [tiny.model.encoder.preprocessing.read(picture) for picture in pictures]
    described = tiny.describer(search=search).encode(pixels).features
    with torch.no_grad():
        features = tiny.model.look(torch.from_numpy(np.stack(pixels)), mirror=True)
    torch.testing.assert_close(described, features)
    found = tiny.model.search(features, search)
    said = [caption.candidates[0].log_probability for caption in tiny.caption(pictures, search=search)]
    assert said == pytest.approx([hypotheses[0].log_probability for hypotheses in found], abs=1e-4)
    assert said != pytest.approx(
        [caption.candidates[0].log_probability for caption in tiny.caption(pictures)], abs=1e-4
    )
