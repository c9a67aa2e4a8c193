"""What a visitor asks of the sentence: which words, how long, and how it is chosen."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import gradio as gr

from captioner.config import SearchConfig, changed_search
from captioner.errors import ConfigError
from captioner.text.steering import Steering

from .preprocessing import preprocessed

_WIDEST_BEAM = 10
_LONGEST_CAPTION = 40
# In letters: every word the model does not know costs a search for those like it.
_LONGEST_TEXT = 1000


@dataclass(frozen=True)
class Wishes:
    """One field for each component, in their order; None leaves it to what is stored with the model."""

    forbid: str | None = None
    """Words and phrases, a comma between them."""
    require: str | None = None
    beginning: str | None = None
    min_length: float | None = None
    max_length: float | None = None
    length_exponent: float | None = None
    no_repeat_ngram: float | None = None
    method: str | None = None
    beam_width: float | None = None
    groups: float | None = None
    diversity: float | None = None
    temperature: float | None = None
    top_k: float | None = None
    top_p: float | None = None
    seed: float | None = None

    def search(self, stored: SearchConfig) -> SearchConfig:
        """The settings stored with the model, with those wished for in their place."""
        given = {
            name: type(getattr(stored, name))(getattr(self, name))  # Gradio knows no whole numbers
            for name in (field.name for field in fields(self) if hasattr(stored, field.name))
            if getattr(self, name) is not None
        }
        return changed_search(stored, given)

    def without(self, stored: SearchConfig) -> Wishes:
        """The wishes but for those that ask for what is stored."""
        names = [field.name for field in fields(self)]
        stored_too = [name for name in names if getattr(stored, name, None) == getattr(self, name)]
        return replace(self, **dict.fromkeys(stored_too))

    def steer(self, stored: SearchConfig) -> bool:
        """Whether anything is wished for that is not stored."""
        return self.search(stored) != stored or self.steering() != Steering()

    def steering(self) -> Steering:
        """The rules about words. Raises ConfigError when there is too much of them to read."""
        texts = [(text or "").strip() for text in (self.forbid, self.require, self.beginning)]
        longest = max(map(len, texts))
        if longest > _LONGEST_TEXT:
            raise ConfigError(
                f"Words for the sentence must fit in {_LONGEST_TEXT} letters, but {longest} came; give fewer."
            )
        forbid, require, beginning = texts
        return Steering(_phrases(forbid), _phrases(require), beginning or None)


_TOLD = {
    "picture": "The picture, as a file.",
    "model": "The name of an installed model.",
    "forbid": "Words and phrases that the caption must not hold, a comma between them.",
    "require": "Words and phrases that the caption must hold, a comma between them.",
    "beginning": "The words that the caption begins with.",
    "min_length": "The least number of words.",
    "max_length": "The greatest number of words.",
    "length_exponent": "How much long captions are favoured; 0 not at all.",
    "no_repeat_ngram": "No so many words in a row are said twice; 0 allows all.",
    "method": "beam searches for the likeliest caption, sample draws one at random.",
    "beam_width": "How many captions the beam search keeps in mind.",
    "groups": "How many groups of the beam differ from each other.",
    "diversity": "How much the groups differ.",
    "temperature": "When drawn at random: above 1 bolder, below 1 more cautious.",
    "top_k": "When drawn at random: only from so many likeliest words; 0 from all.",
    "top_p": "When drawn at random: only from the likeliest words that make up this share.",
    "seed": "When drawn at random: the same seed draws the same caption.",
}
"""Each argument of the function for programs."""


def wishes_panel(stored: SearchConfig) -> dict[str, Any]:
    """Lay out a component for each of the wishes, folded away; by their names, and in their order."""
    with gr.Accordion("Steer the sentence", open=False, elem_id="steer", elem_classes="fold"):
        words = {
            "forbid": _words("Must not say", "man, woman, blue shirt", "forbid"),
            "require": _words("Must say", "dog", "require"),
            "beginning": _words("Begins with", "two dogs", "beginning"),
        }
        lengths = _lengths_and_habits(stored)
        method = gr.Radio(
            [("Search for the likeliest", "beam"), ("Draw at random", "sample")],
            value=stored.method,
            label="How it is chosen",
            buttons=[],
            elem_id="method",
        )
        with gr.Column(visible=stored.method == "beam", elem_id="beam") as beam:
            searching = _searching(stored)
        with gr.Column(visible=stored.method == "sample", elem_id="chance") as chance:
            drawing = _drawing(stored)
    method.change(
        lambda chosen: (gr.Column(visible=chosen == "beam"), gr.Column(visible=chosen == "sample")),
        method,
        [beam, chance],
        show_progress="hidden",
        queue=False,
        api_visibility="private",
    )
    panel = {**words, **lengths, "method": method, **searching, **drawing}
    assert list(panel) == [field.name for field in fields(Wishes)]
    return panel


def _lengths_and_habits(stored: SearchConfig) -> dict[str, Any]:
    longest = max(_LONGEST_CAPTION, stored.max_length)
    with gr.Row(elem_id="lengths"):
        lengths = {
            "min_length": _slider("Words at least", 0, longest, stored.min_length, "min-length"),
            "max_length": _slider("Words at most", 1, longest, stored.max_length, "max-length"),
        }
    exponent, repeated = stored.length_exponent, stored.no_repeat_ngram
    with gr.Row(elem_id="habits"):
        habits = {
            "length_exponent": _slider("Favour long sentences", 0, max(2.0, exponent), exponent, "length-exponent"),
            "no_repeat_ngram": _slider("Never repeat so many words", 0, max(6, repeated), repeated, "no-repeat"),
        }
    return lengths | habits


def _searching(stored: SearchConfig) -> dict[str, Any]:
    width, groups, diversity = stored.beam_width, stored.groups, stored.diversity
    beam_width = _slider("Sentences kept in mind", 1, max(_WIDEST_BEAM, width), width, "beam-width")
    with gr.Row(elem_id="diverse"):
        return {
            "beam_width": beam_width,
            "groups": _slider("In groups that differ", 1, max(_WIDEST_BEAM, groups), groups, "groups"),
            "diversity": _slider("How much they differ", 0, max(3.0, diversity), diversity, "diversity"),
        }


def _drawing(stored: SearchConfig) -> dict[str, Any]:
    with gr.Row(elem_id="boldness"):
        boldest = max(2.0, stored.temperature)
        temperature = _slider("Temperature", 0.1, boldest, stored.temperature, "temperature")
        seed = gr.Number(stored.seed, label="Seed", precision=0, minimum=0, maximum=2**53, buttons=[], elem_id="seed")
    with gr.Row(elem_id="nucleus"):
        top_k = _slider("From so many words (0: all)", 0, max(100, stored.top_k), stored.top_k, "top-k")
        top_p = _slider("From this share of chances", 0.05, 1.0, stored.top_p, "top-p")
    return {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}


def changes(panel: dict[str, Any]) -> list[Any]:
    """The events that tell of a wish: words are complete when the visitor leaves them or presses Enter."""
    typed = [part for part in panel.values() if isinstance(part, gr.Textbox)]
    others = [part.change for part in panel.values() if not isinstance(part, gr.Textbox)]
    return [*(part.submit for part in typed), *(part.blur for part in typed), *others]


def unsteered(stored: SearchConfig) -> list[Any]:
    """What the panel's components hold when nothing is wished for."""
    return [getattr(stored, field.name, "") for field in fields(Wishes)]


def taking_wishes(handler: Callable[[str | None, str, Wishes], Any]) -> Callable[..., Any]:
    """`handler` as Gradio calls it: picture, model, then every wish as an argument of its own, named for the API."""

    def caption(picture: str | None, model: str, *given: Any) -> Any:
        return handler(picture, model, Wishes(*given))

    names = ["picture", "model", *(field.name for field in fields(Wishes))]
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    caption.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    # As Gradio reads it, for tools of language models, which it calls by the function's name.
    told = "\n".join(f"    {name}: {_TOLD[name]}" for name in names)
    caption.__doc__ = f"Caption a picture.\n\nArgs:\n{told}"
    return caption


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(phrase.strip() for phrase in text.split(",") if phrase.strip())


def _words(label: str, example: str, name: str) -> gr.Textbox:
    return gr.Textbox("", label=label, placeholder=example, max_lines=1, elem_id=name)


def _slider(label: str, lowest: float, highest: float, value: float, name: str) -> gr.Slider:
    step = 0.05 if isinstance(value, float) else 1
    slider = gr.Slider(lowest, highest, value=value, step=step, label=label, buttons=[], elem_id=name)
    return preprocessed(slider, by=partial(_number, label, slider.preprocess))


def _number(label: str, within: Callable[[float], float], value: object) -> float | None:
    """What came from a slider, `within` its ends, or from a program, which may leave it to the model."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise gr.Error(f"{label} must be a number, but {value!r} came.", print_exception=False)
    return within(value)
