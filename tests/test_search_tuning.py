"""Tuning the search: what it tries is what the search would say, what it tells is out of fold, what it stores stays."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict
from PIL import Image

from captioner import DataError
from captioner.config import SearchConfig
from captioner.data.collection import FEATURES
from captioner.data.features import CaptionedFeatures, RegionFeatures
from captioner.data.views import Views
from captioner.inference import search_tuning as module
from captioner.inference.search_tuning import Tuning, choose_out_of_fold, tune_search
from captioner.model.captioning import CaptioningModel
from captioner.model.checkpoint import load_checkpoint, save_checkpoint, store_search, write_beside
from captioner.text.metrics import CiderD
from pipelines.tune import tune
from tests.conftest import SENTENCES, tiny_model

PICTURES = 12

STORED = SearchConfig(beam_width=3, min_length=2, max_length=6)


@pytest.fixture(scope="module")
def speaker() -> CaptioningModel:
    """A network that has learnt nothing, but says other things of other pictures."""
    model = tiny_model()
    model.config = replace(model.config, search=STORED)
    return model


@pytest.fixture(scope="module")
def pictures(speaker: CaptioningModel) -> CaptionedFeatures:
    shape = (PICTURES, 1, speaker.encoder.regions, speaker.encoder.feature_size)
    features = 9 * np.random.default_rng(1).random(shape)
    captions = [[SENTENCES[number % 3], SENTENCES[(number + 1) % 3]] for number in range(PICTURES)]
    names = [f"{number}.jpg" for number in range(PICTURES)]
    return CaptionedFeatures(RegionFeatures([features.astype(np.float16)], Views()), captions, names)


def cider_d(model: CaptioningModel, pictures: CaptionedFeatures, search: SearchConfig) -> float:
    """Of what the search itself says."""
    features = torch.from_numpy(pictures.features.read(np.arange(PICTURES)))
    said = [model.vocabulary.decode(best[0].words) for best in model.search(features, search)]
    references = [[model.vocabulary.normalise(caption) for caption in row] for row in pictures.captions]
    return 100 * float(CiderD(references).score(said, references).mean())


def test_what_is_measured_is_what_the_search_itself_says(speaker: CaptioningModel, pictures: CaptionedFeatures) -> None:
    """Of each combination alone: out of fold there is then nothing to choose at its width."""
    figures = set()
    for width, exponent, consensus in itertools.product((1, 4), (0.0, 1.0), (0.0, 5.0)):
        tuning = tune_search(speaker, pictures, widths=[width], length_exponents=[exponent], consensus=[consensus])
        [of_width] = tuning.widths
        assert of_width.search == replace(STORED, beam_width=width, length_exponent=exponent, consensus=consensus)
        tried = of_width.out_of_fold
        assert tried.cider_d == pytest.approx(cider_d(speaker, pictures, of_width.search), abs=1e-9)
        assert tuning.stored.cider_d == pytest.approx(cider_d(speaker, pictures, STORED), abs=1e-9)
        assert tried.gain == pytest.approx(tried.cider_d - tuning.stored.cider_d, abs=1e-9)
        figures.add(round(tried.cider_d, 6))
    assert len(figures) > 3


@pytest.fixture(scope="module")
def tuning(speaker: CaptioningModel, pictures: CaptionedFeatures) -> Tuning:
    return tune_search(speaker, pictures, widths=[2, 4], length_exponents=[0.0, 1.0], consensus=[0.0, 5.0])


def test_the_best_settings_are_the_best_of_all_tried_and_stored(
    tuning: Tuning, speaker: CaptioningModel, pictures: CaptionedFeatures
) -> None:
    every = [
        cider_d(speaker, pictures, replace(STORED, beam_width=width, length_exponent=exponent, consensus=consensus))
        for width, exponent, consensus in itertools.product((2, 4), (0.0, 1.0), (0.0, 5.0))
    ]
    every.append(cider_d(speaker, pictures, STORED))
    assert cider_d(speaker, pictures, tuning.best) == pytest.approx(max(every))
    assert [of_width.search.beam_width for of_width in tuning.widths] == [2, 4]
    assert tuning.out_of_fold.cider_d <= max(every)
    assert tuning.stored.gain == tuning.stored.gain_error == 0


def test_stored_with_the_mirror_the_mean_look_is_searched(speaker: CaptioningModel) -> None:
    features = 9 * np.random.default_rng(2).random((PICTURES, 2, speaker.encoder.regions, speaker.encoder.feature_size))
    captions = [[SENTENCES[number % 3]] for number in range(PICTURES)]

    def shown(views: np.ndarray) -> CaptionedFeatures:
        stored = RegionFeatures([views.astype(np.float16)], Views(mirrored=views.shape[1] == 2))
        return CaptionedFeatures(stored, captions, [str(number) for number in range(PICTURES)])

    both = shown(features)
    looks = [torch.from_numpy(both.features.read(np.arange(PICTURES), view)) for view in (0, 1)]
    mean = shown(speaker.mean_look(*looks).unsqueeze(1).numpy())
    mirroring = tiny_model()
    mirroring.config = replace(mirroring.config, search=replace(STORED, mirror=True))
    tuned = [tune_search(each, given, widths=[2]) for each, given in ((mirroring, both), (speaker, mean))]
    assert tuned[0].stored.cider_d == pytest.approx(tuned[1].stored.cider_d, abs=0.5)
    assert tuned[0].stored.cider_d != pytest.approx(cider_d(speaker, both, STORED), abs=0.5)


def test_other_settings_stay_as_stored_but_groups_and_chance_do_not(
    speaker: CaptioningModel, pictures: CaptionedFeatures
) -> None:
    stored = replace(STORED, beam_width=4, groups=2, method="sample", no_repeat_ngram=2, max_length=5)
    other = tiny_model()
    other.config = replace(other.config, search=stored)
    [of_width] = tune_search(other, pictures, widths=[2], length_exponents=[0.5], consensus=[3.0]).widths
    assert of_width.search == replace(stored, beam_width=2, groups=1, method="beam", length_exponent=0.5, consensus=3.0)


def test_stored_settings_that_nothing_beats_stay_the_best_though_no_combination_has_them(
    pictures: CaptionedFeatures, tuning: Tuning
) -> None:
    other = tiny_model()
    other.config = replace(other.config, search=tuning.best)
    again = tune_search(other, pictures, widths=[1], length_exponents=[0.0], consensus=[0.0])
    assert again.best == tuning.best
    assert again.widths[0].search != tuning.best


@pytest.mark.parametrize(("gain", "error", "gains"), [(1.0, 0.9, True), (1.0, 1.1, False), (-1.0, 0.0, False)])
def test_a_gain_is_one_only_above_its_error(tuning: Tuning, gain: float, error: float, gains: bool) -> None:
    measured = replace(tuning.out_of_fold, gain=gain, gain_error=error)
    assert replace(tuning, out_of_fold=measured).gains is gains


def test_what_is_best_by_the_luck_of_one_fold_is_not_chosen_for_it() -> None:
    """The first choice shines on fold 0 alone: on all pictures it is the best, out of fold the worst."""
    fold = np.repeat(np.arange(5), 2)
    lucky, steady = np.where(fold == 0, 100.0, 0.0), np.full(10, 10.0)
    assert lucky.mean() > steady.mean()
    chosen = choose_out_of_fold(np.stack([lucky, steady]), fold)
    assert chosen.tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]


def test_of_equal_choices_the_first_is_taken() -> None:
    assert choose_out_of_fold(np.ones((3, 4)), np.array([0, 0, 1, 1])).tolist() == [0, 0, 0, 0]


def test_too_few_pictures_for_folds_are_a_mistake(speaker: CaptioningModel, pictures: CaptionedFeatures) -> None:
    with pytest.raises(DataError, match="10 pictures or more, but 9 came"):
        tune_search(speaker, pictures.select(np.arange(9)))


def test_progress_reaches_the_pictures_of_every_width(speaker: CaptioningModel, pictures: CaptionedFeatures) -> None:
    told: list[int] = []
    tune_search(speaker, pictures, widths=[2], length_exponents=[0.5], consensus=[0.0], done=told.append)
    assert told == [PICTURES, 2 * PICTURES]  # width 2, and the 3 that is stored


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve prepared pictures of one colour each."""
    rows = []
    for number in range(PICTURES):
        file = io.BytesIO()
        Image.new("RGB", (70, 70), (20 * number, 255 - 20 * number, 90)).save(file, "PNG")
        picture = {"bytes": file.getvalue(), "path": None}
        rows.append({"image_id": f"{number}.png", "image": picture, "captions": [SENTENCES[number % 3]] * 2})
    folder = tmp_path_factory.mktemp("data") / "prepared"
    DatasetDict({"validation": Dataset.from_list(rows, features=FEATURES)}).save_to_disk(str(folder))
    return folder


def finding(best: SearchConfig, *, gain: float) -> Callable[..., Tuning]:
    """`tune_search`, but for what is best and how much that gains, give or take 1."""

    def tuned(*given: Any, **named: Any) -> Tuning:
        found = tune_search(*given, **named)
        return replace(found, best=best, out_of_fold=replace(found.out_of_fold, gain=gain, gain_error=1.0))

    return tuned


@pytest.fixture
def folder(speaker: CaptioningModel, tmp_path: Path) -> Path:
    """With the model, and what was measured of it."""
    folder = tmp_path / "model"
    save_checkpoint(speaker, folder)
    for name in ("calibration.json", "faithfulness.json"):
        write_beside(folder, name, b"{}")
    (folder / "README.md").write_text("the card", encoding="utf-8")
    return folder


def test_the_command_stores_settings_that_gain_and_changes_nothing_else(
    speaker: CaptioningModel,
    folder: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "tune_search", finding(replace(STORED, beam_width=2), gain=1.1))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    tune(str(folder), data, width=[2])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    told = capsys.readouterr().out
    assert "12 pictures" in told
    assert "at width 2" in told
    tune(str(folder), data, width=[2], write=True)
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert after.keys() == before.keys() - {"calibration.json", "faithfulness.json"}
    told = capsys.readouterr().out
    assert "calibration.json and faithfulness.json held for the old ones" in told
    assert f"`captioner calibrate {folder} {data}`" in told
    assert f"`captioner explain --faithfulness {data} --model {folder} --store`" in told
    same = [name for name in after if after[name] == before[name]]
    assert sorted(same) == ["README.md", "model.safetensors", "vocabulary.json"]
    stored = load_checkpoint(folder).config
    assert stored.search.beam_width == 2
    assert replace(stored, search=speaker.config.search) == speaker.config
    assert json.loads(after["config.json"])["config"]["search"]["beam_width"] == 2


def test_the_command_sees_mirror_images_where_the_stored_search_does(
    speaker: CaptioningModel, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, seen = tmp_path / "mirroring", []
    save_checkpoint(speaker, folder)
    store_search(folder, replace(STORED, mirror=True))
    monkeypatch.setattr(
        module, "tune_search", lambda *given, **named: seen.append(given[1]) or tune_search(*given, **named)
    )
    tune(str(folder), data, width=[2])
    assert [pictures.features.views for pictures in seen] == [Views(mirrored=True)]


@pytest.mark.parametrize(("best", "gain"), [(replace(STORED, beam_width=2), 0.9), (STORED, 1.1)])
def test_the_command_writes_nothing_where_nothing_is_gained(
    best: SearchConfig,
    gain: float,
    folder: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "tune_search", finding(best, gain=gain))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    tune(str(folder), data, width=[2], write=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert "nothing was written" in capsys.readouterr().out


def test_a_split_that_is_not_there_is_a_mistake(data: Path) -> None:
    with pytest.raises(DataError, match="--split must be one of those"):
        tune("default", data, split="test")
