"""The model in use: which it is, what it can say, and how good and how sure it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import gradio as gr

from captioner.errors import CaptionerError
from captioner.inference.faithfulness import read_faithfulness

from .desk import Desk
from .drawing import draw_error
from .model_drawing import draw_attention_figures, draw_card, draw_confidence_figures, draw_identity, draw_words
from .preprocessing import preprocessed

_CARD = "README.md"
# Of a card in letters, since a stranger may have written it.
_LONGEST_CARD: Final = 100_000


class Shown(NamedTuple):
    """What the tab shows of a model, as HTML."""

    identity: str
    figures: str = ""
    attention: str = ""
    words: str = ""
    card: str = ""


def model_choice(desk: Desk) -> gr.Dropdown:
    """The component that says which model captions, not yet laid out; it is an input of every event that does."""
    model = gr.Dropdown(
        list(desk.models),
        value=desk.models[0],
        label="Model that captions",
        visible=len(desk.models) > 1,
        buttons=[],
        elem_id="model-choice",
        render=False,
    )
    # Gradio's own knows only the models that were there when the page was built.
    return preprocessed(model, by=partial(_installed, desk))


def model_tab(desk: Desk, model: gr.Dropdown) -> None:
    """Lay out the components, `model` among them, and have everything follow the model that is chosen."""
    first = show(desk, desk.models[0], "")
    with gr.Row(elem_id="model-tab", equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_id="model-facts"):
            model.render()
            identity = gr.HTML(first.identity, elem_id="model-identity")
            gr.HTML("<h2>How sure it is</h2>", elem_id="model-figures-heading")
            figures = gr.HTML(first.figures, elem_id="model-figures")
            gr.HTML("<h2>Whether its attention tells the truth</h2>", elem_id="model-attention-heading")
            attention = gr.HTML(first.attention, elem_id="model-attention")
            gr.HTML("<h2>Every word it can say</h2>", elem_id="model-words-heading")
            searched = gr.Textbox(
                label="Search its words",
                show_label=False,
                value="",
                placeholder="Search, as in “dog”",
                max_lines=1,
                max_length=100,
                elem_id="word-search",
            )
            words = gr.HTML(first.words, elem_id="model-words")
        with gr.Column(scale=7, min_width=300, elem_id="model-reading"):
            gr.HTML("<h2>Its card</h2>", elem_id="model-card-heading")
            card = gr.HTML(first.card, elem_id="model-card")
    quietly: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    model.change(
        partial(show, desk),
        [model, searched],
        [identity, figures, attention, words, card],
        trigger_mode="always_last",
        **quietly,
    )
    searched.input(partial(show_words, desk), [model, searched], words, trigger_mode="always_last", **quietly)
    gr.api(vocabulary_of(desk), api_name="vocabulary", queue=False)


def show(desk: Desk, name: str, searched: str) -> Shown:
    """The model of that name; of its words those that hold what is searched for."""
    try:
        captioner = desk.captioner(name)
        faithfulness = read_faithfulness(captioner.folder) if captioner.folder else None
    except CaptionerError as error:
        return Shown(draw_error(str(error)))
    calibration = captioner.calibration
    return Shown(
        draw_identity(name, captioner),
        draw_confidence_figures(calibration.measured if calibration else None),
        draw_attention_figures(faithfulness),
        draw_words(captioner.model.vocabulary.counts, searched),
        draw_card(read_card(captioner.folder)),
    )


def show_words(desk: Desk, name: str, searched: str) -> str:
    """Of the words of the model of that name those that hold what is searched for; nothing where it cannot be read."""
    try:
        return draw_words(desk.captioner(name).model.vocabulary.counts, searched)
    except CaptionerError:  # which is shown where the model is named
        return ""


def offered(desk: Desk) -> gr.Dropdown:
    """The choice of models as it is now, for a visitor who comes after one was installed."""
    return gr.Dropdown(choices=list(desk.models), visible=len(desk.models) > 1)


def vocabulary_of(desk: Desk) -> Callable[..., dict[str, Any]]:
    """What programs call to read a vocabulary."""

    def vocabulary(search: str = "", limit: int = 100, model: str = "") -> dict[str, Any]:
        """The words a model can say, commonest first, each with how often it occurred in the captions it learnt from.

        Args:
            search: Only words that hold this text.
            limit: At most so many words.
            model: The name of an installed model; the first if not given.
        """
        try:
            counts = desk.captioner(model or desk.models[0]).model.vocabulary.counts
        except CaptionerError as error:
            raise gr.Error(str(error), print_exception=False) from error
        found = [[word, count] for word, count in counts.items() if search.strip().lower() in word]
        return {"known": len(counts), "found": len(found), "words": found[: max(0, limit)]}

    return vocabulary


def read_card(folder: Path | None) -> str | None:
    """The text of the card of the model in `folder`; None where there is none that can be read."""
    try:
        return (folder / _CARD).read_text(encoding="utf-8", errors="replace")[:_LONGEST_CARD] if folder else None
    except OSError:
        return None


def _installed(desk: Desk, name: Any) -> str:
    """The name of a model that is there, as it came."""
    if name not in desk.models:
        raise gr.Error(
            f"A model must be one of {', '.join(desk.models)}, but {name!r} came; choose one of them.",
            print_exception=False,
        )
    return str(name)
