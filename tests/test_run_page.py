"""The page of a run: its curves, what was said of some pictures after so many epochs, its figures and settings."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from captioner.config import SearchConfig
from captioner.data.collection import FEATURES
from captioner.errors import DataError
from captioner.inference.run_page import Run, follow_run, read_run, render, show_examples
from captioner.model.checkpoint import load_checkpoint
from captioner.training.development import example_pictures
from captioner.training.events import Evaluated
from pipelines import report, run
from tests.conftest import SENTENCES
from tests.test_evaluation import Page
from tests.training import model_to_train, some_pictures, train

FIRST = Evaluated(
    epoch=1.0,
    step=6,
    loss=3.25,
    cider_d=46.7,
    bleu_4=0.0,
    words_per_second=1234.0,
    seconds=90.0,
    skipped=2,
    best=True,
    examples={"0.jpg": "A dog."},
)
RECIPE = {"training": {"epochs": 3, "learning_rate": 0.01}}


@pytest.fixture(scope="module")
def development() -> datasets.Dataset:
    """Six pictures named as those of `tests.training`."""
    images = [Image.new("RGB", (64, 48), (40 * number, 90, 0)) for number in range(6)]
    rows = {
        "image_id": [f"{number}.jpg" for number in range(6)],
        "image": images,
        "captions": [[SENTENCES[number % 3]] for number in range(6)],
    }
    return datasets.Dataset.from_dict(rows, features=FEATURES)


@pytest.fixture(scope="module")
def folder(development: datasets.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three epochs, and the page that belongs to them."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    train(model_to_train(), folder)
    follow_run(folder, show_examples(development))
    return folder


def test_a_few_pictures_at_equal_distances_are_the_examples() -> None:
    assert example_pictures(3) == [0, 1, 2]
    assert example_pictures(80) == [0, 10, 20, 30, 40, 50, 60, 70]


def test_what_is_kept_is_what_the_model_says(folder: Path) -> None:
    evaluations = read_run(folder).evaluations
    assert [evaluated.epoch for evaluated in evaluations] == [1, 2, 3]
    best = load_checkpoint(folder / "best")
    pictures = some_pictures(best, 6, 1)
    features = torch.from_numpy(pictures.features.read(np.arange(6)))
    said = [caption.words for [caption] in best.search(features, SearchConfig(beam_width=1, min_length=0))]
    sentences = [best.vocabulary.detokenise(best.vocabulary.decode(words)) for words in said]
    [examples] = [evaluated.examples for evaluated in evaluations if evaluated.best][-1:]
    assert examples == dict(zip(pictures.names, sentences, strict=True))


def test_the_page_shows_every_evaluation_example_setting_and_version(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    page = Page(text)
    told = read_run(folder)
    assert page.tags.count("polyline") == 3
    assert page.tags.count("circle") == 9
    assert page.tags.count("img") == 6
    for evaluated in told.evaluations:
        assert f"{evaluated.cider_d:.1f}" in page.text
        assert all(caption in page.text for caption in evaluated.examples.values())
    for expected in (
        "The run mine",
        "training.learning_rate",
        "0.01",
        "torch",
        told.environment["torch"],
        SENTENCES[0],
    ):
        assert expected in page.text


def test_the_page_fetches_nothing_and_escapes_every_text() -> None:
    evil = "<script>alert(1)</script> \"' onerror=x"
    example = {"image_id": "0.jpg", "references": [evil], "picture": "data:image/jpeg;base64,/9j/"}
    evaluated = replace(FIRST, examples={"0.jpg": evil})
    text = render(Run({evil: evil}, {evil: evil}, [evaluated], [example]), title=evil)
    page = Page(text)
    assert not {"script", "iframe", "object", "embed"} & set(page.tags)
    assert "onerror" not in [name for name, _ in page.attributes]
    assert "//" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", text), "no address of any host"


def test_an_older_model_before_training_has_no_loss_and_no_speed() -> None:
    before = replace(FIRST, epoch=0.0, step=0, loss=None, words_per_second=None)
    page = Page(render(Run(RECIPE, {}, [before], []), title="A run"))
    assert page.tags.count("polyline") == 2, "no curve of the loss"
    assert "–" in page.text


def test_a_self_critical_run_shows_its_reward_where_others_show_their_loss() -> None:
    run = Run(RECIPE, {}, [replace(FIRST, loss=None), replace(FIRST, loss=None, reward=41.2, step=12)], [])
    text = Page(render(run, title="t")).text
    assert "Reward of drawn captions" in text
    assert "41.2" in text
    assert "loss" not in text


def test_of_a_long_run_few_captions_are_shown_and_the_best_is_among_them() -> None:
    evaluations = [
        replace(FIRST, epoch=float(epoch), best=epoch in (1, 8), examples={"0.jpg": f"Caption {epoch}."})
        for epoch in range(1, 31)
    ]
    example = {"image_id": "0.jpg", "references": ["a dog"], "picture": "data:,"}
    text = render(Run(RECIPE, {}, evaluations, [example]), title="A run")
    shown = [int(number) for number in re.findall(r"Caption (\d+)\.", text)]
    assert shown == [1, 7, 8, 13, 18, 24, 30]
    assert re.findall(r'<p class="best"><span>8</span>', text)
    assert "The best is that after epoch 8" in " ".join(Page(text).text.split())


def test_before_the_first_evaluation_there_is_a_page_too() -> None:
    assert "Nothing has been evaluated yet." in Page(render(Run(RECIPE, {}, [], []), title="A run")).text


def test_the_command_makes_the_page_again_even_while_a_line_is_written(monkeypatch, capsys, folder: Path) -> None:
    page, metrics = folder / "report.html", folder / "metrics.jsonl"
    before, lines = page.read_bytes(), metrics.read_text()
    page.unlink()
    metrics.write_text(lines + '{"epoch": 4.0, "ste')
    assert program(monkeypatch, folder) == 0
    assert capsys.readouterr().out == f"Look at {page}.\n"
    assert page.read_bytes() == before
    metrics.write_text(lines)


def test_a_folder_that_is_no_run_is_one_sentence(monkeypatch, capsys, tmp_path: Path) -> None:
    for metrics in (None, "no json\n", json.dumps({"epoch": 1}) + "\n"):
        if metrics is not None:
            (tmp_path / "metrics.jsonl").write_text(metrics)
            (tmp_path / "recipe.json").write_text("{}")
            (tmp_path / "environment.json").write_text("{}")
        assert program(monkeypatch, tmp_path) == 2
        error = capsys.readouterr().err
        assert "must be as `captioner train` writes it" in error
        assert error.count("\n") == 1
    with pytest.raises(DataError):
        follow_run(tmp_path, [])


def program(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> object:
    """The exit code of the command."""
    monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        run(report.report)
    return stopped.value.code
