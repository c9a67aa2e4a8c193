"""`evaluate`: its scores are those of the metrics, every picture is accounted for, its page stands alone."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from datasets import Dataset, DatasetDict

from captioner.config import Config, DecoderConfig, EncoderConfig, SearchConfig
from captioner.data.collection import FEATURES, build
from captioner.data.rows import Row
from captioner.data.sources import shapes_rows
from captioner.errors import DataError
from captioner.inference.captioner import Captioner
from captioner.inference.evaluation import Evaluation, Scored, evaluate
from captioner.inference.report import render
from captioner.model.captioning import build_model
from captioner.model.checkpoint import checkpoint_fingerprint, save_checkpoint
from captioner.text.faults import Faults
from captioner.text.metrics import CiderD, score
from captioner.text.vocabulary import Vocabulary, normalise
from pipelines import evaluate as pipeline
from pipelines import run

ROOT = Path(__file__).parent.parent
COUNTS = {"train": 8, "validation": 5}
ROWS = tuple(shapes_rows(COUNTS, size=32, seed=0))
VALIDATION = tuple(row for row in ROWS if row.split == "validation")
TRAINING_CAPTIONS = [caption for row in ROWS if row.split == "train" for caption in row.captions]
BROKEN = Row("validation", "broken.png", b"not a picture", ("A red circle.",))


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    """A captioner that has learnt nothing; what it says is always the same nonsense."""
    torch.manual_seed(0)
    config = Config(
        encoder=EncoderConfig(name="tf_efficientnet_lite0", weights="random", size=64),
        decoder=DecoderConfig(hidden_size=16, embedding_size=16, attention_size=16),
        search=SearchConfig(beam_width=2, max_length=8),
    )
    return Captioner(build_model(config, Vocabulary.fit(TRAINING_CAPTIONS, min_count=1)))


@pytest.fixture(scope="module")
def evaluation(captioner: Captioner) -> Evaluation:
    return evaluate(captioner, [*VALIDATION[:2], BROKEN, *VALIDATION[2:]], training_captions=TRAINING_CAPTIONS)


@pytest.fixture(scope="module")
def model(captioner: Captioner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "best"
    save_checkpoint(captioner.model, folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    build(ROWS, folder).collection.save_to_disk(str(folder / "prepared"))
    return folder / "prepared"


def program(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of the command."""
    monkeypatch.setattr(sys, "argv", ["evaluate", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        run(pipeline.evaluate)
    return stopped.value.code


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


# --- the library ------------------------------------------------------------------------------------------


def test_the_scores_are_those_of_the_metrics_on_the_captions_it_shows(evaluation):
    hypotheses = [normalise(scored.caption) for scored in evaluation.scored]
    references = [[normalise(text) for text in row.captions] for row in VALIDATION]
    assert evaluation.scores == score(hypotheses, references, [normalise(text) for text in TRAINING_CAPTIONS])
    each = [scored.cider_d for scored in evaluation.scored]
    assert each == pytest.approx(100 * CiderD(references).score(hypotheses, references))
    assert sum(each) / len(each) == pytest.approx(evaluation.scores.cider_d)


def test_the_captions_are_those_of_the_captioner(captioner, evaluation):
    captions = captioner.caption([row.image for row in VALIDATION])
    assert [scored.caption for scored in evaluation.scored] == [caption.text for caption in captions]


def test_a_broken_picture_is_told_and_not_scored(captioner, evaluation):
    assert [scored.image_id for scored in evaluation.scored] == [row.image_id for row in VALIDATION]
    [failed] = evaluation.failed
    assert failed.image_id == "broken.png"
    assert "must be a JPEG, PNG" in failed.error
    assert evaluation.scores == evaluate(captioner, VALIDATION, training_captions=TRAINING_CAPTIONS).scores


def test_every_picture_has_one_record_of_the_same_keys(evaluation):
    records = evaluation.as_records()
    assert [record["image_id"] for record in records] == ["broken.png", *(row.image_id for row in VALIDATION)]
    assert {tuple(sorted(record)) for record in records} == {("caption", "cider_d", "error", "image_id", "references")}
    assert [record["image_id"] for record in records if record["error"] is not None] == ["broken.png"]


@pytest.mark.parametrize(("rows", "told"), [([], "not empty"), ([BROKEN], "must be a JPEG")])
def test_nothing_to_score_is_a_sentence(captioner, rows, told):
    with pytest.raises(DataError, match=told) as caught:
        evaluate(captioner, rows)
    assert str(caught.value).endswith(".")


def test_pictures_are_taken_a_batch_at_a_time(captioner):
    taken = []
    ahead = []

    def rows():
        for row in VALIDATION:
            taken.append(row)
            yield row

    evaluate(captioner, rows(), batch_size=2, done=lambda count: ahead.append(len(taken) - count))
    assert ahead == [1, 0, 1, 0, 0]


def test_without_training_captions_novelty_is_not_known(captioner):
    assert evaluate(captioner, VALIDATION[:2]).scores.novel is None


def test_best_and_worst_never_share_a_picture(evaluation):
    assert [len(group) for group in evaluation.best_and_worst()] == [3, 2]
    best, worst = evaluation.best_and_worst(1)
    values = [scored.cider_d for scored in evaluation.scored]
    assert best[0].cider_d == max(values)
    assert worst[0].cider_d == min(values)
    assert best[0] is not worst[0]


# --- the page ---------------------------------------------------------------------------------------------


def page_of(evaluation: Evaluation, **changes: object) -> str:
    pictures = {row.image_id: row.image for row in ROWS}
    given = {"title": "A model", "settings": {"split": "validation"}, "picture": pictures.__getitem__}
    return render(evaluation, **(given | changes))


def test_the_page_fetches_nothing_and_runs_nothing(evaluation):
    text = page_of(evaluation)
    page = Page(text)
    assert "//" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", text), "no address of any host"
    assert not {"script", "iframe", "object", "embed"} & set(page.tags)
    sources = [value for name, value in page.attributes if name in ("src", "href")]
    assert page.tags.count("img") == 5
    assert all(source.startswith(("data:image/jpeg;base64,/9j/", "data:,")) for source in sources)
    assert "url(" not in text
    assert "@import" not in text


def test_the_page_escapes_every_text(evaluation):
    evil = "<script>alert(1)</script> \"' onerror=x"
    scored = Scored(evil, evil, (evil,), 10.0)
    failed = replace(evaluation.failed[0], image_id=evil, error=evil)
    text = page_of(
        replace(evaluation, scored=(scored,), failed=(failed,)),
        title=evil,
        settings={evil: evil},
        picture=lambda image_id: VALIDATION[0].image,
    )
    page = Page(text)
    assert "script" not in page.tags
    assert "onerror" not in [name for name, _ in page.attributes]
    assert ("alt", evil) in page.attributes
    # Title twice; caption, id, reference; id and error of the failed one; name and value of a setting.
    assert page.text.count(evil) == 9


def test_faults_are_told_beside_those_of_the_references(evaluation):
    faulty = replace(evaluation, faults=Faults(0.5, 0.0, 0.25, 0.125, 0.0))
    text = Page(page_of(faulty)).text
    for expected in ("Dangling end", "50.0%", "Unknown word", "Repeated word", "25.0%", "Repeated phrase", "12.5%"):
        assert expected in text
    assert f"{evaluation.reference_faults.repeated_phrase:.1%} of the references" in text
    assert evaluation.as_json()["reference_faults"]["dangling_end"] == 0.0


def test_the_page_tells_figures_normalisation_captions_and_failures(evaluation):
    text = Page(page_of(evaluation)).text
    for expected in ("CIDEr-D", "METEOR (NLTK)", "Unicode NFKC", "broken.png", "The best", "The worst"):
        assert expected in text
    assert f"{evaluation.scores.bleu_1:.1f}" in text
    assert all(scored.caption in text for scored in evaluation.scored)
    assert VALIDATION[0].captions[0] in text


# --- the command ------------------------------------------------------------------------------------------


def test_the_command_writes_scores_captions_and_a_page(monkeypatch, capsys, model, data, tmp_path):
    out = tmp_path / "out"
    assert program(monkeypatch, model, data, "--out", out, "--beam-width", 1, "--max-length", 3, "--mirror") == 0
    told = capsys.readouterr().out
    assert "CIDEr-D" in told
    assert "METEOR (NLTK)" in told
    assert sorted(file.name for file in out.iterdir()) == ["captions.jsonl", "report.html", "scores.json"]
    scores = json.loads((out / "scores.json").read_text())
    assert scores["settings"]["model_fingerprint"] == checkpoint_fingerprint(model)
    assert (
        scores["settings"]["search"] | {"beam_width": 1, "max_length": 3, "min_length": 3, "mirror": True}
        == (scores["settings"]["search"])
    )
    assert (scores["pictures"], scores["references"], scores["failed"]) == (5, 25, [])
    assert "NFKC" in scores["normalisation"]
    records = [json.loads(line) for line in (out / "captions.jsonl").read_text().splitlines()]
    assert all(len(normalise(record["caption"])) == 3 for record in records)
    again = score(
        [normalise(record["caption"]) for record in records],
        [[normalise(text) for text in record["references"]] for record in records],
    )
    assert scores["scores"]["cider_d"] == pytest.approx(again.cider_d, abs=1e-4)
    assert scores["scores"]["novel"] is not None


def test_a_second_run_replaces_the_first_and_a_limit_is_kept(monkeypatch, model, data, tmp_path):
    for limit in (3, 2, 99):
        assert program(monkeypatch, model, data, "--out", tmp_path / "out", "--limit", limit) == 0
        lines = (tmp_path / "out" / "captions.jsonl").read_text().splitlines()
        assert len(lines) == min(limit, 5)


def test_a_broken_picture_is_reported_and_the_exit_code_is_3(monkeypatch, capsys, model, tmp_path):
    rows = [
        {"image_id": row.image_id, "image": {"bytes": row.image, "path": None}, "captions": list(row.captions)}
        for row in (BROKEN, *VALIDATION)
    ]
    collection = DatasetDict({"validation": Dataset.from_list(rows, features=FEATURES)})
    collection.save_to_disk(str(tmp_path / "data"))
    assert program(monkeypatch, model, tmp_path / "data", "--out", tmp_path / "out") == 3
    assert "captioner: broken.png: the given bytes must be a JPEG" in capsys.readouterr().err
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert [failed["image_id"] for failed in scores["failed"]] == ["broken.png"]
    assert scores["pictures"] == 5
    assert scores["scores"]["novel"] is None, "there is no training split to compare with"


def test_a_split_that_does_not_exist_is_one_sentence_that_lists_the_others(monkeypatch, capsys, model, data, tmp_path):
    assert program(monkeypatch, model, data, "--split", "test", "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error == f"captioner: --split must be one of those in {data} (train, validation), not 'test'.\n"
    assert not (tmp_path / "out").exists()


def test_mistakes_are_sentences_and_other_things_are_left_alone(monkeypatch, capsys, model, data, tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    mistakes = {
        "holds other things": (model, data, "--out", tmp_path),
        "cannot be": (model, data, "--out", tmp_path / "letter.txt"),
        "manifest.json": (tmp_path, data, "--out", tmp_path / "out"),
        "finite": (model, data, "--out", tmp_path / "out", "--length-exponent", "inf"),
        "is not there": (model, tmp_path / "nothing", "--out", tmp_path / "out"),
    }
    for told, arguments in mistakes.items():
        assert program(monkeypatch, *arguments) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
        assert error.endswith(".\n")
    assert [file.name for file in tmp_path.iterdir()] == ["letter.txt"]
    assert (tmp_path / "letter.txt").read_text() == "mine"


def test_importing_the_command_loads_nothing_heavy():
    code = "import sys, pipelines.evaluate; print([m for m in ('torch', 'datasets', 'rich.table') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told == "[]\n"
