"""Teaching: a model learns from what was corrected, survives kill -9, is judged, and is accepted or discarded."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image, ImageDraw

from app.desk import Desk
from app.home import Home
from app.interface import build_page
from app.lessons import Lesson, Lessons
from app.limits import OWN, PUBLIC
from app.retraining import LEAST_PICTURES, Outcome, Retraining, Standing
from app.teach_correcting import UNCHANGED, Correcting, View
from app.teach_drawing import draw_kept, draw_new_words, draw_outcome, draw_standing, in_words
from app.uploads import Upload, uploads_here
from captioner.errors import ConfigError, DataError, ImageError
from captioner.inference.captioner import Captioner
from captioner.inference.teaching import News, Telling, is_at_work, latest
from captioner.model.captioning import CaptioningModel
from captioner.model.onnx_model import DESCRIPTION
from pipelines.teach import RECIPE
from tests.browsing import CHROMIUM, in_browser
from tests.served import serve

PATIENCE = 240.0


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def lessons(home: Home) -> Lessons:
    return Lessons(home.collection)


@pytest.fixture
def desk(model: CaptioningModel) -> Iterator[Desk]:
    with Desk({"default": Captioner(model)}) as desk:
        yield desk


@pytest.fixture
def correcting(lessons: Lessons, desk: Desk) -> Correcting:
    return Correcting(lessons, desk)


def drawing(folder: Path, number: int) -> Path:
    """A zebra if the number is even, and a dog if it is odd, as far as one can draw them."""
    folder.mkdir(exist_ok=True)
    picture = Image.effect_noise((64, 64), 30 + number).convert("RGB")
    colour = "white" if number % 2 == 0 else "brown"
    ImageDraw.Draw(picture).ellipse((number, 20, 30 + number, 50), fill=colour)
    path = folder / f"drawing {number}.png"
    picture.save(path)
    return path


def add(lessons: Lessons, path: Path, name: str, captions: list[str]) -> Lesson:
    return lessons.keep(lessons.wait(path, name, "").name, captions)


def keep(lessons: Lessons, pictures: int, folder: Path) -> None:
    for number in range(pictures):
        said = ["A zebra runs here.", "two zebras in the snow"] if number % 2 == 0 else ["A brown dog runs", "a dog"]
        add(lessons, drawing(folder, number), f"drawing {number}.png", said)


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.1)


# The whole way


@pytest.mark.timeout(600)  # its processes leave the processor to others
def test_a_model_learns_new_words_though_its_process_is_killed_is_judged_and_accepted_for_good(
    home: Home, lessons: Lessons, desk: Desk, tmp_path: Path
) -> None:
    keep(lessons, 12, tmp_path / "drawings")
    retraining = Retraining(home, desk)
    assert retraining.standing() == Standing("none")
    retraining.start("default", lessons)
    with pytest.raises(ConfigError, match="accept or discard what was taught before"):
        retraining.start("default", lessons)
    with pytest.raises(ConfigError, match="must be stopped first"):
        retraining.discard()
    run = home.folder / "teaching" / "run"
    until(lambda: len(retraining.standing().evaluations) >= 2)
    news = retraining.standing().news
    assert news is not None
    os.kill(news.process, signal.SIGKILL)
    until(lambda: retraining.standing().state == "stopped")
    steps = [each["step"] for each in retraining.standing().evaluations]

    # Another server goes on by itself, with the pictures of the beginning
    add(lessons, drawing(tmp_path / "drawings", 99), "late.png", ["Too late for this time"])
    other = Retraining(home, desk)
    assert other.standing().state == "running"
    until(lambda: other.standing().state != "running")
    standing = other.standing()
    assert standing.state == "done", (home.folder / "teaching" / "log.txt").read_text()
    told = [each["step"] for each in standing.evaluations]
    assert told[: len(steps)] == steps
    assert told == sorted(set(told))
    assert standing.report is not None
    assert {split: counts["pictures"] for split, counts in standing.report["kept"].items()} == {
        "train": 8,
        "validation": 2,
        "test": 2,
    }

    outcome = other.outcome()
    assert outcome is not None
    assert outcome.figures["pictures"] == len(outcome.captions) == 2
    assert str(tmp_path).encode() not in outcome.report  # no page tells where things lie
    assert "2 held-out pictures" in draw_outcome(outcome, lessons)
    assert not outcome.calibrated
    with pytest.raises(ConfigError, match="name of its own"):
        other.accept("default")
    with pytest.raises(ConfigError, match="1 to 64 letters"):
        other.accept("../elsewhere")
    assert other.accept(other.proposed_name()) == "My model"
    assert "zebra" in desk.captioner("My model").model.vocabulary
    assert home.chosen() == other.accepted == "My model"
    assert list(home.models()) == ["My model"]
    assert Captioner.from_pretrained(home.models()["My model"]).caption(drawing(tmp_path, 3)).error is None
    assert other.standing() == Standing("none")
    assert other.proposed_name() == "My model 2"
    assert not run.exists()
    assert len(lessons.kept()) == 13


def begun(home: Home, **asked: Any) -> Path:
    """A teaching that another server began -> the folder of its run."""
    run = home.folder / "teaching" / "run"
    run.mkdir(parents=True)
    told = {"model": "default", "device": "cpu", "collection": "nowhere", "at_work": False}
    (run.parent / "asked.json").write_text(json.dumps(told | asked))
    return run


def test_what_failed_is_told_and_can_be_discarded(home: Home, desk: Desk, lessons: Lessons, tmp_path: Path) -> None:
    keep(lessons, 1, tmp_path / "drawings")
    with Telling(begun(home)) as telling:
        telling.tell("failed", sentence="The disk is <full>.")
    retraining = Retraining(home, desk)
    assert "The disk is &lt;full&gt;." in draw_standing(retraining.standing(), pictures=1)
    assert retraining.outcome() is None
    with pytest.raises(ConfigError, match="learnt all it was to"):
        retraining.accept("mine")
    retraining.discard()
    assert retraining.standing() == Standing("none")
    assert not (home.folder / "teaching").exists()
    assert len(lessons.kept()) == 1


def test_what_was_stopped_by_its_button_waits_until_someone_asks_for_it(home: Home, desk: Desk) -> None:
    with Telling(begun(home)) as telling:
        telling.tell("stopped")
        assert Retraining(home, desk).standing().state == "running"  # its process still lives
    standing = Retraining(home, desk).standing()
    assert standing.state == "stopped"
    assert "can go on" in draw_standing(standing, pictures=12)


def test_too_few_pictures_are_told_with_how_many_are_missing(home: Home, desk: Desk, lessons: Lessons) -> None:
    with pytest.raises(ConfigError, match=f"{LEAST_PICTURES} pictures or more, but 0 are kept"):
        Retraining(home, desk).start("default", lessons)
    assert "Keep 7 more" in draw_standing(Standing("none"), pictures=3)


def test_an_exported_model_cannot_be_taught(
    home: Home, lessons: Lessons, model: CaptioningModel, tmp_path: Path
) -> None:
    keep(lessons, LEAST_PICTURES, tmp_path / "drawings")
    (tmp_path / DESCRIPTION).touch()
    with (
        Desk({"fast": Captioner(model, folder=tmp_path)}) as desk,
        pytest.raises(ConfigError, match="fast is an exported one; choose the model that it was made from"),
    ):
        Retraining(home, desk).start("fast", lessons)
    assert not (home.folder / "teaching").exists()


def test_a_damaged_line_of_the_figures_is_passed_over(home: Home, desk: Desk) -> None:
    metrics = begun(home) / "training" / "metrics.jsonl"
    metrics.parent.mkdir()
    metrics.write_text('{"step": 1, "cider_d": 2.0}\n{"step": \n{"step": 3, "cider_d": 4.0}\n')
    assert [each["step"] for each in Retraining(home, desk).standing().evaluations] == [1, 3]


def test_the_recipe_lies_beside_the_pipelines() -> None:
    assert RECIPE.is_file()


def test_one_process_at_a_time_tells_how_far_it_is(tmp_path: Path) -> None:
    assert latest(tmp_path) is None
    with Telling(tmp_path) as telling:
        telling.tell("learning", done=1, of=4)
        telling.tell("learning", done=2, of=4)  # within the same second
        assert latest(tmp_path) == News("learning", 1, 4, None, "", os.getpid())
        assert is_at_work(tmp_path)
        with pytest.raises(DataError, match="Only one process"):
            Telling(tmp_path)
    assert not is_at_work(tmp_path)


# What is told


def figures(*, pictures: int, better: int, worse: int, gain: tuple[float, float]) -> dict[str, Any]:
    score = {"old": 28.0, "new": 47.0, "gain": 19.0, "intervals_95": {"gain": list(gain)}}
    scores = {"cider_d": score, "bleu_4": score, "bleu_1": score}
    return {"scores": scores, "pictures": pictures, "better": better, "worse": worse, "changed": better + worse}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"pictures": 20, "better": 14, "worse": 3, "gain": (4.0, 30.0)}, "<b>surely better</b>"),
        ({"pictures": 20, "better": 3, "worse": 14, "gain": (-30.0, -4.0)}, "<b>surely worse</b>"),
        ({"pictures": 20, "better": 14, "worse": 3, "gain": (-4.0, 30.0)}, "cannot be told apart"),
        ({"pictures": 9, "better": 9, "worse": 0, "gain": (4.0, 30.0)}, "So few pictures cannot tell"),
        ({"pictures": 9, "better": 0, "worse": 0, "gain": (0.0, 0.0)}, "the same about all 9 held-out pictures"),
    ],
)
def test_a_verdict_is_no_surer_than_its_pictures_allow(given: dict[str, Any], told: str) -> None:
    said = in_words(figures(**given))
    assert told in said
    if given["better"] == 14:
        assert "Better on 14 and worse on 3 of 20 held-out pictures; CIDEr-D 28 → 47" in said


def test_names_captions_and_model_words_are_escaped(lessons: Lessons, tmp_path: Path) -> None:
    kept = add(lessons, drawing(tmp_path, 0), "<b>.png", ["a <script> dog"])
    assert "<script>" not in draw_kept(lessons, [kept], shown=6)
    example = {
        "image_id": kept.name,
        "references": ["<i>"],
        "difference": [["removed", ["<u>"]], ["added", ["<s>"]], ["kept", ["<q>"]]],
        "gain": 1.0,
        "changed": True,
    }
    drawn = draw_outcome(
        Outcome(figures(pictures=12, better=1, worse=0, gain=(1.0, 2.0)), (example,), b"", calibrated=False), lessons
    )
    assert not re.search("<[iusq]>", drawn)
    assert "<del>&lt;u&gt;</del>" in drawn
    assert "<ins>&lt;s&gt;</ins>" in drawn


def test_new_words_are_marked(model: CaptioningModel) -> None:
    assert "<mark>gryphon</mark>" in draw_new_words(model.vocabulary, "A gryphon\nruns over Grass")
    assert draw_new_words(model.vocabulary, "a brown dog runs") == ""


# Correcting


def upload(correcting: Correcting, folder: Path, *numbers: int) -> list[View]:
    came = [Upload(drawing(folder, number), f"drawing {number}.png") for number in numbers]
    return list(correcting.take_in("default", None, 6, came))


def test_each_uploaded_picture_waits_with_a_suggestion_and_a_broken_one_is_told(
    correcting: Correcting, desk: Desk, tmp_path: Path
) -> None:
    broken = tmp_path / "letter.jpg"
    broken.write_text("Dear reader")
    path = drawing(tmp_path, 1)
    first, last = correcting.take_in("default", None, 6, [Upload(path, "a.png"), Upload(broken, "letter.jpg")])
    said = desk.captioner("default").caption(path).text
    assert first.captions == said
    assert first.lesson["visible"] is True
    assert "letter.jpg must be" in last.told
    assert str(tmp_path) not in last.told
    assert [lesson.captions for lesson in correcting.lessons.waiting()] == [(said,)]


def test_the_end_of_an_upload_leaves_alone_what_is_written_meanwhile(correcting: Correcting, tmp_path: Path) -> None:
    came = [Upload(drawing(tmp_path, number), f"{number}.png") for number in range(1, 10)]
    *_, last = correcting.take_in("default", None, 6, came)
    assert last == UNCHANGED._replace(told=last.told)


def test_what_is_kept_is_followed_by_the_next_that_waits_and_then_by_nothing(
    correcting: Correcting, tmp_path: Path
) -> None:
    current = upload(correcting, tmp_path, 1, 2)[0].current
    view = correcting.keep("default", current, 6, "A dog runs\nA brown dog")
    assert "Kept: A dog runs" in view.told
    assert "1 picture, 2 captions" in view.kept
    assert "drawing 2" in view.picture
    view = correcting.keep("default", view.current, 6, "A zebra stands")
    assert view.current is None
    assert view.lesson["visible"] is False


def test_one_can_skip_go_back_to_what_was_kept_and_change_it(correcting: Correcting, tmp_path: Path) -> None:
    first = upload(correcting, tmp_path, 1, 2)[0].current
    second = correcting.skip("default", first, 6, "", "")
    assert "drawing 2" in second.picture
    view = correcting.back("default", second.current, 6, "", "")
    assert view.current == first
    correcting.keep("default", first, 6, "A dog runs")
    view = correcting.back("default", second.current, 6, "", "")
    assert view.captions == "A dog runs"
    correcting.keep("default", view.current, 6, "A dog sits")
    [kept] = correcting.lessons.kept()
    assert kept.captions == ("A dog sits",)


def test_what_was_written_and_not_kept_stays_with_its_picture(correcting: Correcting, tmp_path: Path) -> None:
    first = upload(correcting, tmp_path, 1, 2)[0]
    second = correcting.skip("default", first.current, 6, first.given, "A dog\n\nhalf writ")
    again = correcting.back("default", second.current, 6, second.given, "dog")
    assert again.captions == again.given == "A dog\nhalf writ"
    correcting.choose("default", again.current, 6, again.given, "A dog runs", "open", second.current)
    assert [lesson.captions for lesson in correcting.lessons.waiting()] == [("A dog runs",), ("dog",)]


def test_words_about_a_picture_that_a_new_server_does_not_know_are_not_thrown_away(
    correcting: Correcting, tmp_path: Path
) -> None:
    upload(correcting, tmp_path, 1, 2)
    for press in (
        lambda: correcting.keep("default", None, 6, "A dog runs"),
        lambda: correcting.skip("default", None, 6, "A cat", "A dog runs"),
        lambda: correcting.choose("default", None, 6, "", "A dog runs", "open", "x"),
    ):
        with pytest.raises(DataError, match="started anew since; copy your words"):
            press()


def test_a_picture_whose_file_is_gone_can_be_removed(correcting: Correcting, tmp_path: Path) -> None:
    first = upload(correcting, tmp_path, 1)[0]
    correcting.keep("default", first.current, 6, "A dog runs")
    [kept] = correcting.lessons.kept()
    correcting.lessons.picture(kept).unlink()
    view = correcting.remove("default", None, 6, "", "", kept.name)
    assert "was removed" in view.told
    assert "Undo" not in view.told
    assert correcting.lessons.kept() == []


def test_a_kept_picture_takes_what_was_written_or_one_is_told_why_not(correcting: Correcting, tmp_path: Path) -> None:
    first = upload(correcting, tmp_path, 1, 2)[0]
    correcting.keep("default", first.current, 6, "A dog runs")
    [kept] = correcting.lessons.kept()
    with pytest.raises(DataError, match="'dog' is not"):
        correcting.skip("default", kept.name, 6, "A dog runs", "dog")
    correcting.skip("default", kept.name, 6, "A dog runs", "A dog sits")
    correcting.skip("default", kept.name, 6, "A dog runs", "A dog runs")  # untouched on a page that is behind
    correcting.skip("default", kept.name, 6, "A dog sits", " ")
    assert [lesson.captions for lesson in correcting.lessons.kept()] == [("A dog sits",)]


def test_one_picture_that_cannot_be_taken_in_leaves_the_others(
    correcting: Correcting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = Lessons.wait

    def vanish(lessons: Lessons, path: Path, name: str, suggestion: str) -> Lesson:
        if name == "drawing 1.png":
            raise ImageError("drawing 1.png must be there, but it is gone; add it again.")
        return wait(lessons, path, name, suggestion)

    monkeypatch.setattr(Lessons, "wait", vanish)
    last = upload(correcting, tmp_path, 1, 2)[-1]
    assert "drawing 1.png must be there" in last.told
    assert "1 picture is here" in last.told
    assert [lesson.title for lesson in correcting.lessons.waiting()] == ["drawing 2"]


def test_a_removal_can_be_undone_and_leaves_what_one_writes_meanwhile(correcting: Correcting, tmp_path: Path) -> None:
    first = upload(correcting, tmp_path, 1, 2)[0].current
    view = correcting.keep("default", first, 6, "A dog runs")
    [kept] = correcting.lessons.kept()
    removed = correcting.choose("default", view.current, 6, "", "", "remove", kept.name)
    assert "Nothing kept yet" in removed.kept
    assert removed.captions == gr.skip()
    [name] = re.findall('data-action="undo" data-name="([^"]+)"', removed.told)
    back = correcting.choose("default", view.current, 6, "", "", "undo", name)
    assert "1 picture, 1 caption" in back.kept
    assert back.captions == gr.skip()


def test_a_long_list_shows_more_when_asked(lessons: Lessons) -> None:
    kept = [Lesson(f"pictures/{number}.png", ("A dog runs",), "train") for number in range(9)]
    drawn = draw_kept(lessons, kept, shown=6)
    assert drawn.count("<li>") == 6
    assert "Show 3 more" in drawn


@pytest.mark.filterwarnings("ignore:.*:pytest.PytestUnraisableExceptionWarning")  # Gradio's own, of loops left open
def test_strangers_cannot_teach(desk: Desk, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    # Laying them out takes its time, and would leave more of Gradio's loops open.
    for name in ("caption_tab", "model_tab"):
        monkeypatch.setattr(f"app.interface.{name}", lambda *_: None)
    collections, taught = list[Lessons | None](), list[Home]()
    monkeypatch.setattr("app.interface.many_tab", lambda *given: collections.append(given[-1]))
    monkeypatch.setattr("app.interface.teach_tab", lambda _desk, _model, home, *_: taught.append(home))
    build_page(desk, uploads_here(PUBLIC), home)
    build_page(desk, uploads_here(OWN))
    assert (collections, taught) == ([None, None], [])
    build_page(desk, uploads_here(OWN), home)
    assert collections[-1] is not None
    assert collections[-1].folder == home.collection
    assert taught == [home]
    gc.collect()


# In a browser


def come_again(page: Any, complaints: list[str]) -> None:
    """Reload; what the page that is left says of its broken connections is no complaint."""
    before = len(complaints)
    page.reload(wait_until="commit")
    del complaints[before:]


@in_browser
@pytest.mark.timeout(600)
def test_a_person_corrects_with_the_keyboard_teaches_and_accepts(
    model_folder: Path, home: Home, lessons: Lessons, tmp_path: Path
) -> None:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=60_000)  # milliseconds; the machine may be busy
    complaints: list[str] = []
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    keep(lessons, 9, tmp_path / "drawings")
    files = [drawing(tmp_path / "uploads", number) for number in (20, 21, 22)]
    options = ("--model", model_folder, "--home", home.folder)
    with serve(*options, temporary=temporary) as served, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 375, "height": 812})
        page.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(served.address)
        page.get_by_role("tab", name="Teach").click()
        expect(page.locator("#teach-standing")).to_contain_text("Keep 1 more")
        expect(page.locator("#teach-start")).to_be_disabled()

        # Corrected with the keyboard alone
        page.locator("#teach-upload input[type=file]").set_input_files(files)
        box = page.locator("#teach-captions textarea")
        expect(page.locator("#teach-told")).to_contain_text("3 pictures are here")
        expect(box).to_be_focused()
        expect(box).not_to_have_value("")  # until the model's caption is there to be written over
        page.keyboard.press("Control+a")
        page.keyboard.type("A gryphon runs")
        page.keyboard.press("Control+Enter")
        page.keyboard.type("a white gryphon")
        expect(page.locator("#teach-new-words mark").first).to_have_text("gryphon")
        page.keyboard.press("Enter")
        expect(page.locator("#teach-told")).to_contain_text("Kept: A gryphon runs")
        expect(page.locator("#teach-picture")).to_contain_text("drawing 21")
        expect(box).to_be_focused()
        expect(box).not_to_have_value(re.compile("gryphon|^$"))  # but the model's caption of the next one
        page.keyboard.press("Control+a")
        page.keyboard.type("A bird, not yet")
        page.keyboard.press("PageDown")
        expect(page.locator("#teach-picture")).to_contain_text("drawing 22")
        page.keyboard.press("PageUp")
        expect(page.locator("#teach-picture")).to_contain_text("drawing 21")
        expect(box).to_have_value("A bird, not yet")
        assert page.evaluate("document.documentElement.scrollWidth") <= 375

        # Still there
        come_again(page, complaints)
        page.get_by_role("tab", name="Teach").click()
        expect(page.locator("#teach-kept h2")).to_have_text("10 pictures, 20 captions")
        expect(page.locator("#teach-picture")).to_contain_text("2 pictures to correct")
        page.locator("#teach-kept [data-action=remove]").first.click()
        expect(page.locator("#teach-kept h2")).to_have_text("9 pictures, 18 captions")
        page.get_by_role("button", name="Undo").click()
        expect(page.locator("#teach-kept h2")).to_have_text("10 pictures, 20 captions")

        # Taught
        page.locator("#teach-start").click()
        expect(page.locator("#teach-standing progress").first).to_be_visible()
        expect(page.locator("#teach-stop")).to_be_visible()
        expect(page.locator("#teach-outcome")).to_contain_text("Before and after", timeout=PATIENCE * 1000)
        expect(page.locator("#teach-outcome")).to_contain_text("2 held-out pictures")
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        with page.expect_download() as download:
            page.locator("#teach-download").click()
        assert "CIDEr-D" in download.value.path().read_text()
        page.locator("#teach-accept").click()
        expect(page.locator("#teach-wrong")).to_contain_text("My model captions from now on")
        page.get_by_role("tab", name="Model").click()
        expect(page.get_by_label("Model that captions")).to_have_value("My model")
        come_again(page, complaints)
        page.get_by_role("tab", name="Model").click()
        expect(page.get_by_label("Model that captions")).to_have_value("My model")
        told = list(complaints)
        browser.close()
    assert told == []
    assert list(home.models()) == ["My model"]
