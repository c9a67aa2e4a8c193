"""One picture: its caption, the other sentences found, and each word with where the model looked."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from PIL import Image

from captioner.data.images import read_image
from captioner.data.samples import sample_pictures
from captioner.errors import CaptionerError
from captioner.inference.captioner import Caption, Captioner
from captioner.inference.explanation import Explanation

from .drawing import draw_alternatives, draw_error, draw_samples, draw_sentence, draw_words

WIDEST_BEAM = 10
MOST_CANDIDATES = 5


class Answer(NamedTuple):
    """What the page shows about one picture, as HTML."""

    sentence: str
    alternatives: str = ""
    words: str = ""


SAMPLES = sample_pictures()
# Tells Python which of the buttons was pressed.
_CHOOSE_SAMPLE = """
element.addEventListener("click", event => {
  const button = event.target.closest("button");
  if (button) trigger("click", {index: Number(button.value)});
});
"""

NO_PICTURE = Answer('<p class="waiting">Choose a picture, and its sentence appears here.</p>')


def caption_tab(captioner: Captioner) -> None:
    """Lay out the components and say what happens when a picture comes."""
    with gr.Row(elem_id="caption-tab", equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_id="question"):
            picture = gr.Image(
                type="filepath",
                sources=["upload", "webcam", "clipboard"],
                label="Picture",
                show_label=False,
                height=320,
                buttons=[],
                elem_id="picture",
            )
            # Gradio's own would open the file before our reader has judged it.
            picture.preprocess = uploaded_path  # type: ignore[method-assign]
            samples = gr.HTML(
                draw_samples(SAMPLES), js_on_load=_CHOOSE_SAMPLE, apply_default_css=False, elem_id="samples"
            )
            beam_width = gr.Slider(
                1,
                max(WIDEST_BEAM, captioner.search.beam_width),
                value=captioner.search.beam_width,
                step=1,
                label="Beam width",
                info="How many unfinished sentences the search keeps in mind.",
                buttons=[],
                elem_id="beam-width",
            )
        with gr.Column(scale=7, min_width=300, elem_id="answer"):
            sentence = gr.HTML(NO_PICTURE.sentence, elem_id="sentence")
            alternatives = gr.HTML(elem_id="alternatives")
            words = gr.HTML(elem_id="words")
    samples.click(sample, None, picture, show_progress="hidden", api_visibility="private")
    gr.on(
        [picture.change, beam_width.change],
        partial(answer, captioner),
        [picture, beam_width],
        [sentence, alternatives, words],
        trigger_mode="always_last",
        show_progress="hidden",
        api_visibility="private",
        concurrency_id="model",
    )
    # The same for programs: never clicked, it gives gradio_client something to call.
    gr.Button(visible=False).click(
        partial(record, captioner),
        [picture, beam_width],
        gr.JSON(visible=False, elem_id="record"),
        api_name="caption",
        concurrency_id="model",
    )


def answer(captioner: Captioner, picture: str | None, beam_width: float) -> Answer:
    """What to show about the picture at a path, or about none; a picture that cannot be read is a sentence too."""
    if picture is None:
        return NO_PICTURE
    try:
        caption, explanation = _say(captioner, picture, beam_width)
    except CaptionerError as error:
        return Answer(draw_error(_sentence(error, picture)))
    return Answer(
        draw_sentence(explanation.text), draw_alternatives(caption.candidates), draw_words(picture, explanation)
    )


def record(captioner: Captioner, picture: str | None, beam_width: float) -> dict[str, Any]:
    """What a program gets: the caption, its candidates best first, and its words.

    Raises gradio.Error with a sentence when there is no picture or it cannot be read.
    """
    if picture is None:
        raise _told("There must be a picture, but none came; send one.")
    try:
        caption, explanation = _say(captioner, picture, beam_width)
    except CaptionerError as error:
        raise _told(_sentence(error, picture)) from error
    return {
        "caption": caption.text,
        "candidates": [
            {"text": candidate.text, "log_probability": candidate.log_probability} for candidate in caption.candidates
        ],
        "words": [{"text": word.text, "probability": word.probability} for word in explanation.words],
    }


def sample(chosen: gr.EventData) -> Image.Image:
    """The sample picture whose button was pressed; as pixels, since Gradio serves no file from outside its cache."""
    return read_image(SAMPLES[chosen.index])


def uploaded_path(payload: Any) -> str | None:
    """The path of the file that came, which Gradio has already found to be an uploaded one."""
    if payload is None:
        return None
    if payload.path is None:
        raise _told("A picture must come as a file, but this one came inside its address; upload it.")
    return str(payload.path)


def _say(captioner: Captioner, picture: str, beam_width: float) -> tuple[Caption, Explanation]:
    search = replace(captioner.search, beam_width=int(beam_width))
    candidates = min(search.beam_width, MOST_CANDIDATES)
    return captioner.caption(picture, candidates=candidates, search=search), captioner.explain(picture, search=search)


def _sentence(error: CaptionerError, picture: str) -> str:
    """The error's sentence, with the name the user knows instead of where the file lies on the server."""
    return str(error).replace(picture, Path(picture).name)


def _told(sentence: str) -> gr.Error:
    """A user's mistake: shown to the user, and no traceback for the one who serves the page."""
    return gr.Error(sentence, print_exception=False)
