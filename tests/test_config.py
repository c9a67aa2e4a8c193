"""Settings: what a recipe may say, and how a mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from captioner.config import Config, from_dict, load_config, to_dict
from captioner.errors import ConfigError

RECIPES = sorted(Path(__file__).parent.parent.glob("configs/*.toml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads(recipe: Path) -> None:
    assert isinstance(load_config(recipe), Config)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_says_what_it_costs_and_reaches(recipe: Path) -> None:
    header = recipe.read_text().partition("\n\n")[0]
    assert "captioner train" in header
    assert "Cost" in header
    assert "Reached" in header


def test_an_override_is_one_line_of_toml(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[training]\nepochs = 3\nseed = 5\n")
    config = load_config(recipe, ["training.epochs=7", "decoder.cell=gru", 'encoder.name = "resnet18"'])
    assert (config.training.epochs, config.training.seed) == (7, 5)
    assert (config.decoder.cell, config.encoder.name) == ("gru", "resnet18")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("training.epoch=3", "There is no setting training.epoch; did you mean training.epochs?"),
        ("trianing.epochs=3", "did you mean training?"),
        ("training.epochs=many", "training.epochs must be of type int, but 'many' came."),
        ("training.epochs=-1", "training.epochs must be 1 or more, but -1 came."),
        ("training.pictures_per_batch=0", "training.pictures_per_batch must be 1 or more, but 0 came."),
        ("decoder.dropout=1.5", "decoder.dropout must be from 0 to 1, but 1.5 came."),
        ("training.samples=1", "training.samples must be 2 or more, but 1 came."),
        ("training.learning_rate=nan", "training.learning_rate must be 0 or more, but nan came."),
        ("training.epochs=true", "training.epochs must be of type int"),
        ("decoder.cell=transformer", "decoder.cell must be one of rnn, gru, lstm, but 'transformer' came."),
        ("training=3", "training must be a table of settings"),
        ("what is this", "An override must read section.name=value"),
    ],
)
def test_a_mistake_is_one_sentence(override: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, [override])
    assert sentence in str(caught.value)


def test_a_windows_path_is_taken_as_it_is_written() -> None:
    assert load_config(None, [r"encoder.weights=C:\Users\x\w.pth"]).encoder.weights == r"C:\Users\x\w.pth"


def test_a_recipe_that_is_missing_or_no_toml_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("epochs: 3")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(tmp_path / "bad.toml")
    (tmp_path / "marked.toml").write_text("[training]\nepochs = 3\n", encoding="utf-8-sig")
    assert load_config(tmp_path / "marked.toml").training.epochs == 3


def test_a_config_survives_plain_dictionaries() -> None:
    config = load_config(None, ["training.epochs=7"])
    assert from_dict(Config, to_dict(config)) == config
