"""The command `train`: from nothing, from an older model, stopped and resumed; mistakes are sentences."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import ClassVar

import datasets
import numpy as np
import pytest
import typer
from PIL import Image

import captioner.pretrained
from captioner.data.collection import FEATURES
from captioner.errors import ConfigError, DataError, TrainingError
from captioner.model.checkpoint import load_checkpoint
from captioner.training.events import Event, StepDone
from captioner.training.processes import join_processes
from pipelines import STOPPED
from pipelines import train as module
from pipelines.train import train
from tests.conftest import SENTENCES

CARD = Path(captioner.pretrained.__file__).with_name("README.md").read_text()
RECIPE = Path(__file__).parent.parent / "configs" / "custom.toml"
QUICK = ["training.min_steps=4", "training.max_steps=4", "training.evaluations=2", "training.bf16=never"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared collection of eight pictures of noise, whose captions know a word that no model knew before."""
    folder = tmp_path_factory.mktemp("collection") / "mine"
    random = np.random.default_rng(0)

    def split(pictures: int) -> datasets.Dataset:
        images = [Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(pictures)]
        captions = [[SENTENCES[number % 3], "two zebras play in the snow"] for number in range(pictures)]
        names = [f"{number}.png" for number in range(pictures)]
        return datasets.Dataset.from_dict({"image_id": names, "image": images, "captions": captions}, features=FEATURES)

    datasets.DatasetDict({"train": split(6), "validation": split(2)}).save_to_disk(str(folder))
    return folder


def trained(data: Path, model: Path, out: Path, **options: object) -> None:
    train(**{"recipe": RECIPE, "data": data, "out": out, "start": str(model), "set": QUICK, **options})  # type: ignore[arg-type]


def test_where_captions_are_short_the_model_may_say_short_ones(
    data: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_checkpoint(model_folder).config.search.min_length == 4
    labels = tmp_path / "labels"
    collection = datasets.load_from_disk(str(data)).map(lambda row: {"captions": ["zebra", "a zebra"]})
    collection.save_to_disk(str(labels))
    trained(labels, model_folder, tmp_path / "run")
    assert load_checkpoint(tmp_path / "run" / "best").config.search.min_length == 1
    trained(labels, model_folder, tmp_path / "wished", set=[*QUICK, "search.min_length=3"])
    assert load_checkpoint(tmp_path / "wished" / "best").config.search.min_length == 3
    assert "Captions of 1 words are usual here: search.min_length is 1." in " ".join(capsys.readouterr().err.split())


def test_an_older_model_learns_new_words_from_a_few_pictures(
    data: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(data, model_folder, tmp_path / "run")
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in metrics] == [0, 2, 4]
    assert {"zebras", "dog"} <= set(load_checkpoint(tmp_path / "run" / "best").vocabulary.counts)
    told = " ".join(capsys.readouterr().err.split())
    assert "(2 of them new)" in told
    assert "before training" in told
    assert "captioner calibrate" in told


def tried() -> list[str]:
    """What the card of the shipped model says was tried in training it: settings of the first step's recipe."""
    [command] = re.findall(r"^`captioner train configs/flickr8k.toml .*`$", CARD, re.MULTILINE)
    shared = re.findall(r"--set (\S+)", command.strip("`"))
    changed = re.findall(r"^\| [^|]+ \| (?:`([^`]*)` )?\| [\d.]+ / [\d.]+ \|.*\|$", CARD, re.MULTILINE)
    assert len(changed) == 5, "the table is found"
    return [" ".join([*shared, row]).strip() for row in changed]


@pytest.mark.parametrize("settings", tried())
def test_what_the_card_says_was_tried_can_be_tried_again(data: Path, tmp_path: Path, settings: str) -> None:
    few = [*settings.split(), *QUICK, "vocabulary.min_count=1", "training.pictures_per_batch=3"]
    train(RECIPE.with_name("flickr8k.toml"), data=data, out=tmp_path / "run", set=few)
    assert load_checkpoint(tmp_path / "run" / "best").config.encoder.name == "tf_efficientnet_lite2"


def test_ctrl_c_ends_with_a_code_of_its_own_and_resume_goes_on(
    data: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(data, model_folder, tmp_path / "whole")

    def stop_at_the_first_step(event: Event, *_told: object) -> None:
        if isinstance(event, StepDone):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(module, "_show", stop_at_the_first_step)
    with pytest.raises(typer.Exit) as stopped:
        trained(data, model_folder, tmp_path / "stopped")
    assert stopped.value.exit_code == STOPPED == 75
    assert "go on with --resume" in " ".join(capsys.readouterr().err.split())
    monkeypatch.undo()
    with pytest.raises(TrainingError, match="go on with --resume"):
        trained(data, model_folder, tmp_path / "stopped")
    trained(data, model_folder, tmp_path / "stopped", resume=True)
    weights = [(tmp_path / run / "best" / "model.safetensors").read_bytes() for run in ("whole", "stopped")]
    assert weights[0] == weights[1]


def test_ctrl_c_while_pictures_are_looked_at_keeps_what_was_finished(
    data: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "learning_features", interrupted)
    with pytest.raises(typer.Exit) as stopped:
        trained(data, model_folder, tmp_path / "run")
    assert stopped.value.exit_code == STOPPED
    assert "goes on" in " ".join(capsys.readouterr().err.split())
    monkeypatch.undo()
    trained(data, model_folder, tmp_path / "run")


def test_a_run_is_followed_by_a_page_and_by_a_service_that_is_asked_for(
    data: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Trackio:
        told: ClassVar[list[int]] = []

        def init(self, **_settings: object) -> None: ...
        def finish(self) -> None: ...
        def log(self, _figures: dict[str, float], *, step: int) -> None:
            self.told.append(step)

    monkeypatch.setitem(sys.modules, "trackio", Trackio())  # type: ignore[arg-type]
    trained(data, model_folder, tmp_path / "run", track="trackio")
    assert Trackio.told == [0, 2, 4]
    page = (tmp_path / "run" / "report.html").read_text()
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert list(last["examples"]) == ["0.png", "1.png"]
    assert all(caption in page for caption in last["examples"].values())
    assert page.count("<img") == 2


def test_the_last_blocks_of_the_cnn_learn_in_a_second_step_from_features_of_their_own(
    data: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second step looks at the pictures again, for what only the blocks before the last ones make of them."""
    trained(data, model_folder, tmp_path / "first")
    before = set((data / "features").iterdir())
    trained(data, tmp_path / "first" / "best", tmp_path / "second", recipe=RECIPE.with_name("custom-cnn.toml"))
    assert "million of the CNN" in " ".join(capsys.readouterr().err.split())
    assert len(set((data / "features").iterdir()) - before) == 2
    old, new = (load_checkpoint(tmp_path / run / "best") for run in ("first", "second"))
    assert set(new.vocabulary.words) == set(old.vocabulary.words)
    assert new.config.encoder.weights == "tuned"


def test_a_recipe_of_another_shape_than_the_older_models_is_told(
    data: Path, model_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"decoder.cell must be that of the model to begin from, 'lstm'"):
        trained(data, model_folder, tmp_path / "run", set=["decoder.cell=gru"])
    assert not (tmp_path / "run").exists()


def test_a_folder_of_other_things_is_left_alone(data: Path, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(DataError, match="holds other things"):
        trained(data, model_folder, tmp_path)


def test_only_the_first_process_tells_a_mistake(
    data: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the second of two processes would find it: the recipe is wrong in each of them."""
    monkeypatch.setattr("captioner.training.processes.join_processes", lambda _device: join_processes("cpu"))
    with pytest.raises(ConfigError):
        trained(data, model_folder, tmp_path / "run", set=["training.epoch=3"])
    with monkeypatch.context() as second:
        second.setattr(os, "environ", {**os.environ, "RANK": "1"})
        with pytest.raises(typer.Exit) as quiet:
            trained(data, model_folder, tmp_path / "run", set=["training.epoch=3"])
    assert quiet.value.exit_code == 2
    assert capsys.readouterr().err == ""


def test_self_critical_training_needs_a_model_to_begin_from(
    data: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, few = RECIPE.with_name("flickr8k-self-critical.toml"), [*QUICK, "vocabulary.min_count=1"]
    with pytest.raises(ConfigError, match=r"must begin from a model .* --from"):
        trained(data, model_folder, tmp_path / "run", recipe=recipe, set=few, start=None)
    assert not (tmp_path / "run").exists()
    trained(data, model_folder, tmp_path / "run", recipe=recipe, set=few)
    told = " ".join(capsys.readouterr().err.split())
    assert "reward" in told
    assert "loss" not in told
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["loss"] is None
    assert last["reward"] > 0
    assert "Reward of drawn captions" in (tmp_path / "run" / "report.html").read_text()
