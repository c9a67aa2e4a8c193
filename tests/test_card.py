"""`captioner push`: a model gets a card that says what is known of it and what its owner must say, then it is sent."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from typer.testing import CliRunner, Result

from captioner.cli import app
from captioner.errors import CaptionerError, CheckpointError, DataError
from captioner.inference.card import measured_by_evaluation, measured_in_training, render_card
from captioner.model import hub
from captioner.model.checkpoint import checkpoint_fingerprint


@pytest.fixture
def best(model_folder: Path, tmp_path: Path) -> Path:
    """The best model of a run that was evaluated three times."""
    run = tmp_path / "run"
    shutil.copytree(model_folder, run / "best")
    evaluations = [{"cider_d": cider_d, "bleu_4": 20.04, "loss": 1.0} for cider_d in (40.0, 51.96, 50.0)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in evaluations))
    return run / "best"


def evaluation_of(folder: Path, out: Path, *, fingerprint: str | None = None) -> Path:
    """What `captioner evaluate` would write, as far as a card needs it."""
    out.mkdir()
    settings = {
        "model_fingerprint": fingerprint or checkpoint_fingerprint(folder),
        "split": "test",
        "data": "data/mine",
        "search": {"beam_width": 3},
    }
    scores = {"cider_d": 55.55, "bleu_4": 22.0, "rouge_l": 45.0, "novel": 0.9}
    (out / "scores.json").write_text(json.dumps({"scores": scores, "pictures": 1000, "settings": settings}))
    return out


def card_of(folder: Path, **given: object) -> ModelCard:
    settings = {"licence": None, "datasets": [], "measured": [], **given}
    return ModelCard(render_card(folder, "somebody/captions", **settings))  # type: ignore[arg-type]


def test_the_hub_reads_from_the_card_what_the_model_is(best: Path) -> None:
    data = card_of(best, licence="cc-by-4.0", datasets=["somebody/pictures"]).data
    assert (data.library_name, data.pipeline_tag, data.license) == ("captioner", "image-to-text", "cc-by-4.0")
    assert data.datasets == ["somebody/pictures"]


def test_a_card_says_what_its_owner_has_to_fill_in(best: Path) -> None:
    card = card_of(best)
    assert card.data.license == "unknown"
    assert card.text.count("TODO") == 2
    assert "TODO" not in card_of(best, licence="mit", datasets=["somebody/pictures"]).text


def test_a_card_tells_what_was_measured_and_where(best: Path, tmp_path: Path) -> None:
    run_itself = measured_in_training(best)
    evaluated = measured_by_evaluation(best, evaluation_of(best, tmp_path / "evaluated"))
    card = card_of(best, measured=[run_itself, evaluated])
    assert "| the development pictures of its training, greedy captions | 52.0 | 20.0 |  |" in card.text
    assert "| 1,000 test pictures of mine, beam of 3 | 55.5 | 22.0 | 45.0 |" in card.text
    results = [(result.metric_name, result.metric_value) for result in card.data.eval_results or ()]
    assert ("CIDEr-D", 52.0) in results
    assert len(results) == 5
    assert card.data.metrics == ["bleu", "cider", "rouge"]


def test_a_model_that_nobody_measured_says_so(model_folder: Path) -> None:
    assert measured_in_training(model_folder) is None
    assert "Not measured." in card_of(model_folder).text


def test_the_figures_of_another_model_are_refused(best: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is about another than the one"):
        measured_by_evaluation(best, evaluation_of(best, tmp_path / "evaluated", fingerprint="0" * 64))
    with pytest.raises(DataError, match="a folder that `captioner evaluate` wrote"):
        measured_by_evaluation(best, tmp_path)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, str, bool]]:
    calls: list[tuple[Path, str, bool]] = []

    def send(folder: Path, repository: str, *, public: bool) -> str:
        calls.append((folder, repository, public))
        return f"https://hub.example/{repository}"

    monkeypatch.setattr(hub, "send_model", send)
    return calls


def push(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["push", *map(str, arguments)], standalone_mode=False)


def test_a_model_without_a_card_gets_one_and_is_sent_with_it(best: Path, sent: list, tmp_path: Path) -> None:
    answer = push(best, "somebody/captions", "--license", "mit")
    assert sent == [(best, "somebody/captions", False)]
    assert 'Captioner.from_pretrained("somebody/captions")' in answer.stdout
    assert "complete what it calls TODO" in answer.stderr
    assert ModelCard.load(best / "README.md").data.license == "mit"


def test_a_card_that_is_there_is_left_alone(best: Path, sent: list) -> None:
    (best / "README.md").write_text("# Mine")
    push(best, "somebody/captions", "--public")
    assert (best / "README.md").read_text() == "# Mine"
    assert sent == [(best, "somebody/captions", True)]
    answer = push(best, "somebody/captions", "--license", "mit")
    assert "are for a card that is yet to be written" in str(answer.exception)
    assert len(sent) == 1


def test_a_damaged_model_gets_no_card(best: Path, sent: list) -> None:
    (best / "vocabulary.json").write_text("{}")
    assert isinstance(push(best, "somebody/captions").exception, CheckpointError)
    assert not (best / "README.md").exists()
    assert not sent


def test_a_wrong_name_is_told_before_anything_is_written(best: Path, sent: list) -> None:
    assert isinstance(push(best, "captions").exception, CaptionerError)
    assert not (best / "README.md").exists()
