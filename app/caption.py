"""One picture: its caption, the other sentences found, and each word with where the model looked."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from captioner.data.samples import sample_pictures
from captioner.errors import CaptionerError, ImageError
from captioner.inference.explanation_page import first_word, render_inside

from .desk import Asked, Desk
from .drawing import (
    draw_alternatives,
    draw_commands,
    draw_confidence,
    draw_error,
    draw_notes,
    draw_samples,
    draw_sentence,
    draw_stage,
    draw_steered,
    draw_takes,
    draw_words,
)
from .limits import Limits
from .preprocessing import preprocessed
from .takeaway import FETCH, alt_text, command, model_option, options, pack_explanation
from .uploads import NO_LONGER_KEPT
from .wishes import Wishes, changes, taking_wishes, unsteered, wishes_panel

MOST_CANDIDATES = 5
_GESTURES = Path(__file__).with_name("caption.js").read_text(encoding="utf-8")


class Answer(NamedTuple):
    """What the page shows about one picture, as HTML."""

    sentence: str
    stage: str = ""
    words: str = ""
    alternatives: str = ""
    inside: str = ""
    commands: str = ""


SAMPLES = sample_pictures()

NO_PICTURE = Answer(
    '<p class="waiting">Choose a picture, and its sentence appears here.</p>'
    '<p class="hint">Drop one into the frame, paste it, take it with the camera, or try one of the photographs.</p>'
)


def caption_tab(desk: Desk, model: gr.Dropdown, limits: Limits) -> None:
    """Lay out the components and say what happens when a picture comes; `model` says who captions it."""
    with gr.Row(elem_id="caption-tab", equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_id="question"):
            with gr.Column(elem_id="seen"):
                picture = _picture_input()
                stage = gr.HTML(elem_id="stage")
            samples = _own_html(draw_samples(SAMPLES), "samples")
        with gr.Column(scale=7, min_width=300, elem_id="answer"):
            sentence = _own_html(NO_PICTURE.sentence, "sentence")
            words = _own_html("", "words")
            alternatives = gr.HTML(elem_id="alternatives")
            panel = wishes_panel(desk.captioner(desk.models[0]).search)
            with gr.Accordion(
                "Look inside: memory, gates and search", open=False, elem_id="look-inside", elem_classes="fold"
            ):
                inside = _own_html("", "inside")
            with gr.Accordion(
                "The same from the command line", open=False, elem_id="command-line", elem_classes="fold"
            ):
                commands = _own_html("", "commands")
    made = gr.DownloadButton(visible=False, elem_id="made")
    asked = gr.State()
    samples.click(open_sample, None, picture, show_progress="hidden", api_visibility="private")
    # Whatever asks, asks through this one event, which has one question at a time: an older answer must not come last.
    counted = gr.State(0)
    gr.on(
        [picture.change, counted.change, *changes(panel)],
        partial(_answer_news, desk, limits),
        [asked, model, picture, *panel.values()],
        [asked, sentence, stage, words, alternatives, inside, commands],
        trigger_mode="always_last",
        show_progress="hidden",
        api_visibility="private",
        concurrency_id="model",
    )
    ask: dict[str, Any] = {
        "fn": lambda count: count + 1,
        "inputs": counted,
        "outputs": counted,
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    before = gr.State(desk.models[0])
    followed = model.change(
        partial(_follow, desk),
        [model, before, *panel.values()],
        [before, *panel.values()],
        show_progress="hidden",
        api_visibility="private",
    )
    followed.then(**ask)
    for drawn in (words, inside):
        branch = drawn.click(go_on, None, panel["beginning"], show_progress="hidden", api_visibility="private")
        branch.then(**ask)
    freed = sentence.clear(
        partial(_stored_wishes, desk), model, [*panel.values()], show_progress="hidden", api_visibility="private"
    )
    freed.then(**ask)
    packed = sentence.submit(
        partial(pack, desk), asked, made, show_progress="hidden", api_visibility="private", concurrency_id="model"
    )
    packed.success(None, made, js=FETCH, api_visibility="private")
    # The same for programs: never clicked, it gives gradio_client something to call.
    gr.Button(visible=False).click(
        taking_wishes(partial(record, desk)),
        [picture, model, *panel.values()],
        gr.JSON(visible=False, elem_id="record"),
        api_name="caption",
        api_description="Caption a picture: what is said, and what else was found, with its words.",
        concurrency_id="model",
    )


def _picture_input() -> gr.Image:
    picture = gr.Image(
        type="filepath",
        sources=["upload", "webcam", "clipboard"],
        label="Picture",
        show_label=False,
        height=400,
        buttons=[],
        placeholder="Drop a picture here,\nor click to choose one",
        elem_id="picture",
    )
    # Gradio's own would open the file before our reader has judged it.
    return preprocessed(picture, by=uploaded_path)


def _own_html(html: str, name: str) -> gr.HTML:
    """A component whose controls `caption.js` hears."""
    return gr.HTML(html, js_on_load=_GESTURES, apply_default_css=False, elem_id=name)


def _answer_news(
    desk: Desk, limits: Limits, asked: Any, model: str, picture: str | None, *given: Any
) -> tuple[Any, ...]:
    """The answer, unless it is there already: to leave a text unchanged must not take the chosen word away."""
    question = (model, picture, *given)
    if question == asked:
        return (gr.skip(),) * (1 + len(Answer._fields))
    answered = answer(desk, model, picture, Wishes(*given), paths_told=limits.paths_told)
    # What could not be answered may be asked again: the page may be less busy then.
    return (question if answered.commands else None), *answered


def answer(desk: Desk, model: str, picture: str | None, wishes: Wishes, *, paths_told: bool = False) -> Answer:
    """What to show about the picture at a path, or about none; what cannot be done is a sentence too.

    `paths_told` says whether the visitor may read where the model lies.
    """
    if picture is None:
        return NO_PICTURE
    shown = None
    try:
        shown = desk.view(Path(picture))
        explanation = desk.explain(Path(picture), _asked(desk, model, wishes))
    except CaptionerError as error:
        # Where only the wishes cannot be granted, the picture stays to be seen.
        return Answer(draw_error(_sentence(error, picture)), "" if shown is None else draw_stage(shown, None))
    caption = explanation.caption
    steered = draw_steered() if wishes.steer(desk.captioner(model).search) else ""
    notes_drawn = draw_notes(_notes(desk, model, wishes)) + steered
    return Answer(
        draw_sentence(caption.hedged or "", explanation.words, chosen=first_word(explanation))
        + draw_confidence(caption)
        + notes_drawn
        + draw_takes(caption.text or "", alt_text(caption)),
        draw_stage(shown, explanation),
        draw_words(explanation),
        draw_alternatives(caption.candidates),
        render_inside(explanation),
        _draw_commands(desk, model, picture, wishes, paths_told=paths_told),
    )


def pack(desk: Desk, asked: tuple[Any, ...] | None) -> str:
    """The explanation of what was asked last, as a ZIP archive where Gradio serves it.

    Raises gradio.Error with a sentence when nothing was asked or the picture is gone.
    """
    if asked is None or asked[1] is None:
        raise _told("There must be a picture to explain, but there is none; choose one.")
    model, picture, *given = asked
    try:
        explanation = desk.explain(Path(picture), _asked(desk, model, Wishes(*given)))
        shown = desk.view(Path(picture))
    except CaptionerError as error:
        raise _told(_sentence(error, picture)) from error
    name = Path(picture).name
    packed = pack_explanation(explanation, shown, name=name, model=desk.captioner(model).name)
    return save_bytes_to_cache(packed, f"{Path(name).stem}-explained.zip", get_upload_folder())


def record(desk: Desk, picture: str | None, model: str, wishes: Wishes) -> dict[str, Any]:
    """What a program gets: the caption and how sure it is, its candidates best first, its words, and notes on wishes.

    Gradio fills in what a program leaves out with what the page shows at first, the first model's own search: that is
    no wish.

    Raises gradio.Error with a sentence when there is no picture, it cannot be read or no caption obeys the wishes.
    """
    if picture is None:
        raise _told("There must be a picture, but none came; send one.")
    wishes = wishes.without(desk.captioner(desk.models[0]).search)
    try:
        caption = desk.describe(Path(picture), _asked(desk, model, wishes))
    except CaptionerError as error:
        raise _told(_sentence(error, picture)) from error
    words = caption.candidates[0].words
    return {
        "caption": caption.text,
        "hedged": caption.hedged,
        "uncertain": caption.uncertain,
        "confidence": caption.confidence,
        "confidence_level": caption.level,
        "candidates": [
            {"text": candidate.text, "log_probability": candidate.log_probability} for candidate in caption.candidates
        ],
        "words": [
            {"text": text, "probability": probability, "confidence": confidence}
            for text, probability, confidence in zip(
                words,
                caption.word_probabilities or (),
                caption.word_confidences or [None] * len(words),
                strict=True,
            )
        ],
        "notes": _notes(desk, model, wishes),
    }


def open_sample(chosen: gr.EventData) -> str:
    """The sample picture whose button was pressed, as a file where Gradio serves it, which is its cache alone.

    Byte for byte, since pixels would be compressed anew, and then captioned as another picture.
    """
    try:
        path = SAMPLES[chosen.index]
    except (AttributeError, IndexError, TypeError):  # not from this page
        raise _told("There is no such photograph to try; choose one of those shown.") from None
    return save_bytes_to_cache(path.read_bytes(), path.name, get_upload_folder())


def go_on(chosen: gr.EventData) -> str:
    """How the sentence shall begin: with the words of the branch that was chosen in the drawing of the search."""
    try:
        return str(chosen.beginning)
    except (AttributeError, TypeError):  # not from this page
        raise _told("A beginning must be words, but none came; choose a branch of the drawing.") from None


def uploaded_path(payload: Any) -> str | None:
    """The path of the file that came, which Gradio has already found to be an uploaded one."""
    if payload is None:
        return None
    if payload.path is None:
        raise _told("A picture must come as a file, but this one came inside its address; upload it.")
    return str(payload.path)


def _asked(desk: Desk, model: str, wishes: Wishes) -> Asked:
    """How a picture shall be captioned. Raises ConfigError when a wish is none that can be had."""
    search = wishes.search(desk.captioner(model).search)
    # Of sentences drawn at random the first is the draw; with more, the likeliest would come first.
    candidates = min(search.beam_width, MOST_CANDIDATES) if search.method == "beam" else 1
    return Asked(model, search, wishes.steering(), candidates)


def _notes(desk: Desk, model: str, wishes: Wishes) -> list[str]:
    """What was needless to wish for."""
    return wishes.steering().needless(desk.captioner(model).model.vocabulary)


def _draw_commands(desk: Desk, model: str, picture: str, wishes: Wishes, *, paths_told: bool) -> str:
    captioner = desk.captioner(model)
    chosen = options(captioner.search, wishes.search(captioner.search), wishes.steering())
    name = Path(picture).name
    meant = model_option(model, captioner.folder if paths_told else None)
    lines = {
        "The caption": command("caption", name, meant, chosen),
        "And everything shown here, in a folder": command("explain", name, meant, chosen),
    }
    unnamed = [f"As shown they ask the shipped model; to ask {model}, add --model and the folder it lies in."]
    return draw_commands(lines) + draw_notes(unnamed if meant is None else [])


def _follow(desk: Desk, model: str, before: str, *given: Any) -> list[Any]:
    """The model, and the panel for it: what was no wish while the model `before` was asked is none now."""
    old, new = (unsteered(desk.captioner(each).search) for each in (before, model))
    return [model, *(its if wish == theirs else wish for wish, theirs, its in zip(given, old, new, strict=True))]


def _stored_wishes(desk: Desk, model: str) -> list[Any]:
    return unsteered(desk.captioner(model).search)


def _sentence(error: CaptionerError, picture: str) -> str:
    """The error's sentence, with the name the user knows instead of where the file lies on the server."""
    if isinstance(error, ImageError) and error.kind == "missing":
        return NO_LONGER_KEPT
    return str(error).replace(picture, Path(picture).name)


def _told(sentence: str) -> gr.Error:
    """A user's mistake: shown to the user, and no traceback for the one who serves the page."""
    return gr.Error(sentence, print_exception=False)
