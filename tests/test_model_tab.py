"""The Model tab: what it shows of which model, and that nothing of a stranger's card or vocabulary can harm."""

from pathlib import Path
from typing import Any

import gradio as gr
import pytest

import captioner.pretrained
from app.desk import Desk
from app.home import Home
from app.model import Shown, model_choice, read_card, show, vocabulary_of
from app.model_drawing import MOST_WORDS, draw_card, draw_confidence_figures, draw_words
from app.models import Models, name_models
from captioner.errors import CheckpointError
from captioner.inference.captioner import Captioner
from captioner.inference.confidence import read_calibration
from captioner.model.captioning import CaptioningModel
from captioner.model.checkpoint import save_checkpoint

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


@pytest.mark.parametrize("stored", ["none", "of another shape", "those of the shipped model"])
def test_where_the_figures_of_attention_stand_is_said_whatever_is_stored(stored: str) -> None:
    calibration = read_calibration(PRETRAINED, feature_size=1280)
    assert calibration is not None
    figures = draw_confidence_figures(
        {"none": None, "of another shape": {}, "those of the shipped model": calibration.measured}[stored]
    )
    assert "its card tells the figures" in figures
    assert figures.count("captioner explain --faithfulness") == 1


def test_the_card_of_the_shipped_model_tells_the_figures_of_attention() -> None:
    assert "captioner explain --faithfulness" in draw_card(read_card(PRETRAINED))


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
