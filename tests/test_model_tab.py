"""The Model tab: what it shows of which model, and that nothing of a stranger's card or vocabulary can harm."""

import json
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

import captioner.pretrained
from app.desk import Desk
from app.home import Home
from app.model import Shown, model_choice, read_card, show, show_words, vocabulary_of
from app.model_drawing import MOST_WORDS, draw_attention_figures, draw_card, draw_confidence_figures, draw_words
from app.models import Models, name_models
from captioner.errors import CheckpointError
from captioner.inference.captioner import Captioner
from captioner.inference.confidence import read_calibration
from captioner.model.captioning import CaptioningModel
from captioner.model.checkpoint import save_checkpoint, write_beside

PRETRAINED = Path(captioner.pretrained.__file__).parent


@pytest.fixture
def installed(model: CaptioningModel, tmp_path: Path) -> dict[str, Path]:
    """Two models called the same, in different folders, and one that a training run kept."""
    folders = [tmp_path / "a" / "dogs", tmp_path / "b" / "dogs", tmp_path / "runs" / "mine" / "best"]
    for folder in folders:
        save_checkpoint(model, folder)
    return name_models([str(folder) for folder in folders], None)


# The installed models


def test_models_of_one_name_are_numbered_a_run_s_best_is_called_like_the_run_and_no_name_is_a_path(
    installed: dict[str, Path],
) -> None:
    assert list(installed) == ["dogs", "dogs (2)", "mine"]


def test_the_shipped_model_is_there_when_none_is_called_and_one_s_own_come_after_it(
    model: CaptioningModel, tmp_path: Path
) -> None:
    home = Home(tmp_path)
    assert name_models([], None) == {"default": PRETRAINED.resolve()}
    save_checkpoint(model, home.new_model("garden"))
    assert list(name_models([], home)) == ["default", "garden"]
    assert list(name_models(["default", "default"], home)) == ["default", "garden"]
    other = tmp_path / "elsewhere" / "default"
    save_checkpoint(model, other)
    assert list(name_models([str(other)], None)) == ["default (2)"]  # commands take `default` for the shipped one
    like_it = tmp_path / PRETRAINED.name
    save_checkpoint(model, like_it)
    assert list(name_models([str(like_it), str(PRETRAINED)], None)) == [PRETRAINED.name, f"{PRETRAINED.name} (2)"]


def test_only_the_first_model_is_loaded_at_once(installed: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(Models, "_load", lambda _, name: loaded.append(name))
    models = Models(installed)
    assert loaded == ["dogs"]
    assert list(models) == ["dogs", "dogs (2)", "mine"]
    assert models["mine"] is models["mine"]
    assert loaded == ["dogs", "mine"]


def test_a_model_that_went_bad_is_a_sentence_without_its_folder(
    installed: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    models = Models(installed)
    (installed["mine"] / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"^mine must be a sound model") as raised:
        models["mine"]
    assert str(installed["mine"]) not in str(raised.value)
    assert str(installed["mine"]) in capsys.readouterr().out
    assert models["dogs"].name.startswith("dogs@")


def test_a_choice_knows_what_was_installed_after_the_page_was_built(model: CaptioningModel) -> None:
    with Desk({"first": Captioner(model)}) as desk:
        choice = model_choice(desk)
        with pytest.raises(gr.Error, match="must be one of first"):
            choice.preprocess("second")
        desk.install("second", Captioner(model))
        assert choice.preprocess("second") == "second"


# What is shown


def test_everything_that_is_shown_is_that_of_the_chosen_model(
    model: CaptioningModel, installed: dict[str, Path]
) -> None:
    (installed["mine"] / "README.md").write_text("# Mine\n\nOf my garden.")
    with Desk(Models(installed)) as desk:
        shown, other = show(desk, "mine", "chil"), show(desk, "dogs", "")
        assert show_words(desk, "mine", "chil") == shown.words
        assert show_words(desk, "nobody's", "") == ""
        assert show(desk, "nobody's", "") == Shown(show(desk, "nobody's", "").identity)
    assert "<h2>mine" in shown.identity
    assert "Of my garden." in shown.card
    assert "children" in shown.words
    assert "bike" not in shown.words
    assert "no calibration" in shown.figures
    assert "<h2>dogs" in other.identity
    assert "without a card" in other.card
    assert "bike" in other.words


def test_the_figures_are_those_that_are_stored_with_the_model() -> None:
    calibration = read_calibration(PRETRAINED, feature_size=1280)
    assert calibration is not None
    figures = draw_confidence_figures(calibration.measured)
    levels = calibration.measured["levels"]
    for level in ("low", "medium", "high"):
        assert f"<td>{levels[level]['good']:.0%}</td>" in figures
    assert f"<td>{calibration.measured['words']['calibration_error']:.3f}</td>" in figures


@pytest.mark.parametrize("measured", [{}, {"levels": 3}, {"levels": {}, "words": {}, "captions": {}, "pictures": "x"}])
def test_figures_of_another_shape_are_none(measured: dict[str, Any]) -> None:
    assert "No figures are stored" in draw_confidence_figures(measured)


BINS = [{"cases": 20, "said": 0.1, "came": 0.15}, {"cases": 19, "said": 0.6, "came": 0.5}]


def test_a_diagram_has_a_dot_for_each_bin_where_said_and_came_meet_and_a_table_tells_how_many_there_are() -> None:
    calibration = read_calibration(PRETRAINED, feature_size=1280)
    assert calibration is not None
    measured = calibration.measured
    binned = measured | {"words": measured["words"] | {"bins": BINS}, "captions": measured["captions"] | {"bins": BINS}}
    html = draw_confidence_figures(binned)
    assert html.count("<svg") == 2
    assert html.count('cx="30.0" cy="255.0"') == 2
    assert html.count("<tr><td>60%</td><td>50%</td><td>19</td></tr>") == 2
    assert "up to 20 words or 20 captions" in html


def test_a_calibration_from_before_there_were_bins_has_figures_and_no_diagram() -> None:
    calibration = read_calibration(PRETRAINED, feature_size=1280)
    assert calibration is not None
    without = {
        name: {key: value for key, value in of.items() if key != "bins"} if name in ("words", "captions") else of
        for name, of in calibration.measured.items()
    }
    html = draw_confidence_figures(without)
    assert "<svg" not in html
    assert "the bins are not stored" in html
    assert f"{calibration.measured['words']['calibration_error']:.3f}" in html


@pytest.mark.parametrize("bins", [3, "ab", [{"cases": 0, "said": 0.1, "came": 0.1}], [{"said": float("nan")}], [None]])
def test_a_stranger_s_bins_of_another_shape_draw_nothing(bins: Any) -> None:
    calibration = read_calibration(PRETRAINED, feature_size=1280)
    assert calibration is not None
    words = calibration.measured["words"] | {"bins": bins}
    assert "No figures are stored" in draw_confidence_figures(calibration.measured | {"words": words})


FALLS = {
    "content_words": 976,
    "pictures": 200,
    "regions_deleted": 12,
    "regions": 49,
    "attended_fall": {"mean": 0.38, "low": 0.33, "high": 0.43},
    "random_fall": {"mean": 0.02, "low": 0.01, "high": 0.03},
    "attended_hurts_more": {"mean": 0.705, "low": 0.68, "high": 0.73},
}


def test_the_figures_of_attention_are_those_that_are_stored_with_the_model(installed: dict[str, Path]) -> None:
    write_beside(installed["mine"], "faithfulness.json", json.dumps(FALLS).encode())
    assert "explain --faithfulness DATA --store" in draw_attention_figures(None)
    with Desk(Models({"mine": installed["mine"]})) as desk:
        told = show(desk, "mine", "").attention
    assert "<td>0.38 <small>(0.33 – 0.43)</small></td>" in told
    assert "the 12 of 49 it looked at most" in told
    assert "976 content words on 200 pictures" in told
    assert "70.5% of the words" in told


@pytest.mark.parametrize("measured", [{}, FALLS | {"attended_fall": 3}, FALLS | {"random_fall": {"mean": "<script>"}}])
def test_figures_of_attention_of_another_shape_are_none(measured: dict[str, Any]) -> None:
    assert "No figures of its attention" in draw_attention_figures(measured)


def test_figures_of_attention_that_were_changed_are_a_sentence(installed: dict[str, Path]) -> None:
    write_beside(installed["dogs"], "faithfulness.json", b"3")
    with Desk(Models(installed)) as desk:
        assert "<code>captioner explain --faithfulness</code> stores" in show(desk, "dogs", "").identity


def test_thousands_of_words_are_cut_and_said_to_be_more() -> None:
    counts = {f"word{number}": 9000 - number for number in range(5000)}
    html = draw_words(counts, "")
    assert html.count("<li>") == MOST_WORDS
    assert "5,000 words" in html
    assert "and 4,800 more" in html
    assert draw_words(counts, " WORD4999 ").count("<li>") == 1
    assert "No word" in draw_words(counts, "gryphon")


def test_a_card_is_read_without_its_front_matter_and_below_the_page_s_own_headings() -> None:
    html = draw_card("---\nlicense: other\n---\n\n# Title\n\n## Part\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    assert "license" not in html
    assert "<h3>Title</h3>" in html
    assert "<h4>Part</h4>" in html
    assert "<td>1</td>" in html


@pytest.mark.parametrize(
    "card",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "![p](https://tracker.example/x.png)",
        "![p][1]\n\n[1]: https://tracker.example/x.png",
        "[x](javascript:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        '<https://tracker.example/"onmouseover=alert(1)>',
        "# a\n---\n<iframe src='https://tracker.example'>",
        "---\n<script>alert(1)</script>",
    ],
)
def test_a_stranger_s_card_runs_nothing_and_fetches_nothing(card: str) -> None:
    html = draw_card(card)
    for tag in ("<script", "<img", "<iframe", 'href="javascript', 'href="data', '"onmouseover', "<style"):
        assert tag not in html


def test_a_stranger_s_words_cannot_become_html() -> None:
    html = draw_words({"<script>": 3}, "") + draw_words({}, "<script>")
    assert "<script>" not in html


def test_a_card_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert read_card(None) is None
    assert read_card(tmp_path) is None
    (tmp_path / "README.md").write_bytes(b"\xff\xfe caf\xe9")
    assert "caf" in (read_card(tmp_path) or "")


# For programs


def test_a_program_reads_a_vocabulary(model: CaptioningModel) -> None:
    with Desk({"m": Captioner(model)}) as desk:
        vocabulary = vocabulary_of(desk)
        counts = model.vocabulary.counts
        assert vocabulary(limit=1) == {"known": len(counts), "found": len(counts), "words": [["a", counts["a"]]]}
        assert vocabulary("Chil")["words"] == [["children", 1]]
        assert vocabulary(limit=-3)["words"] == []
        with pytest.raises(gr.Error, match="must be one of m"):
            vocabulary(model="other")
