"""`compare`: two models on the same pictures, the figures of both and of the gain, and a gate for the one in use."""

from __future__ import annotations

import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captioner.config import SearchConfig
from captioner.data.collection import build
from captioner.data.rows import Row
from captioner.errors import DataError
from captioner.inference.captioner import Captioner
from captioner.inference.comparison import Comparison, compare
from captioner.inference.comparison_page import figures, in_a_sentence, refusal, render
from captioner.inference.describer import Describer
from captioner.inference.evaluation import evaluate
from captioner.model.captioning import CaptioningModel
from captioner.model.checkpoint import save_checkpoint
from captioner.model.decoder import build_decoder
from captioner.model.encoder import Encoder, build_encoder
from captioner.text.vocabulary import Vocabulary
from pipelines import compare as pipeline
from pipelines import run
from tests.conftest import tiny_model
from tests.test_evaluation import Page

DOG, MEN, SKY = "one dog runs fast", "two men sit down", "blue sky"


def picture(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


ROWS = tuple(
    Row("validation", f"{number}.png", picture(number), (caption,)) for number, caption in enumerate((DOG, DOG, MEN))
)
BROKEN = Row("validation", "broken.png", b"not a picture", (DOG,))


def always(sentence: str, encoder: Encoder) -> Captioner:
    """A captioner that says one sentence of every picture: its likeliest word, then the next, and no word twice."""
    words = sentence.split()
    search = SearchConfig(beam_width=1, min_length=len(words), max_length=len(words), no_repeat_ngram=1)
    config = replace(tiny_model().config, search=search)
    vocabulary = Vocabulary([(word, 1) for word in words])
    decoder = build_decoder(config.decoder, feature_size=encoder.feature_size, vocabulary_size=len(vocabulary))
    with torch.no_grad():
        decoder.output_bias[-len(words) :] = torch.arange(len(words), 0, -1) * 1000.0
    return Captioner(CaptioningModel(encoder, decoder, vocabulary, config))


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return tiny_model().encoder


@pytest.fixture(scope="module")
def comparison(encoder: Encoder) -> Comparison:
    """The old model is right about two pictures, the new one about the third."""
    return compare(always(DOG, encoder), always(MEN, encoder), [*ROWS[:1], BROKEN, *ROWS[1:]])


# --- the library ------------------------------------------------------------------------------------------


def test_a_model_is_no_better_and_no_worse_than_itself() -> None:
    captioner = Captioner(tiny_model())
    same = compare(captioner, captioner, ROWS, batch_size=2)
    assert same.changed == same.better == same.worse == []
    for change in same.changes.values():
        assert (change.gain, change.gain_interval) == (0, (0, 0))
    assert not any(same.is_worse(metric) for metric in same.changes)
    assert in_a_sentence(same) == "Not one of 3 captions changed."
    alone = evaluate(captioner, ROWS, batch_size=2)
    assert same.changes["cider_d"].old == pytest.approx(alone.scores.cider_d)
    assert same.changes["bleu_1"].new_interval == alone.intervals["bleu_1"]
    assert {(each.image_id, each.new) for each in same.pictures} == {(s.image_id, s.caption) for s in alone.scored}


def test_figures_and_pictures_are_those_worked_out_by_hand(comparison: Comparison) -> None:
    """A caption equal to the only reference has a CIDEr-D of 1000, one that shares no word with it of 0."""
    told = {each.image_id: (each.old, each.new, each.old_cider_d, each.new_cider_d) for each in comparison.pictures}
    assert told == {
        "0.png": ("One dog runs fast.", "Two men sit down.", pytest.approx(1000), 0),
        "1.png": ("One dog runs fast.", "Two men sit down.", pytest.approx(1000), 0),
        "2.png": ("One dog runs fast.", "Two men sit down.", 0, pytest.approx(1000)),
    }
    change = comparison.changes["cider_d"]
    assert (change.old, change.new, change.gain) == pytest.approx((2000 / 3, 1000 / 3, -1000 / 3))
    assert comparison.changes["bleu_4"].old == pytest.approx(200 / 3)
    # Three pictures all alike are drawn once in 9 (old right) and once in 27 (new right): both within 95 %.
    assert change.gain_interval == pytest.approx((-1000, 1000))
    assert [each.image_id for each in comparison.worse] == ["0.png", "1.png"]
    assert [each.image_id for each in comparison.better] == ["2.png"]
    assert in_a_sentence(comparison) == "3 of 3 captions changed: 1 score higher, 2 lower."


def test_a_model_is_worse_when_it_gains_less_than_asked(comparison: Comparison) -> None:
    assert comparison.is_worse("cider_d")
    assert not comparison.is_worse("cider_d", min_gain=-400)
    assert refusal(comparison, "cider_d", min_gain=0) == (
        "Refused: CIDEr-D must gain at least 0 but went from 666.67 to 333.33, by -333.33 (95 % interval -1000.0 to "
        "+1000.0). It may be chance: more pictures would tell."
    )


def test_a_surely_worse_model_is_not_excused_by_chance(encoder: Encoder) -> None:
    worse = compare(always(DOG, encoder), always(SKY, encoder), ROWS[:2])
    assert refusal(worse, "bleu_1", min_gain=0).endswith("by -100.00 (95 % interval -100.0 to -100.0).")
    assert {figure.label: figure.verdict for figure in figures(worse)}["BLEU-1"] == "worse"


def test_a_broken_picture_is_told_and_in_no_score(comparison: Comparison) -> None:
    [failed] = comparison.failed
    assert failed.image_id == "broken.png"
    assert len(comparison.pictures) == 3


def test_a_caption_that_is_not_found_counts_as_one_without_words(encoder: Encoder) -> None:
    """Two words, none twice, cannot make three."""
    mute = always("one dog", encoder)
    mute.search = replace(mute.search, min_length=3, max_length=3, beam_width=2)
    found = compare(always(DOG, encoder), mute, ROWS)
    assert {each.new for each in found.pictures} == {""}
    assert found.changes["bleu_1"].new == found.changes["cider_d"].new == 0
    assert not found.failed


def test_the_same_cnn_looks_once_and_another_looks_for_itself(encoder: Encoder, monkeypatch) -> None:
    looked = []
    look = Encoder.forward
    monkeypatch.setattr(Encoder, "forward", lambda self, pixels: looked.append(pixels.shape[-1]) or look(self, pixels))
    once = compare(always(DOG, encoder), always(MEN, encoder), ROWS)
    assert looked == [64]
    looked.clear()
    larger = build_encoder("tf_efficientnet_lite0", weights="random", size=96)
    twice = compare(always(DOG, encoder), always(MEN, larger), ROWS)
    assert looked == [64, 96]
    assert twice.changes == once.changes


def test_one_that_looks_at_mirror_images_too_looks_for_itself(encoder: Encoder, monkeypatch) -> None:
    plain, mirroring = always(DOG, encoder), always(DOG, encoder)
    mirroring.search = replace(mirroring.search, mirror=True)
    encoded = []
    encode = Describer.encode
    monkeypatch.setattr(
        Describer, "encode", lambda self, seen: encoded.append(self.search.mirror) or encode(self, seen)
    )
    compare(plain, mirroring, ROWS)
    assert encoded == [False, True]


@pytest.mark.parametrize(("rows", "told"), [([], "not empty"), ([BROKEN], "must be a JPEG")])
def test_nothing_to_compare_is_a_sentence(encoder: Encoder, rows: list[Row], told: str) -> None:
    with pytest.raises(DataError, match=told):
        compare(always(DOG, encoder), always(MEN, encoder), rows)


# --- the page ---------------------------------------------------------------------------------------------


def page_of(comparison: Comparison, **changes: object) -> str:
    given = {"title": "Two", "settings": {"split": "validation"}, "picture": lambda image_id: ROWS[0].image}
    return render(comparison, **(given | changes))  # type: ignore[arg-type]


def test_the_page_marks_the_words_that_changed_and_shows_the_picture(comparison: Comparison) -> None:
    text = page_of(comparison)
    page = Page(text)
    assert "<del>one dog runs fast</del>" in text
    assert "<ins>two men sit down</ins>" in text
    assert page.tags.count("img") == 3
    for expected in ("Better: 1", "Worse: 2", "broken.png", "666.7", "-333.3", DOG, "Unicode NFKC"):
        assert expected in page.text


def test_the_page_fetches_nothing_and_escapes_every_text(comparison: Comparison) -> None:
    evil = "<script>alert(1)</script> \"' onerror=x"
    pictures = tuple(replace(each, image_id=evil, references=(evil,), new=evil) for each in comparison.pictures[:1])
    text = page_of(replace(comparison, pictures=pictures), title=evil, settings={evil: evil})
    page = Page(text)
    assert not {"script", "iframe", "object", "embed"} & set(page.tags)
    assert "onerror" not in [name for name, _ in page.attributes]
    assert "//" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", text), "no address of any host"


def test_a_page_without_any_change_can_be_drawn(encoder: Encoder) -> None:
    same = always(DOG, encoder)
    assert "Not one of 3 captions changed." in page_of(compare(same, same, ROWS))


# --- the command ------------------------------------------------------------------------------------------


def program(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> object:
    """The exit code of the command."""
    monkeypatch.setattr(sys, "argv", ["compare", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        run(pipeline.compare)
    return stopped.value.code


@pytest.fixture(scope="module")
def folders(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("compare")
    for name, sentence in (("dog", DOG), ("men", MEN)):
        save_checkpoint(always(sentence, encoder).model, folder / name)
    build(ROWS, folder).collection.save_to_disk(str(folder / "data"))
    return {name: folder / name for name in ("dog", "men", "data")}


def test_the_gate_refuses_a_worse_model_and_lets_a_better_one_pass(monkeypatch, capsys, folders, tmp_path) -> None:
    dog, men, data = folders.values()
    out = tmp_path / "out"
    assert program(monkeypatch, dog, men, data, "--out", out, "--gate") == pipeline.REFUSED == 4
    told = capsys.readouterr()
    assert "captioner: Refused: CIDEr-D must gain at least 0" in told.err
    assert "[-one dog runs fast-] {+two" in told.out
    assert sorted(file.name for file in out.iterdir()) == ["captions.jsonl", "comparison.json", "report.html"]
    assert program(monkeypatch, men, dog, data, "--out", out, "--gate", "--metric", "bleu_1") == 0
    assert program(monkeypatch, dog, dog, data, "--out", out, "--gate", "--min-gain", "0.1") == 4
    assert "from 666.67 to 666.67" in capsys.readouterr().err


def test_every_figure_and_caption_is_in_the_files(monkeypatch, folders, tmp_path) -> None:
    dog, men, data = folders.values()
    options = ("--limit", 2, "--beam-width", 2, "--metric", "bleu_1")
    assert program(monkeypatch, dog, men, data, "--out", tmp_path, *options) == 0, "nothing is refused without --gate"
    told = json.loads((tmp_path / "comparison.json").read_text())
    assert (told["pictures"], told["changed"], told["better"], told["worse"]) == (2, 2, 0, 0), (
        "references all alike make no word rare, and CIDEr-D is 0"
    )
    assert (told["scores"]["bleu_1"]["old"], told["scores"]["bleu_1"]["gain"]) == (100, -100)
    assert told["scores"]["bleu_1"]["intervals_95"]["gain"] == [-100, -100]
    assert told["gate"] == {"metric": "bleu_1", "min_gain": 0, "worse": True}
    assert told["settings"]["old"].startswith("dog@")
    assert told["settings"]["new_search"]["beam_width"] == 2
    records = [json.loads(line) for line in (tmp_path / "captions.jsonl").read_text().splitlines()]
    assert [record["image_id"] for record in records] == ["0.png", "1.png"]
    assert {(fate, *sorted(words)) for fate, words in records[0]["difference"]} == {
        ("removed", *sorted(DOG.split())),
        ("added", *sorted(MEN.split())),
    }


def test_mistakes_are_sentences_told_before_a_picture_is_captioned(monkeypatch, capsys, folders, tmp_path) -> None:
    dog, _, data = folders.values()
    for told, arguments in {
        "(validation), not 'test'": (dog, dog, data, "--split", "test"),
        "manifest.json": (dog, tmp_path, data),
        "--min-gain must be a finite number, not nan": (dog, dog, data, "--gate", "--min-gain", "nan"),
    }.items():
        assert program(monkeypatch, *arguments, "--out", tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
