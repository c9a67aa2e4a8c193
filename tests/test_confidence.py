"""Confidence: measured as its definitions say, stored as it was fitted, and kept from what is no photograph."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from captioner.pipelines.calibrate import calibrate as calibrate_command
from captioner.pipelines.caption import caption as caption_command
from PIL import Image

import captioner.pretrained
from captioner.config import SearchConfig
from captioner.data.collection import build
from captioner.data.nonphotographs import KINDS
from captioner.data.samples import sample_pictures
from captioner.data.sources import shapes_rows
from captioner.errors import CheckpointError, ConfigError, DataError
from captioner.inference.calibration import calibrate, human_bar, right_words
from captioner.inference.caption import Candidate, Caption, level
from captioner.inference.captioner import Captioner
from captioner.inference.confidence import (
    CAPTION_SIGNS,
    FILE,
    WORD_SIGNS,
    Calibration,
    Signs,
    caption_signs,
    read_calibration,
    read_signs,
)
from captioner.inference.logistic import Logistic, fit_logistic
from captioner.inference.reliability import auroc, calibration_bins, calibration_error, measure, risks
from captioner.model.checkpoint import save_checkpoint, write_beside
from captioner.text.metrics import CiderD
from tests.conftest import tiny_model

SHIPPED = Path(captioner.pretrained.__file__).parent
needs_shipped = pytest.mark.skipif(not (SHIPPED / FILE).exists(), reason="the shipped model is not calibrated yet")


def calibration(*, threshold: float = -1.0, feature_size: int = 1280) -> Calibration:
    """One that has not been fitted to anything."""
    return Calibration(
        words=Logistic(0.5, np.linspace(-0.5, 0.5, len(WORD_SIGNS))),
        captions=Logistic(-0.25, np.linspace(0.1, 0.2, len(CAPTION_SIGNS))),
        photographs=Logistic(0.0, np.zeros(feature_size)),
        threshold=threshold,
        measured={"pictures": 3},
    )


def test_the_signs_of_a_caption_by_hand() -> None:
    """Two content words with odds of 3 to 1 and 1 to 1 of being right, and a function word, which claims nothing."""
    words = Logistic(0.0, np.array([1.0, *[0.0] * (len(WORD_SIGNS) - 1)]))
    of_words = np.zeros((3, len(WORD_SIGNS)))
    of_words[:, 0] = np.log(3), 5.0, 0.0
    signs = Signs(of_words, np.array([True, False, True]), -0.7, np.zeros(2))
    np.testing.assert_allclose(caption_signs(signs, words), [-0.7, (0.75 + 0.5) / 2, 3, np.log(0.75 * 0.5)])
    silent = Signs(of_words, np.zeros(3, dtype=bool), -0.7, np.zeros(2))
    np.testing.assert_allclose(caption_signs(silent, words), [-0.7, 0.0, 3, 0.0])


# Measuring


def test_calibration_error_by_hand() -> None:
    """Two bins: 0.15 said and 1 of 2 came, 0.85 said and 2 of 2 came: (0.35 + 0.15) / 2."""
    probabilities, right = np.array([0.9, 0.1, 0.8, 0.2]), np.array([True, False, True, True])
    assert calibration_error(probabilities, right, bins=2) == pytest.approx(0.25)
    assert [part.cases for part in calibration_bins(probabilities, right, bins=3)] == [2, 1, 1]


def test_true_probabilities_have_a_small_error_and_bold_ones_a_large_one() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.uniform(0, 1, 4000)
    right = rng.random(4000) < probabilities
    found = measure(probabilities, probabilities, right, np.arange(4000) // 20)
    assert found.calibration_error < 0.03
    assert found.calibration_error == pytest.approx(found.calibration_error_by_chance, abs=0.01)
    assert calibration_error(np.where(probabilities > 0.5, 0.99, 0.01), right) > 0.2


def test_auroc_by_hand_with_ties_counting_half() -> None:
    """Pairs of a right one (0.9, 0.5) and a wrong one (0.5, 0.1): three won, one tied."""
    assert auroc(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False])) == 3.5 / 4
    assert auroc(np.array([0.9, 0.5]), np.array([True, True])) == 0.5


def test_risk_coverage_by_hand_whatever_the_order_of_equal_scores() -> None:
    right = np.array([True, False, True, False])
    assert risks(np.array([4.0, 3, 2, 1]), right).tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    tied = risks(np.array([1.0, 1, 1, 1]), right)
    assert tied.tolist() == pytest.approx([0.5, 0.5, 0.5, 0.5])
    assert risks(np.array([1.0, 1, 1, 1]), right[::-1]).tolist() == tied.tolist()


def test_a_better_score_has_a_gain_whose_interval_lies_above_zero() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.uniform(0, 1, 600)
    right = rng.random(600) < probabilities
    found = measure(probabilities, rng.random(600), right, np.arange(600) // 3)
    assert 0 < found.gain.low < found.raw_risk_area - found.risk_area < found.gain.high
    assert found.best_risk_area < found.risk_area
    assert "risks" not in json.loads(json.dumps(found.as_json()))


# Fitting


def test_the_fit_finds_the_coefficients_the_data_came_from() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal([3, -1], [0.5, 20], (20_000, 2))
    truth = Logistic(-2.0, np.array([1.5, -0.05]))
    right = rng.random(20_000) < truth.probability(features)
    fitted = fit_logistic(features, right, penalty=1e-6)
    assert fitted.intercept == pytest.approx(-2.0, abs=0.25)
    assert fitted.weights == pytest.approx(truth.weights, rel=0.06)


def test_outcomes_of_one_kind_and_features_that_never_change_give_a_finite_fit() -> None:
    fitted = fit_logistic(np.ones((8, 2)), np.ones(8, dtype=bool), penalty=1e-3)
    assert fitted.weights.tolist() == [0, 0]
    assert fitted.probability(np.ones(2)) == pytest.approx(0.9, abs=1e-4)  # Platt's (8 + 1) / (8 + 2)


def test_in_a_balanced_fit_both_kinds_weigh_the_same() -> None:
    right = np.arange(100) < 10
    fitted = fit_logistic(np.zeros((100, 1)), right, penalty=1e-3, balanced=True)
    assert fitted.log_odds(np.zeros(1)) == pytest.approx(0, abs=0.2)
    assert fit_logistic(np.zeros((100, 1)), right, penalty=1e-3).log_odds(np.zeros(1)) < -2


def test_odds_beyond_what_numbers_hold_are_still_probabilities() -> None:
    assert Logistic(0.0, np.array([1.0])).probability(np.array([[-1e4], [0], [1e4]])).tolist() == [0, 0.5, 1]


# What is right


def test_a_word_is_right_when_its_stem_stands_in_a_reference() -> None:
    references = [["a", "dog", "is", "running"], ["two", "puppies"]]
    assert right_words(["dogs", "run", "puppy", "cat"], references).tolist() == [True, True, True, False]


def test_people_who_all_write_the_same_set_the_highest_bar() -> None:
    references = [[["a", "red", "ball"]] * 3, [["two", "green", "cars"]] * 3]
    assert human_bar(references) == pytest.approx(7.5)  # of a three-word caption no run of four words can match
    with pytest.raises(DataError, match="two captions"):
        human_bar([[["a", "dog"]], [["a", "cat"], ["cats"]]])


def test_the_score_against_all_references_is_the_mean_over_those_that_leave_one_out() -> None:
    """What makes the caption's score comparable with a person's, who has one reference fewer."""
    references = [
        [["a", "dog", "runs", "on", "grass"], ["a", "brown", "dog", "runs"], ["dog", "on", "green", "grass"]],
        [["a", "man", "rides"], ["a", "man", "on", "a", "bike"], ["someone", "rides", "a", "bike"]],
    ]
    caption = [["a", "dog", "on", "grass"], ["a", "man", "rides", "a", "bike"]]
    scorer = CiderD(references)
    without = [scorer.score(caption, [of[:out] + of[out + 1 :] for of in references]) for out in range(3)]
    assert np.mean(without, axis=0) == pytest.approx(scorer.score(caption, references))


@pytest.mark.parametrize(("confidence", "told"), [(0.0, "low"), (0.19, "low"), (0.2, "medium"), (0.5, "high")])
def test_confidence_in_words(confidence: float, told: str) -> None:
    assert level(confidence) == told


# Stored with the model


def test_what_is_stored_gives_identical_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    features, right = rng.normal(size=(60, len(WORD_SIGNS))), rng.random(60) < 0.5
    fitted = replace(calibration(), words=fit_logistic(features, right, penalty=1e-3).rounded())
    again = Calibration.from_json(fitted.to_json())
    assert again.to_json() == fitted.to_json()
    assert again.words.probability(features).tolist() == fitted.words.probability(features).tolist()


@pytest.mark.parametrize(
    "damage",
    [
        lambda stored: "not JSON",
        lambda stored: "[]",
        lambda stored: json.dumps(stored | {"format": 99}),
        lambda stored: json.dumps({name: value for name, value in stored.items() if name != "words"}),
        lambda stored: json.dumps(stored | {"captions": {"intercept": 0, "weights": {"luck": 1}}}),
        lambda stored: json.dumps(stored | {"words": {"intercept": "0", "weights": dict.fromkeys(WORD_SIGNS, 1)}}),
        lambda stored: json.dumps(stored | {"words": {"intercept": float("nan"), "weights": {}}}),
        lambda stored: json.dumps(stored | {"photographs": {"intercept": 0, "weights": [None], "threshold": 0}}),
        lambda stored: json.dumps(stored | {"measured": 3}),
    ],
)
def test_a_damaged_calibration_is_one_sentence(damage, model_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    write_beside(folder, FILE, damage(json.loads(calibration().to_json())).encode())
    with pytest.raises(CheckpointError, match=r"calibration\.json must hold what `captioner calibrate` writes"):
        Captioner.from_pretrained(folder)
    assert Captioner.from_pretrained(folder, calibrated=False).calibration is None


def test_a_calibration_that_was_changed_or_slipped_in_is_refused(model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    (folder / FILE).write_text(calibration().to_json())
    with pytest.raises(CheckpointError, match="does not match the SHA-256"):
        Captioner.from_pretrained(folder)
    write_beside(folder, FILE, calibration().to_json().encode())
    assert Captioner.from_pretrained(folder).calibration is not None
    (folder / FILE).unlink()
    with pytest.raises(CheckpointError, match="does not match the SHA-256"):
        Captioner.from_pretrained(folder)


def test_a_calibration_for_another_cnn_is_one_sentence(model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    write_beside(folder, FILE, calibration(feature_size=7).to_json().encode())
    with pytest.raises(CheckpointError, match="a CNN of 1280 features, but it is for one of 7"):
        read_calibration(folder, feature_size=1280)


def test_new_weights_leave_the_old_calibration_behind(model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    write_beside(folder, FILE, calibration().to_json().encode())
    save_checkpoint(tiny_model(), folder)
    assert not (folder / FILE).exists()
    assert Captioner.from_pretrained(folder).calibration is None


# In captions


def test_a_model_without_calibration_captions_without_confidence(model_folder: Path, pictures: list[Path]) -> None:
    caption = Captioner.from_pretrained(model_folder).caption(pictures[0])
    assert caption.hedged == caption.text
    assert (caption.confidence, caption.word_confidences, caption.uncertain, caption.level) == (None,) * 4


def test_confidence_changes_no_caption_and_does_not_depend_on_the_batch(pictures: list[Path]) -> None:
    plain, sure = Captioner(tiny_model()), Captioner(tiny_model(), calibration=calibration())
    together = list(sure.caption_each(pictures, batch_size=5))
    assert [caption.candidates for caption in together] == [c.candidates for c in plain.caption_each(pictures)]
    for caption, alone in zip(together, sure.caption_each(pictures, batch_size=1), strict=True):
        assert caption.confidence == pytest.approx(alone.confidence, abs=1e-5)
        assert caption.uncertain is False
        assert caption.word_confidences is not None
        assert len(caption.word_confidences) == len(caption.candidates[0].words)
        assert all(
            (each is None) == (word in {"a", "in", "the", "over"})
            for word, each in zip(caption.candidates[0].words, caption.word_confidences, strict=True)
        )


def test_one_candidate_is_told_as_surely_as_many(pictures: list[Path]) -> None:
    sure = Captioner(tiny_model(), calibration=calibration())
    assert sure.caption(pictures[0], candidates=1).confidence == pytest.approx(sure.caption(pictures[0]).confidence)


@pytest.mark.parametrize("kind", ["attend", "top_down", "show_and_tell"])
def test_the_signs_are_those_of_the_caption_that_was_said(kind: str) -> None:
    model = tiny_model(kind=kind)
    features = torch.rand(2, model.encoder.regions, model.encoder.feature_size)
    watch = model.watch()
    for place, [best, *_] in enumerate(model.search(features, model.config.search, watch=watch)):
        signs = read_signs(model.vocabulary, features[place], best.words, watch.choices(place, best.words))
        trace = model.trace(features[place], best.words)
        assert signs.log_probability * (len(best.words) + 1) == pytest.approx(best.log_probability, abs=1e-4)
        assert signs.words[:, 0] == pytest.approx(trace.log_probabilities[:-1].numpy(), abs=1e-5)
        assert signs.picture == pytest.approx(features[place].mean(dim=0).numpy(), abs=1e-6)
        looked_away = trace.weights[:-1, -1].numpy() if kind == "attend" else np.zeros(len(best.words))
        assert signs.words[:, 2] == pytest.approx(looked_away, abs=1e-5)
        probabilities = trace.distributions[:-1].exp().numpy()
        entropy = -np.where(probabilities > 0, probabilities * np.log(np.maximum(probabilities, 1e-30)), 0).sum(axis=1)
        assert signs.words[:, 1] == pytest.approx(entropy, abs=1e-4)


def test_what_looks_like_no_photograph_is_hedged_and_has_no_number(pictures: list[Path]) -> None:
    unsure = Captioner(tiny_model(), calibration=calibration(threshold=1.0))
    caption = unsure.caption(pictures[0])
    assert caption.uncertain is True
    assert (caption.confidence, caption.word_confidences, caption.level) == (None, None, "low")
    assert caption.text is not None
    assert caption.hedged == f"Not sure: perhaps {caption.text[0].lower()}{caption.text[1:]}"


def test_a_picture_that_cannot_be_read_is_neither_sure_nor_unsure() -> None:
    [caption] = Captioner(tiny_model(), calibration=calibration()).caption([b"broken"])
    assert (caption.confidence, caption.uncertain, caption.hedged, caption.level) == (None,) * 4


def test_the_hedge_stands_before_the_sentence() -> None:
    said = Candidate("A dog runs.", -3.0, ("a", "dog", "runs"))
    assert Caption((said,), uncertain=True).hedged == "Not sure: perhaps a dog runs."
    assert Caption((said,), uncertain=False, confidence=0.1).hedged == "A dog runs."


# The commands


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model that `captioner calibrate` was run on, and the report."""
    folder = tmp_path_factory.mktemp("calibrated")
    rows = shapes_rows({"validation": 40}, size=64, seed=0)
    build(rows, tmp_path_factory.mktemp("working")).collection.save_to_disk(str(folder / "data"))
    save_checkpoint(tiny_model(), folder / "model")
    calibrate_command(str(folder / "model"), folder / "data", out=folder / "report", drawings=48)
    return folder


def test_calibrating_writes_what_it_measured_beside_the_model_and_into_a_report(calibrated: Path) -> None:
    sure = Captioner.from_pretrained(calibrated / "model")
    assert sure.calibration is not None
    told = json.loads((calibrated / "report" / "calibration.json").read_text())
    assert told["settings"]["fingerprint"].startswith(sure.name.split("@")[1])
    assert {name: told[name] for name in sure.calibration.measured} == sure.calibration.measured
    assert [sum(part["cases"] for part in told[kind]["bins"]) for kind in ("words", "captions")] == [
        told["words"]["cases"],
        told["captions"]["cases"],
    ]
    assert set(told["photographs"]["kinds"]) == set(KINDS)
    assert told["photographs"]["false_alarms"] <= 0.025
    page = (calibrated / "report" / "calibration.html").read_text()
    assert page.count("<svg") == 4
    assert page.count('class="dot"') == 30
    assert "http" not in page.replace("http-equiv", "")


def test_calibrating_twice_gives_the_same_calibration(calibrated: Path, tmp_path: Path) -> None:
    before = (calibrated / "model" / FILE).read_bytes()
    calibrate_command(str(calibrated / "model"), calibrated / "data", out=tmp_path / "report", drawings=48)
    assert (calibrated / "model" / FILE).read_bytes() == before


def test_the_caption_command_tells_confidence_on_demand(
    calibrated: Path, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "captions.jsonl"
    caption_command(pictures[:1], model=calibrated / "model", out=out, word_confidence=True)
    [record] = map(json.loads, out.read_text().splitlines())
    assert [each["word"] for each in record["words"]] == record["caption"].lower().strip(".").split()
    capsys.readouterr()
    caption_command(pictures[:1], model=calibrated / "model", confidence=True, alt_text=True)
    told = capsys.readouterr().out.strip()
    assert told.endswith("(uncertain)") if record["uncertain"] else f", {record['confidence']:.2f})" in told
    assert told.startswith(f"{pictures[0]}: {'Not sure: perhaps ' if record['uncertain'] else ''}")


def test_the_caption_command_tells_what_speaks_against_alt_text(
    model_folder: Path,
    pictures: list[Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caption_command(pictures[:1], model=model_folder, alt_text=True)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("captioner.text.alt_text.LONGEST", 5)
    caption_command(pictures[:1], model=model_folder, alt_text=True)
    [finding] = capsys.readouterr().err.splitlines()
    assert finding.startswith(f"captioner: {pictures[0]} as alt text: It has ")


def test_confidence_of_a_model_that_has_none_is_one_sentence(model_folder: Path, pictures: list[Path]) -> None:
    with pytest.raises(ConfigError, match="captioner calibrate"):
        caption_command(pictures[:1], model=model_folder, confidence=True)


def test_too_few_pictures_are_one_sentence() -> None:
    with pytest.raises(DataError, match="20 pictures or more, but 3 came"):
        calibrate(Captioner(tiny_model()), [], [["a dog", "a cat"]] * 3)


@pytest.mark.parametrize(
    ("search", "says", "sentence"),
    [
        (SearchConfig(min_length=30, max_length=30, no_repeat_ngram=1), None, "none that obeys its rules"),
        (SearchConfig(min_length=1, max_length=4, no_repeat_ngram=0), "the", "the model says function words alone"),
    ],
)
def test_captions_that_tell_nothing_cannot_be_calibrated(search: SearchConfig, says: str | None, sentence: str) -> None:
    model = tiny_model()
    if says is not None:
        with torch.no_grad():
            model.decoder.output_bias[model.vocabulary.words.index(says)] = 100.0
    model.config = replace(model.config, search=search)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)
    with pytest.raises(DataError, match=sentence):
        calibrate(Captioner(model), pictures, [["a dog runs", "a cat sits"]] * 20, drawings=48)


# The shipped model


@needs_shipped
def test_the_shipped_model_is_unsure_of_pages_and_sure_of_photographs() -> None:
    captioner = Captioner.from_pretrained()
    rng = np.random.default_rng(99)
    pages = [Image.new("RGB", (640, 480), "white"), KINDS["text"](rng, 448), KINDS["chart"](rng, 448)]
    assert [caption.uncertain for caption in captioner.caption(pages)] == [True] * 3
    assert [caption.uncertain for caption in captioner.caption(sample_pictures())] == [False] * len(sample_pictures())


@needs_shipped
def test_the_shipped_models_figures_are_as_good_as_promised() -> None:
    measured = Captioner.from_pretrained().calibration.measured  # type: ignore[union-attr]
    assert measured["words"]["calibration_error"] <= 0.05
    assert measured["captions"]["calibration_error"] <= 0.05
    assert measured["words"]["risk_area"] < measured["words"]["raw_risk_area"]
    assert measured["photographs"]["auroc"] >= 0.95
    assert measured["photographs"]["false_alarms"] <= 0.02
