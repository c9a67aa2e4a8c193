"""What an explanation tells: words, rivals, gates, the beam tree, its page and drawings, and its faithfulness."""

from __future__ import annotations

import json
import math
import shutil
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict
from PIL import Image
from torch import Tensor, nn

from captioner.config import Config, DecoderConfig, SearchConfig
from captioner.data.batches import pad
from captioner.data.collection import FEATURES
from captioner.data.preprocessing import Preprocessing
from captioner.errors import ConfigError, DataError
from captioner.inference.caption import Candidate, Caption
from captioner.inference.captioner import Captioner
from captioner.inference.drawing import draw_attention, draw_gates, draw_ledger
from captioner.inference.explanation import END_TEXT, ExplainedWord, Explanation
from captioner.inference.explanation_page import render_explanation
from captioner.inference.faithfulness import (
    attention_faithfulness,
    delete_regions,
    log_probabilities,
    read_faithfulness,
)
from captioner.model.captioning import CaptioningModel
from captioner.model.decoder import build_decoder
from captioner.model.encoder import Encoder
from captioner.search.fate import Fate
from captioner.text.steering import Steering
from captioner.text.vocabulary import END, Vocabulary
from captioner.training.noise import Noise
from captioner.training.objectives import cross_entropy
from pipelines import explain as pipeline
from pipelines import run
from tests.conftest import tiny_model

EVERY_KIND = [
    ("show_and_tell", "lstm"),
    ("attend", "lstm"),
    ("attend", "gru"),
    ("attend", "rnn"),
    ("top_down", "lstm"),
]


@pytest.fixture(scope="module")
def tiny() -> Captioner:
    return Captioner(tiny_model(), name="tiny")


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def explanation(tiny: Captioner, picture: Image.Image) -> Explanation:
    return tiny.explain(picture)


class Explained(NamedTuple):
    kind: str
    cell: str
    explanation: Explanation


@pytest.fixture(scope="module", params=EVERY_KIND, ids="-".join)
def explained(request: pytest.FixtureRequest, picture: Image.Image) -> Explained:
    kind, cell = request.param
    captioner = Captioner(tiny_model(kind=kind, cell=cell, sentinel=False))
    return Explained(kind, cell, captioner.explain(picture))


# --- the words --------------------------------------------------------------------------------------------


def test_a_words_rivals_are_the_likeliest_others_best_first(
    tiny: Captioner, picture: Image.Image, explanation: Explanation
) -> None:
    words = tiny.model.vocabulary.words
    said = [words.index(word.text) for word in explanation.words]
    trace = tiny.model.trace(tiny.features(picture), said)
    for time, (word, index) in enumerate(zip(explanation.said, [*said, END], strict=True)):
        order = [words[other] for other in trace.distributions[time].argsort(descending=True) if other != index]
        assert [other.text for other in word.alternatives] == order[:5]
        likely = [other.probability for other in word.alternatives]
        assert likely == sorted(likely, reverse=True)
        assert word.probability + sum(likely) <= 1 + 1e-6


def test_the_decision_to_end_is_explained_too(explanation: Explanation) -> None:
    assert explanation.end is not None
    assert explanation.end.text == END_TEXT
    assert len(explanation.said) == len(explanation.words) + 1


def test_the_probabilities_multiply_to_that_of_the_caption(
    tiny: Captioner, picture: Image.Image, explanation: Explanation
) -> None:
    [best, *_] = tiny.caption([picture])[0].candidates
    assert explanation.text == best.text
    assert explanation.log_probability == pytest.approx(best.log_probability, abs=1e-4)


def test_gates_are_summed_up_over_the_units(tiny: Captioner, picture: Image.Image, explanation: Explanation) -> None:
    said = [tiny.model.vocabulary.words.index(word.text) for word in explanation.words]
    trace = tiny.model.trace(tiny.features(picture), said)
    for word, gates in zip(explanation.said, trace.gates, strict=True):
        assert word.gates is not None
        for name, units in gates._asdict().items():
            told = getattr(word.gates, name)
            assert told.mean == pytest.approx(float(np.mean(units.numpy())), abs=1e-6)
            assert told.spread == pytest.approx(float(np.std(units.numpy())), abs=1e-6)
            quantiles = np.quantile(units.numpy(), [0.1, 0.5, 0.9])
            assert [told.low, told.median, told.high] == pytest.approx(list(quantiles), abs=1e-6)


def test_every_architecture_can_be_explained_and_written_as_json(explained: Explained) -> None:
    kind, cell, explanation = explained
    record = json.loads(json.dumps(explanation.as_json(), allow_nan=False))
    assert record["caption"] == explanation.text
    assert len(record["words"]) == len(explanation.words)
    assert (record["words"][0]["attention"] is None) == (kind == "show_and_tell")
    assert (record["memory_ledger"] is None) == (cell == "rnn")
    gates = record["words"][0]["gates"]
    assert [name for name, gate in gates.items() if gate is None] == {
        "lstm": [],
        "gru": ["output"],
        "rnn": ["forget", "input", "output"],
    }[cell]


# --- the beam tree ----------------------------------------------------------------------------------------


def test_the_tree_leads_to_the_caption(explanation: Explanation) -> None:
    assert explanation.tree is not None
    finished = [branch for branch in explanation.tree.branches if branch.fate is Fate.BEST]
    assert [list(branch.words) for branch in sorted(finished, key=lambda branch: -branch.score)] == [
        list(candidate.words) for candidate in explanation.caption.candidates
    ]
    best = max(finished, key=lambda branch: branch.score)
    assert best.words == tuple(word.text for word in explanation.words)
    assert best.log_probability == pytest.approx(explanation.log_probability, abs=1e-4)
    assert explanation.tree.chosen >= {0, best.number}
    assert len(explanation.tree.chosen) == len(explanation.words) + 2


def test_every_branch_says_its_parents_words_and_one_more(explanation: Explanation) -> None:
    assert explanation.tree is not None
    root, *branches = explanation.tree.branches
    assert root.words == ()
    assert {branch.fate for branch in branches} >= {Fate.KEPT, Fate.OUTSCORED}
    for branch in branches:
        assert branch.parent is not None
        parent = explanation.tree.branches[branch.parent]
        assert branch.words == (parent.words if branch.text == END_TEXT else (*parent.words, branch.text))
        assert branch in explanation.tree.children(parent.number)


def test_any_branch_can_be_forced_and_the_rest_decoded_again(
    tiny: Captioner, picture: Image.Image, explanation: Explanation
) -> None:
    assert explanation.tree is not None
    assert explanation.tree.branches[0].beginning is None
    assert tiny.explain(picture, steering=Steering(beginning=None)).text == explanation.text
    dropped = [branch for branch in explanation.tree.branches if branch.fate is Fate.OUTSCORED]
    for branch in dropped[:: max(1, len(dropped) // 5)]:
        forced = tiny.explain(picture, steering=Steering(beginning=branch.beginning))
        assert tuple(word.text for word in forced.words)[: len(branch.words)] == branch.words


def test_greedy_search_and_sampling_weigh_no_tree(tiny: Captioner, picture: Image.Image) -> None:
    for search in (replace(tiny.search, beam_width=1), replace(tiny.search, method="sample")):
        explanation = tiny.explain(picture, search=search)
        assert explanation.tree is None
        assert explanation.text == tiny.caption([picture], candidates=1, search=search)[0].text
        assert explanation.as_json()["beam_tree"] is None


# --- the page and the drawings ----------------------------------------------------------------------------


class Page(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_stands_alone(explained: Explained, picture: Image.Image) -> None:
    _, cell, explanation = explained
    html = render_explanation(explanation, picture, name="dog.jpg", model="tiny")
    page = Page(html)
    assert "script" not in page.tags
    assert "https:" not in html
    assert "http:" not in html
    assert all((value or "").startswith("data:") for name, value in page.attributes if name in ("src", "href"))
    assert any(name == "content" and "default-src 'none'" in (value or "") for name, value in page.attributes)
    assert page.attributes.count(("type", "radio")) == len(explanation.said)
    assert ("A plain RNN has no memory ledger" in page.text) == (cell == "rnn")


def test_the_page_tells_words_rivals_memory_and_why_hypotheses_were_dropped(
    explanation: Explanation, picture: Image.Image
) -> None:
    text = Page(render_explanation(explanation, picture, name="dog.jpg", model="tiny")).text
    assert explanation.text in text
    for word in explanation.words:
        assert word.text in text
        assert all(other.text in text for other in word.alternatives[:3] if other.text != END_TEXT)
    assert explanation.ledger is not None
    assert f"{100 * explanation.ledger.shares[0, 0]:.0f} % of the memory" in " ".join(text.split())
    assert str(Fate.OUTSCORED) in text
    assert str(Fate.TOO_SHORT) in text


def test_words_of_a_strange_model_and_names_of_strange_files_cannot_become_html(picture: Image.Image) -> None:
    evil = "<script>alert(1)</script>"
    word = ExplainedWord(evil, 0.5, None, 0.0)
    html = render_explanation(
        Explanation(Caption((Candidate(evil, -1.0, (evil,)),)), (word,)), picture, name=evil, model=evil
    )
    assert "script" not in Page(html).tags


def test_drawings_show_every_word(explained: Explained, picture: Image.Image) -> None:
    explanation = explained.explanation
    drawings = [draw_attention(picture, explanation), draw_gates(explanation)]
    if explanation.ledger is not None:
        drawings.append(draw_ledger(explanation.ledger, explanation))
    shorter = replace(explanation, words=explanation.words[:1])
    for drawing in drawings:
        assert drawing.mode == "RGB"
    assert draw_gates(explanation).width > draw_gates(shorter).width
    assert draw_attention(picture, explanation).height > draw_attention(picture, shorter).height


# --- faithfulness -----------------------------------------------------------------------------------------

COLOURS = ("red", "green", "blue", "yellow")


def lights(count: int, seed: int) -> tuple[Tensor, list[int]]:
    """Pictures (count, 3, 32, 32) of 4 x 4 squares of random red and green; one, with blue in it, is the light.

    The light is one of four colours, and nothing but its own square tells which.
    """
    generator = torch.Generator().manual_seed(seed)
    squares = torch.randint(0, 256, (count, 3, 16), generator=generator)
    squares[:, 2] = 0
    colours = torch.randint(4, (count,), generator=generator)
    places = torch.randint(16, (count,), generator=generator)
    squares[torch.arange(count), :, places] = (
        255 * torch.stack([colours % 2, colours // 2, torch.ones(count)], 1).long()
    )
    pixels = squares.view(count, 3, 4, 4).repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    return pixels.byte(), colours.tolist()


@pytest.fixture(scope="module")
def watcher() -> Captioner:
    """A captioner that has learnt to tell the colour of the light, for which it must look at it."""
    torch.manual_seed(0)
    config = Config(
        decoder=DecoderConfig(hidden_size=32, embedding_size=32, attention_size=32, dropout=0.0, sentinel=False),
        search=SearchConfig(beam_width=2, min_length=1, max_length=5),
    )
    vocabulary = Vocabulary.fit([f"a {colour} light" for colour in COLOURS], min_count=1)
    encoder = Encoder(nn.AvgPool2d(8), Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
    decoder = build_decoder(config.decoder, feature_size=3, vocabulary_size=len(vocabulary))
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    for step in range(150):
        pixels, colours = lights(32, seed=step)
        words = pad([[vocabulary.encode(f"a {COLOURS[colour]} light")] for colour in colours])
        loss = cross_entropy(decoder, encoder(pixels), words, label_smoothing=0.0, own_words=0.0, noise=Noise(step))
        optimizer.zero_grad()
        (loss.total / loss.words).backward()
        optimizer.step()
    return Captioner(CaptioningModel(encoder, decoder, vocabulary, config), name="watcher")


def arrays(count: int) -> list[np.ndarray]:
    pixels, _ = lights(count, seed=1_000_000)
    return [picture.permute(1, 2, 0).numpy() for picture in pixels]


def test_words_fall_when_what_they_looked_at_is_deleted_and_not_when_random_regions_are(watcher: Captioner) -> None:
    measured = attention_faithfulness(watcher, arrays(24), regions_deleted=1)
    assert measured.pictures == 24
    colours = [word for word in measured.words if word.word in COLOURS]
    assert len(colours) == 24
    # It knew the colour, and without the light it can only guess among four.
    assert np.mean([word.log_probability for word in colours]) > -0.1
    assert np.mean([word.attended_fall for word in colours]) > 1
    assert np.mean([word.attended_fall > word.random_fall for word in colours]) > 0.9
    assert measured.attended_fall.mean > measured.random_fall.mean
    assert measured.difference.low > 0
    assert measured.attended_hurts_more.mean > 0.5


def test_the_figures_are_means_inside_their_intervals_and_the_same_again(watcher: Captioner) -> None:
    measured = attention_faithfulness(watcher, arrays(6), regions_deleted=2, draws=3)
    assert measured.attended_fall.mean == pytest.approx(np.mean([word.attended_fall for word in measured.words]))
    for estimate in (measured.attended_fall, measured.random_fall, measured.difference, measured.attended_hurts_more):
        assert estimate.low <= estimate.mean <= estimate.high
    assert measured == attention_faithfulness(watcher, arrays(6), regions_deleted=2, draws=3)
    record = json.loads(json.dumps(measured.as_json(), allow_nan=False))
    assert record["content_words"] == len(measured.words)
    assert record["regions_deleted"] == 2


def test_it_looks_as_the_search_it_is_given(watcher: Captioner, monkeypatch: pytest.MonkeyPatch) -> None:
    mirrored, looked, look = replace(watcher.search, mirror=True), [], CaptioningModel.look
    monkeypatch.setattr(
        CaptioningModel, "look", lambda self, pixels, mirror: looked.append(mirror) or look(self, pixels, mirror=mirror)
    )
    attention_faithfulness(watcher, arrays(2), regions_deleted=1, search=mirrored)
    assert looked == [True, True]


def test_function_words_are_not_asked_about_and_broken_pictures_are_counted(watcher: Captioner) -> None:
    measured = attention_faithfulness(watcher, [*arrays(2), b"not a picture"])
    assert {word.word for word in measured.words} <= {*COLOURS, "light"}
    assert measured.failed == 1
    assert measured.pictures == 2


def test_a_deleted_region_becomes_the_mean_of_those_that_stay() -> None:
    features = torch.tensor([[1.0], [3.0], [100.0]])
    assert delete_regions(features, np.array([2])).flatten().tolist() == [1, 3, 2]


def test_the_whole_picture_gives_the_probabilities_of_the_trace(tiny: Captioner, picture: Image.Image) -> None:
    features, words = tiny.features(picture), tuple(tiny.model.vocabulary.encode("a brown dog runs"))
    together = log_probabilities(tiny.model, torch.stack([features, features]), words)
    expected = tiny.model.trace(features, words).log_probabilities[:-1]
    torch.testing.assert_close(together, expected.expand(2, -1))


def test_faithfulness_of_nothing_is_one_sentence(watcher: Captioner, picture: Image.Image) -> None:
    with pytest.raises(ConfigError, match="has none"):
        attention_faithfulness(Captioner(tiny_model(kind="show_and_tell")), [picture])
    with pytest.raises(ConfigError, match="1 to 15 can be deleted"):
        attention_faithfulness(watcher, [picture], regions_deleted=16)
    with pytest.raises(DataError, match="no picture gave any"):
        attention_faithfulness(watcher, [b"not a picture"])


# --- the command ------------------------------------------------------------------------------------------


def program(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of the command."""
    monkeypatch.setattr(sys, "argv", ["explain", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        run(pipeline.explain)
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def test_every_picture_gets_a_folder_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model_folder: Path,
    pictures: list[Path],
    tmp_path: Path,
) -> None:
    twin = tmp_path / "0.png"
    twin.write_bytes(pictures[3].read_bytes())
    out = tmp_path / "out"
    assert program(monkeypatch, *pictures[:2], twin, "--model", model_folder, "--out", out) == 0
    assert sorted(path.name for path in out.iterdir()) == ["0", "0-2", "1", "explanations.jsonl"]
    for folder in ("0", "0-2", "1"):
        files = sorted(path.name for path in (out / folder).iterdir())
        assert files == ["attention.png", "explanation.html", "explanation.json", "gates.png", "ledger.png"]
    record = json.loads((out / "0-2" / "explanation.json").read_text())
    assert record["path"] == str(twin)
    told = capsys.readouterr()
    assert f"{twin}: {record['caption']}" in told.out
    index = [json.loads(line) for line in (out / "explanations.jsonl").read_text().splitlines()]
    assert [line["folder"] for line in index] == ["0", "1", "0-2"]


def test_a_broken_picture_is_a_sentence_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model_folder: Path,
    pictures: list[Path],
    tmp_path: Path,
) -> None:
    pictures[0].write_bytes(b"not a picture")
    arguments = ("--model", model_folder, "--out", tmp_path / "out")
    assert program(monkeypatch, *pictures[:2], *arguments) == 3
    told = capsys.readouterr()
    assert "0.png must be" in told.err.replace("'", "")
    assert "Traceback" not in told.err
    first, second = [json.loads(line) for line in (tmp_path / "out" / "explanations.jsonl").read_text().splitlines()]
    assert "must be" in first["error"]
    assert second["folder"] == "1"
    assert program(monkeypatch, pictures[0], *arguments) == 3


def test_a_branch_that_was_dropped_can_be_forced(
    monkeypatch: pytest.MonkeyPatch, model_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    arguments = (pictures[0], "--model", model_folder, "--out", tmp_path / "out")
    told = tmp_path / "out" / "0" / "explanation.json"
    assert program(monkeypatch, *arguments) == 0
    tree = json.loads(told.read_text())["beam_tree"]
    dropped = next(branch for branch in tree if branch["fate"] == "outscored" and branch["beginning"].count(" ") == 2)
    assert program(monkeypatch, *arguments, "--beginning", dropped["beginning"]) == 0
    assert json.loads(told.read_text())["caption"].lower().startswith(dropped["beginning"])


def test_the_sentence_explained_can_be_steered(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model_folder: Path,
    pictures: list[Path],
    tmp_path: Path,
) -> None:
    arguments = (pictures[0], "--model", model_folder, "--out", tmp_path / "out")
    rules = ("--require", "red bike", "--forbid", "dog", "--forbid", "gryphon", "--max-length", 5, "--beam-width", 4)
    assert program(monkeypatch, *arguments, *rules, "--groups", 2, "--mirror") == 0
    record = json.loads((tmp_path / "out" / "0" / "explanation.json").read_text())
    words = [word["text"] for word in record["words"]]
    assert "red bike" in " ".join(words)
    assert "dog" not in words
    assert len(words) <= 5
    assert "no need to forbid 'gryphon'" in capsys.readouterr().err
    assert program(monkeypatch, *arguments, "--seed", 3, "--temperature", 2) == 0
    assert json.loads((tmp_path / "out" / "0" / "explanation.json").read_text())["beam_tree"] is None


def test_a_picture_without_a_caption_does_not_end_the_run(
    monkeypatch: pytest.MonkeyPatch, model_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    def explain(captioner: Captioner, image: object, **given: object) -> Explanation:
        if str(image).endswith("0.png"):
            raise ConfigError("No caption obeys the search's rules.")
        return original(captioner, image, **given)

    original = Captioner.explain
    monkeypatch.setattr(Captioner, "explain", explain)
    assert program(monkeypatch, *pictures[:2], "--model", model_folder, "--out", tmp_path / "out") == 3
    lines = (tmp_path / "out" / "explanations.jsonl").read_text().splitlines()
    assert [json.loads(line)["error"] for line in lines] == ["No caption obeys the search's rules.", None]


def test_rules_no_caption_can_obey_cost_no_explanation_already_written(
    monkeypatch: pytest.MonkeyPatch, model_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    arguments = (pictures[0], "--model", model_folder, "--out", tmp_path / "out")
    assert program(monkeypatch, *arguments) == 0
    before = (tmp_path / "out" / "explanations.jsonl").read_text()
    assert program(monkeypatch, *arguments, "--beginning", "a man", "--max-length", 1) == 2
    assert (tmp_path / "out" / "explanations.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "There must be either pictures"),
        (["{picture}", "--beginning", "zebra"], "must say 'zebra'"),
        (["{picture}", "--require", "dog", "--forbid", "dog"], "cannot obey both"),
        (["{picture}", "--require", "a brown dog runs", "--max-length", "3"], "takes at least 4 words"),
        (["{picture}", "--seed", "1", "--groups", "2"], "either drawn at random"),
        (["--faithfulness", "{foreign}", "--require", "dog"], "measured on free captions"),
        (["{picture}", "--out", "{foreign}"], "holds other things"),
        (["--faithfulness", "{foreign}"], "must hold dataset_dict.json"),
        (["{picture}", "--faithfulness", "{foreign}"], "There must be either pictures"),
        (["{picture}", "--store"], "Only what --faithfulness DATA measures"),
        (["--faithfulness", "{foreign}", "--store", "--beam-width", "1"], "holds for its own search"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model_folder: Path,
    pictures: list[Path],
    tmp_path: Path,
) -> None:
    given = [argument.format(picture=pictures[0], foreign=pictures[0].parent) for argument in arguments]
    out = [] if "--out" in given else ["--out", tmp_path / "out"]
    assert program(monkeypatch, *given, "--model", model_folder, *out) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1


def test_faithfulness_is_measured_on_a_collection(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model_folder: Path,
    pictures: list[Path],
    tmp_path: Path,
) -> None:
    rows = [
        {"image_id": path.stem, "image": {"bytes": path.read_bytes(), "path": None}, "captions": ["a dog"]}
        for path in pictures
    ]
    collection = DatasetDict(validation=Dataset.from_list(rows, features=FEATURES))
    collection.save_to_disk(str(tmp_path / "data"))
    out = tmp_path / "out"
    arguments = ("--faithfulness", tmp_path / "data", "--limit", 3, "--model", model_folder, "--out", out)
    assert program(monkeypatch, *arguments) == 0
    record = json.loads((out / "faithfulness.json").read_text())
    assert 0 < record["pictures"] <= 3
    assert record["settings"]["limit"] == 3
    assert math.isfinite(record["attended_fall"]["mean"])
    assert "drawn at random" in capsys.readouterr().out
    assert program(monkeypatch, *arguments, "--split", "test") == 2


def test_what_was_measured_of_attention_is_kept_with_the_model_on_demand(
    monkeypatch: pytest.MonkeyPatch, model_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    own = Path(shutil.copytree(model_folder, tmp_path / "own"))
    rows = [{"image_id": "0", "image": {"bytes": pictures[0].read_bytes(), "path": None}, "captions": ["a dog"]}]
    DatasetDict(validation=Dataset.from_list(rows, features=FEATURES)).save_to_disk(str(tmp_path / "data"))
    arguments = ("--faithfulness", tmp_path / "data", "--model", own, "--out", tmp_path / "out")
    assert program(monkeypatch, *arguments) == 0
    assert read_faithfulness(own) is None
    assert program(monkeypatch, *arguments, "--store") == 0
    told = json.loads((tmp_path / "out" / "faithfulness.json").read_text())
    # Where the collection lies is nobody's business where the model goes.
    assert read_faithfulness(own) == {name: figure for name, figure in told.items() if name != "settings"}
    Captioner.from_pretrained(own)
