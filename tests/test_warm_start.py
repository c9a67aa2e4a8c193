"""Beginning from an older model: nothing it knew is lost, and it can learn new words at once."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from captioner.config import Config, load_config
from captioner.errors import ConfigError
from captioner.inference.confidence import FILE
from captioner.model.captioning import CaptioningModel, build_model
from captioner.model.checkpoint import load_checkpoint, read_beside, save_checkpoint, write_beside
from captioner.text.vocabulary import Vocabulary
from captioner.training.warm_start import settings_kept, warm_start
from tests.conftest import SENTENCES, tiny_model
from tests.training import model_to_train, train

NEW = [["a brown dog chases a frisbee", "the dog chases a frisbee"], ["a man rides a zebra"]]


def begun(old: CaptioningModel, captions: list[list[str]] = NEW, *, min_count: int = 1) -> CaptioningModel:
    return warm_start(old, load_config(None, [f"vocabulary.min_count={min_count}"], base=settings_kept(old)), captions)


def row(model: CaptioningModel, word: str) -> tuple[torch.Tensor, float]:
    number = model.vocabulary.words.index(word)
    decoder = model.decoder
    return decoder.embedding.weight[number].detach(), float(decoder.output_bias[number].detach())


def test_the_new_vocabulary_has_the_old_words_and_the_new_ones_commonest_first() -> None:
    old = tiny_model()
    vocabulary = begun(old).vocabulary
    assert set(vocabulary.counts) == set(old.vocabulary.counts) | {"chases", "frisbee", "zebra"}
    assert vocabulary.counts["dog"] == max(2, old.vocabulary.counts["dog"])
    assert vocabulary.counts["a"] == max(5, old.vocabulary.counts["a"])
    assert list(vocabulary.counts.values()) == sorted(vocabulary.counts.values(), reverse=True)
    assert "zebra" not in begun(old, min_count=2).vocabulary


def test_who_learns_twice_from_the_same_captions_does_not_count_them_twice() -> None:
    once = begun(tiny_model())
    assert begun(once).vocabulary.counts == once.vocabulary.counts


def test_old_words_keep_their_weights_wherever_they_now_stand() -> None:
    old = tiny_model()
    torch.nn.init.normal_(old.decoder.output_bias)
    new = begun(old)
    for word in old.vocabulary.words:
        assert torch.equal(row(new, word)[0], row(old, word)[0])
        assert row(new, word)[1] == row(old, word)[1]


def test_a_model_that_learns_no_new_word_says_what_it_said() -> None:
    old = tiny_model(dropout=0.0)
    new = begun(old, [[SENTENCES[0]]]).eval()
    features = torch.rand(2, old.encoder.regions, old.encoder.feature_size)
    said = [[m.vocabulary.decode(h.words) for [h] in m.search(features, old.config.search)] for m in (old, new)]
    assert said[0] == said[1]


def test_a_new_word_begins_as_those_it_can_stand_for_and_is_as_much_less_likely_as_it_is_rarer() -> None:
    """After `the` comes, but for zebra, dog, and before `plays` cat: zebra begins half way between the two."""
    old = build_model(tiny_model().config, Vocabulary.fit(["the dog and a cat plays"], min_count=1))
    new = begun(old, [["the zebra plays", "the dog", "cat plays", "and dog", "cat and"]])
    zebra, bias = row(new, "zebra")
    half_way = row(old, "dog")[0] + row(old, "cat")[0]
    assert torch.cosine_similarity(zebra, half_way, dim=0) > 0.9999
    lengths = old.decoder.embedding.weight[4:].detach().norm(dim=1)
    assert float(zebra.norm()) == pytest.approx(float(lengths.mean()), rel=1e-4)
    assert bias == pytest.approx(-2 * math.log(2), rel=1e-4)  # dog and cat come twice, zebra once


def test_a_new_word_in_places_of_its_own_begins_as_the_unknown_word() -> None:
    old = tiny_model()
    zebra, _bias = row(begun(old, [["zebra"]]), "zebra")
    assert torch.equal(zebra, row(old, "<unk>")[0])


def test_the_shape_is_the_old_models_and_a_recipe_that_differs_is_told() -> None:
    old = tiny_model()
    for override, sentence in (
        ("decoder.hidden_size=32", "decoder.hidden_size must be that of the model to begin from, 16, but .* 32; leave"),
        ("encoder.size=224", "encoder.size must be .* 64"),
        ("vocabulary.units=characters", "vocabulary.units must be .* 'words'"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            warm_start(old, load_config(None, [override], base=settings_kept(old)), NEW)
    free = load_config(None, ["decoder.dropout=0.3", "encoder.mirrored=false"], base=settings_kept(old))
    assert warm_start(old, free, NEW).config.decoder.dropout == 0.3


def test_the_search_is_the_old_models_and_its_training_is_not() -> None:
    old = tiny_model()
    old.config = replace(old.config, training=replace(old.config.training, epochs=99))
    config = load_config(Path(__file__).parent.parent / "configs" / "custom.toml", base=settings_kept(old))
    assert config.search == old.config.search
    assert config.decoder == replace(old.config.decoder, dropout=0.5)
    assert config.training.epochs not in (99, Config().training.epochs)


def test_the_crops_that_a_model_learnt_from_are_no_part_of_what_is_begun_from_it() -> None:
    old = tiny_model()
    old.config = replace(old.config, encoder=replace(old.config.encoder, crops=8))
    assert load_config(None, base=settings_kept(old)).encoder == replace(old.config.encoder, crops=0)
    asked = load_config(None, ["encoder.crops=3"], base=settings_kept(old))
    assert warm_start(old, asked, NEW).config.encoder.crops == 3


@pytest.mark.parametrize("recipe", ["custom.toml", "custom-cnn.toml"])
def test_a_recipe_for_one_s_own_pictures_drops_out_whatever_the_old_model_did_last(recipe: str) -> None:
    """The shipped one ended with captions that it drew itself, and without dropout."""
    old = tiny_model(dropout=0.0)
    config = load_config(Path(__file__).parent.parent / "configs" / recipe, base=settings_kept(old))
    assert config.decoder.dropout == 0.5


def test_what_is_learnt_from_a_quick_model_is_as_quick(tmp_path: Path) -> None:
    old = tiny_model()
    old.precision = torch.bfloat16
    save_checkpoint(old, tmp_path / "old")
    new = begun(load_checkpoint(tmp_path / "old"), [[sentence] for sentence in SENTENCES])
    new.config = replace(new.config, training=model_to_train(epochs=1).config.training)
    train(new, tmp_path / "run", evaluate_first=True)
    assert load_checkpoint(tmp_path / "run" / "best").precision == torch.bfloat16


def test_the_old_models_confidence_is_not_taken_for_the_new_ones(tmp_path: Path) -> None:
    save_checkpoint(tiny_model(), tmp_path / "old")
    write_beside(tmp_path / "old", FILE, b"{}")
    new = begun(load_checkpoint(tmp_path / "old"), [[sentence] for sentence in SENTENCES])
    new.config = replace(new.config, training=model_to_train(epochs=1).config.training)
    train(new, tmp_path / "run", evaluate_first=True)
    assert read_beside(tmp_path / "old", FILE) is not None
    assert read_beside(tmp_path / "run" / "best", FILE) is None
