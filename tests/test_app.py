"""The page: what it shows, what it never shows, and what it refuses."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import lru_cache
from html import unescape
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import gradio as gr
import httpx
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from app.caption import NO_PICTURE, Answer, _answer_news, _follow, answer, go_on, open_sample, record
from app.desk import Desk
from app.drawing import (
    draw_alternatives,
    draw_commands,
    draw_error,
    draw_notes,
    draw_sentence,
    draw_stage,
    draw_takes,
    draw_words,
    first_word,
)
from app.limits import OWN
from app.takeaway import AltText
from app.wishes import Wishes, unsteered
from captioner.config import Config, DecoderConfig, EncoderConfig
from captioner.data.samples import sample_pictures
from captioner.inference.caption import Candidate, Caption
from captioner.inference.captioner import Captioner
from captioner.inference.confidence import CAPTION_SIGNS, WORD_SIGNS, Calibration
from captioner.inference.explanation import END_TEXT, Alternative, ExplainedWord, Explanation
from captioner.inference.logistic import Logistic
from captioner.model.captioning import build_model
from captioner.model.checkpoint import save_checkpoint
from captioner.search.fate import Fate
from captioner.text.vocabulary import Vocabulary
from tests.readme import blocks

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    """Random weights that are the same every time, and six words."""
    torch.manual_seed(0)
    config = Config(
        encoder=EncoderConfig(name="tf_efficientnet_lite0", weights="random", size=96),
        decoder=DecoderConfig(hidden_size=16, embedding_size=16, attention_size=16),
    )
    vocabulary = Vocabulary.fit(["a brown dog runs through grass"], min_count=1)
    return Captioner(build_model(config, vocabulary))


@pytest.fixture(scope="module")
def command(captioner: Captioner, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """`python -m app` with that model; a program of its own, so that Gradio's warnings are not ours."""
    folder = tmp_path_factory.mktemp("model")
    save_checkpoint(captioner.model, folder)
    return [sys.executable, "-m", "app", "--model", str(folder), "--home", str(tmp_path_factory.mktemp("home"))]


@pytest.fixture(scope="module")
def address(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page is served, until it is interrupted; then no upload may be left."""
    temporary = tmp_path_factory.mktemp("temporary")
    environment = {name: value for name, value in os.environ.items() if name != "CAPTIONER_AUTH"}
    environment["TMPDIR"] = str(temporary)
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        said = program.stdout.readline()
        found = re.match(r"The page is at (http://127\.0\.0\.1:\d+/) ", said)
        assert found, said
        yield found[1]
        program.send_signal(signal.SIGINT)
        program.stdout.read()
    assert program.returncode == 0
    assert list(temporary.glob("captioner-*")) == []


@pytest.fixture(scope="module")
def client(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("downloads")
    client = Client(address, verbose=False, analytics_enabled=False, download_files=folder)
    yield client
    client.close()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "meadow.png"
    Image.new("RGB", (120, 80), (30, 160, 40)).save(path)
    return path


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "letter.jpg"
    path.write_text("Dear reader, this is no picture.")
    return path


@lru_cache
def desk_of(captioner: Captioner) -> Desk:
    """One for all tests of a model, since a desk starts processes that read pictures."""
    return Desk({"m": captioner})


def plain(html: str) -> str:
    """What is read of it."""
    return unescape(re.sub("<[^>]*>", "", html))


def explanation(*attentions: np.ndarray[Any, Any] | None) -> Explanation:
    words = [ExplainedWord(f"word{place}", 0.25, attention, 0.4) for place, attention in enumerate(attentions)]
    return Explanation(Caption(), tuple(words))


# The handlers


def test_a_picture_is_answered_with_its_caption_the_other_candidates_and_every_word(
    captioner: Captioner, picture: Path
) -> None:
    caption = captioner.caption(picture, candidates=3)
    shown = answer(desk_of(captioner), "m", str(picture), Wishes())
    assert caption.text is not None
    assert caption.text in plain(shown.sentence)
    assert all(candidate.text in shown.alternatives for candidate in caption.candidates[1:])
    words = caption.candidates[0].words
    assert shown.sentence.count('type="radio"') == shown.stage.count('class="heat') == len(words)
    assert shown.sentence.count(" checked") == shown.stage.count(" shown") == shown.words.count(" shown") == 1


def test_a_beam_one_wide_has_no_alternatives(captioner: Captioner, picture: Path) -> None:
    assert answer(desk_of(captioner), "m", str(picture), Wishes(beam_width=1)).alternatives == ""


def test_no_picture_asks_for_one(captioner: Captioner) -> None:
    assert answer(desk_of(captioner), "m", None, Wishes()) == NO_PICTURE
    with pytest.raises(gr.Error, match="There must be a picture"):
        record(desk_of(captioner), None, "m", Wishes())


def test_a_text_file_named_jpg_is_answered_with_a_sentence_that_hides_where_it_lies(
    captioner: Captioner, text_file: Path
) -> None:
    shown = answer(desk_of(captioner), "m", str(text_file), Wishes())
    assert shown == Answer(shown.sentence)
    assert "letter.jpg must be" in shown.sentence
    assert str(text_file.parent) not in shown.sentence
    with pytest.raises(gr.Error, match=r"^'letter\.jpg must be"):
        record(desk_of(captioner), str(text_file), "m", Wishes())


def test_another_model_is_asked_as_it_is_stored_but_for_what_was_wished(captioner: Captioner, picture: Path) -> None:
    model = build_model(captioner.model.config, captioner.model.vocabulary)
    model.config = replace(model.config, search=replace(captioner.search, beam_width=2, length_exponent=1.0))
    desk = Desk({"m": captioner, "other": Captioner(model)})
    shown = unsteered(captioner.search)
    wished = list(shown)
    wished[0], wished[3] = "dog", 1
    before, *panel = _follow(desk, "other", "m", *wished)
    assert before == "other"
    assert Wishes(*panel).search(model.config.search) == replace(model.config.search, min_length=1)
    assert Wishes(*panel).steering().forbid == ("dog",)
    assert _follow(desk, "m", "other", *panel) == ["m", *wished]
    asked = record(desk, str(picture), "other", Wishes(*shown))
    assert len(asked["candidates"]) == 2


# The wishes


def wished(captioner: Captioner, picture: Path, **wishes: Any) -> list[str]:
    """The words of the caption that a program gets."""
    return [word["text"] for word in record(desk_of(captioner), str(picture), "m", Wishes(**wishes))["words"]]


def test_what_is_forbidden_required_and_the_beginning_are_obeyed_by_page_and_program(
    captioner: Captioner, picture: Path
) -> None:
    free = wished(captioner, picture)
    words = wished(captioner, picture, forbid=f" {free[0]} ,", require="through grass, dog", beginning="Brown")
    assert free[0] not in words or free[0] in ("through", "grass", "dog", "brown")
    assert words[0] == "brown"
    assert "through grass" in " ".join(words)
    assert "dog" in words
    shown = answer(desk_of(captioner), "m", str(picture), Wishes(beginning="Brown"))
    assert plain(shown.sentence).startswith("Brown ")


def test_lengths_are_obeyed(captioner: Captioner, picture: Path) -> None:
    assert len(wished(captioner, picture, min_length=9.0, max_length=9.0)) == 9


def test_a_seed_draws_what_the_library_draws_with_it_and_one_sentence_only(captioner: Captioner, picture: Path) -> None:
    drawn = {}
    for seed in (1, 2, 3):
        wishes = Wishes(method="sample", temperature=2, seed=seed)
        drawn[seed] = record(desk_of(captioner), str(picture), "m", wishes)
        here = captioner.caption(picture, search=wishes.search(captioner.search))
        assert (
            drawn[seed]["caption"]
            == here.text
            == captioner.explain(picture, search=wishes.search(captioner.search)).text
        )
        assert len(drawn[seed]["candidates"]) == 1
    assert len({told["caption"] for told in drawn.values()}) > 1


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [
        (Wishes(require="gryphon"), "must say &#x27;gryphon&#x27;, but the model does not know this word; <code>capt"),
        (Wishes(require="brown dog", forbid="dog"), "cannot obey both"),
        (Wishes(min_length=9, max_length=3), "lengths must satisfy"),
        (Wishes(groups=2), "groups must divide the beam evenly"),
        (Wishes(forbid="a" * 1001), "must fit in 1000 letters, but 1001 came"),
    ],
)
def test_a_wish_that_cannot_be_granted_is_a_sentence_in_place_of_the_answer(
    captioner: Captioner, picture: Path, wishes: Wishes, sentence: str
) -> None:
    shown = answer(desk_of(captioner), "m", str(picture), wishes)
    assert shown == Answer(shown.sentence, shown.stage)
    assert sentence in shown.sentence
    assert shown.stage.count("<img") == 1  # the picture stays, without any light
    with pytest.raises(gr.Error):
        record(desk_of(captioner), str(picture), "m", wishes)


def test_what_failed_may_be_asked_again_and_what_was_answered_is_not(captioner: Captioner, picture: Path) -> None:
    desk, unsaid = desk_of(captioner), [None] * (len(fields(Wishes)) - 3)
    failed, *_ = _answer_news(desk, OWN, None, "m", str(picture), "dog", "dog", None, *unsaid)
    assert failed is None
    answered, *_ = _answer_news(desk, OWN, None, "m", str(picture), "dog", None, None, *unsaid)
    assert answered is not None
    assert _answer_news(desk, OWN, answered, *answered) == (gr.skip(),) * 7


def test_to_allow_few_words_allows_less_than_the_fewest_that_are_stored(captioner: Captioner) -> None:
    assert Wishes(max_length=2).search(captioner.search).min_length == 2
    assert Wishes(max_length=2, min_length=3).search(captioner.search).min_length == 3


def test_to_forbid_a_word_that_the_model_does_not_know_is_granted_and_said_to_be_needless(
    captioner: Captioner, picture: Path
) -> None:
    shown = answer(desk_of(captioner), "m", str(picture), Wishes(forbid="gryphon"))
    assert "no need to forbid &#x27;gryphon&#x27;" in shown.sentence
    assert 'class="sentence"' in shown.sentence
    [note] = record(desk_of(captioner), str(picture), "m", Wishes(forbid="gryphon"))["notes"]
    assert "gryphon" in note


def test_nothing_wished_for_leaves_what_is_stored_with_the_model(captioner: Captioner) -> None:
    assert Wishes().search(captioner.search) == captioner.search
    assert Wishes(top_k=3.0).search(captioner.search).top_k == 3


# The confidence


def calibrated(captioner: Captioner, *, caption: float, word: float, photograph: float) -> Captioner:
    """The same with these log-odds for every caption, content word and picture; below 0 it is no photograph."""
    features = np.zeros(captioner.model.encoder.feature_size)
    calibration = Calibration(
        words=Logistic(word, np.zeros(len(WORD_SIGNS))),
        captions=Logistic(caption, np.zeros(len(CAPTION_SIGNS))),
        photographs=Logistic(photograph, features),
        threshold=0.0,
    )
    return Captioner(captioner.model, calibration=calibration)


def test_confidence_is_told_in_a_word_with_the_number_on_demand(captioner: Captioner, picture: Path) -> None:
    sure = calibrated(captioner, caption=np.log(3), word=np.log(4), photograph=1)  # odds of 3 and 4 to 1
    shown = answer(desk_of(sure), "m", str(picture), Wishes(beginning="brown dog"))
    assert 'Confidence: <b>high</b><span class="heard">, 75% likely' in shown.sentence
    assert 'title="75% likely to be as good' in shown.sentence
    assert "It is 80% likely that a person would use it here" in shown.words
    told = record(desk_of(sure), str(picture), "m", Wishes(beginning="brown dog"))
    assert told["confidence_level"] == "high"
    assert told["confidence"] == pytest.approx(0.75)
    assert told["words"][1]["confidence"] == pytest.approx(0.8)


def test_what_is_no_photograph_is_told_with_doubt(captioner: Captioner, picture: Path) -> None:
    unsure = calibrated(captioner, caption=1, word=1, photograph=-1)
    shown = answer(desk_of(unsure), "m", str(picture), Wishes())
    assert plain(shown.sentence).startswith("Not sure: perhaps ")
    assert shown.sentence.count('type="radio"') == len(unsure.caption(picture).candidates[0].words)
    assert "unlike the photographs" in shown.sentence
    assert "likely" not in shown.sentence + shown.words
    told = record(desk_of(unsure), str(picture), "m", Wishes())
    assert told["uncertain"] is True
    assert told["confidence"] is None


def test_a_model_without_calibration_says_nothing_of_confidence(captioner: Captioner, picture: Path) -> None:
    assert "onfidence" not in answer(desk_of(captioner), "m", str(picture), Wishes()).sentence
    assert record(desk_of(captioner), str(picture), "m", Wishes())["confidence"] is None


# The drawings


def test_words_of_a_strange_model_and_names_of_strange_files_cannot_become_html() -> None:
    evil = "<script>alert(1)</script>"
    candidates = [Candidate(evil, -1.0, ()), Candidate(evil, -2.0, ())]
    word = Explanation(Caption(), (ExplainedWord(evil, 0.5, None, 0.0),))
    rival = Explanation(Caption(), (ExplainedWord("fine", 0.5, None, 0.0, (Alternative(evil, 0.4),)),))
    for html in (
        draw_sentence(evil),
        draw_sentence(evil, word.words),
        draw_takes(evil, AltText(evil, [evil])),
        draw_commands({evil: evil}),
        draw_error(evil),
        draw_notes([evil]),
        draw_words(rival),
        draw_alternatives(candidates),
        draw_words(word),
    ):
        assert "<script" not in html
        assert "&lt;script" in html


def test_an_alternative_half_as_probable_as_the_caption_says_so() -> None:
    candidates = [Candidate("First.", np.log(0.2), ()), Candidate("Second.", np.log(0.1), ())]
    html = draw_alternatives(candidates)
    assert "0.50×" in html
    assert "First." not in html


def test_every_word_of_the_sentence_can_be_chosen_where_it_stands() -> None:
    words = [ExplainedWord(text, 0.5, None, 0.0) for text in ("a", "man", "and", "a", "dog", "n't", "run")]
    html = draw_sentence("Not sure: perhaps a man and a dogn't run.", words, chosen=3)
    assert plain(html) == "Not sure: perhaps a man and a dogn't run."
    assert [plain(label) for label in re.findall("<label.*?</label>", html)] == [word.text for word in words]
    assert re.findall('value="([0-9])"[^>]* checked', html) == ["3"]


def test_a_sentence_that_its_words_do_not_make_up_is_told_without_them() -> None:
    html = draw_sentence("Nothing of the kind.", [ExplainedWord("dog", 0.5, None, 0.0)])
    assert plain(html) == "Nothing of the kind."
    assert "radio" not in html


def test_a_model_without_attention_shows_its_words_and_their_probabilities() -> None:
    blind = explanation(None, None)
    assert 'class="heat' not in draw_stage(Image.new("RGB", (4, 4)), blind)
    html = draw_words(blind)
    assert html.count("25%") == 2
    assert "attention lay" not in html


def test_the_most_concentrated_word_is_chosen_first_unless_it_names_nothing() -> None:
    flat, peaked = np.full((2, 2), 0.15, np.float32), np.array([[0.6, 0], [0, 0]], np.float32)
    assert first_word(explanation(flat, peaked, flat)) == 1
    grammar = ExplainedWord("the", 0.25, peaked, 0.4)
    assert first_word(Explanation(Caption(), (grammar, *explanation(flat).words))) == 1


def test_a_word_names_what_else_was_considered_and_each_is_a_way_to_go_on() -> None:
    others = (Alternative("puppy", 0.3), Alternative(END_TEXT, 0.002))
    words = (ExplainedWord("a", 1.0, None, 0), ExplainedWord("dog", 0.6, None, 0, others))
    html = draw_words(Explanation(Caption(), words))
    assert "It also considered puppy 30% (to end) <1%" in plain(html)
    assert re.findall('data-beginning="([^"]*)"', html) == ["a puppy"]


def test_the_caption_is_copied_as_it_is_and_as_alt_text_with_its_doubt(captioner: Captioner, picture: Path) -> None:
    unsure = calibrated(captioner, caption=1, word=1, photograph=-1)
    sentence = answer(desk_of(unsure), "m", str(picture), Wishes()).sentence
    caption, alt = re.findall('data-copy="([^"]*)"', sentence)
    assert unescape(caption) == captioner.caption(picture).text
    assert alt.startswith("Not sure: perhaps ")


def test_a_steered_sentence_says_so_and_offers_the_way_back(captioner: Captioner, picture: Path) -> None:
    desk = desk_of(captioner)
    stored = Wishes(*unsteered(captioner.search))
    assert "Steered" not in answer(desk, "m", str(picture), stored).sentence
    assert "Steered" in answer(desk, "m", str(picture), replace(stored, beginning="grass")).sentence
    assert "Steered" in answer(desk, "m", str(picture), replace(stored, beam_width=2)).sentence


def test_memory_gates_and_search_are_there_to_look_inside(captioner: Captioner, picture: Path) -> None:
    inside = answer(desk_of(captioner), "m", str(picture), Wishes()).inside
    for part in ("What it remembered", "The gates", "The sentences it weighed"):
        assert part in inside
    assert re.search('data-beginning="[a-z]+"', inside)
    assert "<img" not in inside
    assert "The sentences it weighed" not in answer(desk_of(captioner), "m", str(picture), Wishes(beam_width=1)).inside


def test_any_branch_of_the_search_can_be_chosen_to_go_on_from(captioner: Captioner, picture: Path) -> None:
    inside = answer(desk_of(captioner), "m", str(picture), Wishes()).inside
    beginnings = {unescape(found) for found in re.findall('data-beginning="([^"]*)"', inside)}
    tree = captioner.explain(picture).tree
    assert tree is not None
    assert beginnings == {branch.beginning or "" for branch in tree.branches}
    dropped = next(branch for branch in tree.branches if branch.fate is Fate.OUTSCORED and len(branch.words) == 3)
    wish = go_on(gr.EventData(None, {"beginning": dropped.beginning}))
    assert wished(captioner, picture, beginning=wish)[:3] == list(dropped.words)


def test_caption_and_explanation_come_from_one_look_and_one_search(
    captioner: Captioner, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched, looked = Mock(wraps=captioner.model.search), Mock(return_value=None)
    monkeypatch.setattr(captioner.model, "search", searched)
    with captioner.model.encoder.register_forward_hook(looked):
        shown = answer(desk_of(captioner), "m", str(picture), Wishes())
    assert shown.alternatives
    assert shown.inside
    assert searched.call_count == looked.call_count == 1


def test_there_are_photographs_to_try() -> None:
    assert len(sample_pictures()) >= 3
    for path in sample_pictures():
        with Image.open(path) as photograph:
            assert photograph.format == "JPEG"


def test_a_sample_is_captioned_from_its_own_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    chosen = Path(open_sample(gr.EventData(None, {"index": 1})))
    assert chosen.is_relative_to(tmp_path)
    assert chosen.read_bytes() == sample_pictures()[1].read_bytes()


# The page as it is served


def test_the_program_in_the_readme_gets_a_caption(address: str, picture: Path) -> None:
    picture.rename(picture.with_name("dog.jpg"))
    _, program = blocks("python")
    said = subprocess.run(
        [sys.executable, "-c", program.replace("http://127.0.0.1:7860/", address)],
        cwd=picture.parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert re.search(r"^[A-Z][^\n]*\.$", said, re.MULTILINE), said


def test_a_program_gets_the_caption_as_data(client: Client, captioner: Captioner, picture: Path) -> None:
    told = client.predict(handle_file(picture), api_name="/caption")
    here = record(desk_of(captioner), str(picture), "m", Wishes())
    assert told["caption"] == here["caption"] == told["candidates"][0]["text"]
    assert [candidate["text"] for candidate in told["candidates"]] == [
        candidate["text"] for candidate in here["candidates"]
    ]
    assert [word["probability"] for word in told["words"]] == pytest.approx(
        [word["probability"] for word in here["words"]], rel=1e-3
    )


def test_a_program_steers_by_name_and_gets_a_sentence_when_that_cannot_be(client: Client, picture: Path) -> None:
    told = client.predict(handle_file(picture), beginning="grass", forbid="a, dog", seed=3, api_name="/caption")
    words = [word["text"] for word in told["words"]]
    assert words[0] == "grass"
    assert not {"a", "dog"} & set(words)
    with pytest.raises(AppError, match="must say 'gryphon'"):
        client.predict(handle_file(picture), require="gryphon", api_name="/caption")


def test_a_program_that_sends_a_text_file_named_jpg_gets_the_sentence(client: Client, text_file: Path) -> None:
    with pytest.raises(AppError, match=r"letter\.jpg must be"):
        client.predict(handle_file(text_file), api_name="/caption")


def test_a_beam_wider_than_the_slider_is_refused(client: Client, picture: Path) -> None:
    with pytest.raises(AppError):
        client.predict(handle_file(picture), beam_width=9999, api_name="/caption")


def test_every_component_has_a_name(address: str) -> None:
    config = httpx.get(f"{address}config", trust_env=False).json()
    visible = [part for part in config["components"] if part["props"].get("visible") is not False]
    nameless = [part["type"] for part in visible if not part["props"].get("elem_id")]
    # Gradio wraps the sliders in forms; the others are not seen.
    assert set(nameless) <= {"api", "form", "state", "timer"}
