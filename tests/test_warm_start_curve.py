"""The curve over the number of one's own pictures: from an older model, and from nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from captioner.errors import ConfigError, DataError
from captioner.model.captioning import build_model
from captioner.model.checkpoint import load_checkpoint, save_checkpoint
from captioner.text.vocabulary import Vocabulary
from pipelines.prepare import prepare
from pipelines.warm_start import study
from tests.conftest import tiny_model

RECIPE = "[vocabulary]\nmin_count = 1\n[training]\nepochs = 1\nmin_steps = 2\nevaluations = 1\nlearning_rate = 1e-3\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with drawings that are prepared, an older model that knows two words of them, and a recipe."""
    monkeypatch.chdir(tmp_path)
    prepare("shapes", out=tmp_path / "data", train=60, validation=8, test=1, size=64)
    old = build_model(tiny_model().config, Vocabulary.fit(["a circle"], min_count=1))
    save_checkpoint(old, tmp_path / "old")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def draw_curve(here: Path, **changed: str) -> dict[str, float]:
    options = {"about": ".*", "reword": "a=one", "pictures": "10,4", **changed}
    study(
        here / "recipe.toml",
        data=here / "data",
        out=here / "out",
        start=str(here / "old"),
        older=None,
        set=[],
        nothing=here / "recipe.toml",
        **options,
    )
    figures: dict[str, float] = json.loads((here / "out" / "figures.json").read_text())
    return figures


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*")
def test_each_number_of_pictures_is_learnt_from_the_older_model_and_from_nothing(here: Path) -> None:
    figures = draw_curve(here)
    numbers = [f"{number} pictures, from {start}" for number in (4, 10) for start in ("the older model", "nothing")]
    assert list(figures) == ["before", *numbers]
    warm, fresh = (
        load_checkpoint(here / "out" / f"from-{start}-4" / "best") for start in ("the-older-model", "nothing")
    )
    assert "one" in fresh.vocabulary
    assert "a" not in fresh.vocabulary
    assert {"circle", "one"} <= set(warm.vocabulary.words)
    # What is done is not done again.
    weights = here / "out" / "from-nothing-10" / "best" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    assert draw_curve(here) == figures
    assert weights.stat().st_mtime_ns == before


def test_fewer_pictures_than_the_curve_needs_are_told(here: Path) -> None:
    with pytest.raises(DataError, match="11 pictures and 50 to choose by are needed, but 60 are about"):
        draw_curve(here, pictures="4,11")


def test_a_recipe_that_would_change_the_cnn_is_refused(here: Path) -> None:
    (here / "recipe.toml").write_text(RECIPE + "tuned_blocks = 1\n")
    with pytest.raises(ConfigError, match=r"compares decoders alone.*training\.tuned_blocks"):
        draw_curve(here)
