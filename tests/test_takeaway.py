"""What a visitor takes along says the same as the page."""

import io
import json
import shlex
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from app.caption import answer, open_sample, pack, record
from app.desk import Desk
from app.limits import OWN, PUBLIC
from app.takeaway import alt_text, command, model_option, options
from app.wishes import Wishes
from captioner.cli import app
from captioner.config import Config, DecoderConfig, EncoderConfig, SearchConfig
from captioner.inference.caption import Candidate, Caption
from captioner.inference.captioner import Captioner
from captioner.model.captioning import build_model
from captioner.model.checkpoint import save_checkpoint
from captioner.text.steering import Steering
from captioner.text.vocabulary import Vocabulary

STORED = SearchConfig()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a model of random weights and six words, called `small model`, and a picture whose name needs quotes."""
    folder = tmp_path_factory.mktemp("taken along")
    torch.manual_seed(0)
    config = Config(
        encoder=EncoderConfig(name="tf_efficientnet_lite0", weights="random", size=96),
        decoder=DecoderConfig(hidden_size=16, embedding_size=16, attention_size=16),
    )
    vocabulary = Vocabulary.fit(["a brown dog runs through grass"], min_count=1)
    save_checkpoint(build_model(config, vocabulary), folder / "small model")
    Image.new("RGB", (120, 80), (30, 160, 40)).save(folder / "a meadow; it's green.png")
    return folder


@pytest.fixture(scope="module")
def desk(folder: Path) -> Desk:
    return Desk({"small model": Captioner.from_pretrained(folder / "small model")})


@pytest.mark.parametrize(
    "wishes",
    [
        Wishes(),
        Wishes(forbid="brown dog, it's", require="grass", beginning="Runs through", max_length=6, min_length=2),
        Wishes(beam_width=4, groups=2, diversity=1.5, length_exponent=0.0, no_repeat_ngram=2),
        Wishes(method="sample"),
        Wishes(method="sample", temperature=1.5, top_k=4, top_p=0.9, seed=11, groups=3),
    ],
)
def test_the_command_given_says_what_the_page_says(
    desk: Desk, folder: Path, wishes: Wishes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    [picture] = folder.glob("*.png")
    search = wishes.search(desk.captioner("small model").search)
    given = options(desk.captioner("small model").search, search, wishes.steering())
    line = command("caption", picture.name, str(folder / "small model"), given)
    program, *arguments = shlex.split(line)
    assert program == "captioner"
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    caption = record(desk, str(picture), "small model", wishes)["caption"]
    assert done.stdout == f"{picture.name}: {caption}\n"


def test_the_page_shows_that_command_and_the_one_that_explains(desk: Desk, folder: Path) -> None:
    [picture] = folder.glob("*.png")
    told = answer(desk, "small model", str(picture), Wishes(beginning="brown dog")).commands
    for subcommand in ("caption", "explain"):
        assert f"<code>captioner {subcommand} " in told
    assert "--beginning=brown dog" in told
    assert str(folder) not in told
    assert "--model=" not in told
    assert "to ask small model, add --model and the folder it lies in" in told
    to_oneself = answer(desk, "small model", str(picture), Wishes(), paths_told=True).commands
    assert f"--model={folder / 'small model'}" in to_oneself
    assert "add --model" not in to_oneself


def test_a_model_is_named_as_the_command_line_finds_it_and_by_its_folder_only_where_that_may_be_told() -> None:
    folder = Path("/models/mine")
    assert model_option("default", folder) == "default"
    assert model_option("anna/dogs", folder) == "anna/dogs"
    assert model_option("mine", folder) == "/models/mine"
    assert model_option("mine (2)", None) is None
    assert command("caption", "dog.jpg", None, []) == "captioner caption dog.jpg"
    assert (OWN.paths_told, PUBLIC.paths_told) == (True, False)


@pytest.mark.parametrize("forged", [None, {}, {"index": "x"}, {"index": 10**9}])
def test_a_forged_choice_is_a_sentence(forged: Any) -> None:
    with pytest.raises(gr.Error, match="no such photograph"):
        open_sample(gr.EventData(None, forged))


def test_the_explanation_taken_along_is_what_the_command_writes(
    desk: Desk, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    [picture] = folder.glob("*.png")
    packed = Path(pack(desk, ("small model", str(picture))))
    assert packed.name == f"{picture.stem}-explained.zip"
    with zipfile.ZipFile(io.BytesIO(packed.read_bytes())) as archive:
        page, told = (archive.read(f"explanation.{kind}").decode() for kind in ("html", "json"))
    line = command("explain", picture.name, "small model", [f"--out={tmp_path / 'out'}"])
    assert CliRunner().invoke(app, shlex.split(line)[1:]).exit_code == 0
    written = json.loads((tmp_path / "out" / picture.stem / "explanation.json").read_text())
    record = json.loads(told)
    assert record.keys() == written.keys()
    assert {name: record[name] for name in ("path", "model", "caption")} == {
        name: written[name] for name in ("path", "model", "caption")
    }
    assert len(record["beam_tree"]) == len(written["beam_tree"])
    assert "<!doctype html>" in page
    assert record["caption"] in page


def test_only_what_differs_from_what_is_stored_is_an_option() -> None:
    assert options(STORED, STORED, Steering()) == []
    assert options(STORED, replace(STORED, max_length=9, top_p=0.5), Steering()) == ["--max-length=9"]
    drawn = replace(STORED, method="sample", top_p=0.5, beam_width=2, consensus=5.0)
    assert options(STORED, drawn, Steering()) == ["--top-p=0.5", "--seed=0"]
    assert options(drawn, replace(drawn, method="beam"), Steering()) == ["--beam-width=2"]


def test_the_shipped_model_needs_no_option_and_no_name_is_taken_for_one() -> None:
    assert command("caption", "-dog.jpg", "default", []) == "captioner caption ./-dog.jpg"
    assert command("explain", "dog.jpg", "mine", []) == "captioner explain dog.jpg --model=mine"


def test_alt_text_says_no_picture_of_and_keeps_the_doubt() -> None:
    caption = Caption((Candidate("A picture of a dog.", -1.0, ()),))
    assert alt_text(caption).text == "A dog."
    assert alt_text(replace(caption, uncertain=True)).text == "Not sure: perhaps a dog."


def test_what_form_alone_cannot_mend_is_told() -> None:
    taken = alt_text(Caption((Candidate("A dog runs " + "and runs " * 20, -1.0, ()),)))
    assert taken.text.endswith("runs.")
    assert len(taken.findings) == 1
    assert "keep to 125" in taken.findings[0]
