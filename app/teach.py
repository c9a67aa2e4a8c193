"""The tab "Teach": captions are corrected and kept, a model learns from them, and is accepted or discarded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, Final, NamedTuple

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from captioner.errors import CaptionerError, DataError

from .desk import Desk
from .home import Home
from .lessons import MOST_CAPTIONS, Lessons
from .preprocessing import preprocessed
from .retraining import LEAST_PICTURES, Retraining
from .takeaway import FETCH
from .teach_correcting import SHOWN, UNCHANGED, Correcting, View
from .teach_drawing import draw_outcome, draw_standing, draw_wrong
from .uploads import uploads

_SECONDS_BETWEEN_LOOKS: Final = 1.5

# Tells Python which button of a drawing was pressed.
_CHOOSE = """
element.addEventListener("click", event => {
  const button = event.target.closest("[data-action]");
  if (button) trigger("click", {action: button.dataset.action, name: button.dataset.name || ""});
});
"""

# The keys of the caption's text box: Enter and Shift+Enter are Gradio's own.
_KEYS = """
document.addEventListener("keydown", event => {
  const box = event.target.closest?.("#teach-captions textarea");
  if (!box) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    box.setRangeText("\\n", box.selectionStart, box.selectionEnd, "end");
    box.dispatchEvent(new Event("input", {bubbles: true}));
  } else if (event.key === "PageDown") document.querySelector("#teach-skip").click();
  else if (event.key === "PageUp") document.querySelector("#teach-back").click();
  else return;
  event.preventDefault();
  event.stopPropagation();
}, true);
"""

# The box may come only with the answer.
_FOCUS = """() => {
  let tries = 20;
  const look = () => {
    const box = document.querySelector("#teach-captions textarea");
    if (box && box.offsetParent) {
      box.focus({preventScroll: true});
      box.setSelectionRange(box.value.length, box.value.length);
    } else if (tries--) setTimeout(look, 50);
  };
  setTimeout(look, 50);
}"""

# Asked in the browser, whose answer is the input.
_SURE = """() => [confirm("Delete what was learnt? Your pictures and captions stay.")]"""

_KEYS_TOLD = (
    '<p class="hint"><kbd>Enter</kbd> keeps and goes on · <kbd>Ctrl</kbd>+<kbd>Enter</kbd> begins another caption, '
    f"up to {MOST_CAPTIONS} · <kbd>Page Down</kbd> skips · <kbd>Page Up</kbd> goes back</p>"
)


class Shown(NamedTuple):
    """What the tab shows of the teaching, in the order of its components."""

    standing: Any
    start: Any
    stop: Any
    go_on: Any
    verdict: Any
    """Whether there is one to be found."""
    outcome: Any
    discard: Any
    wrong: Any
    timer: Any


def teach_tab(desk: Desk, model: gr.Dropdown, home: Home, page: gr.Blocks, tab: gr.Tab) -> None:
    """Lay out the components and say what happens; `model` suggests, and `tab` is the one they are laid out in."""
    lessons = Lessons(home.collection)
    retraining = Retraining(home, desk)
    with gr.Row(elem_id="teach-tab", equal_height=False):
        with gr.Column(scale=7, min_width=300, elem_id="teach-correct"):
            collection = _lay_out_collection(Correcting(lessons, desk), model, page, tab)
        with gr.Column(scale=5, min_width=300, elem_id="teach-side"):
            begin = _lay_out_teaching(retraining, lessons, desk, model, page)
            collection.kept.render()
    # How many are kept decides whether a model can be taught.
    collection.kept.change(**begin)
    page.load(partial(_offered, desk, retraining), None, model, show_progress="hidden", api_visibility="private")


def _lay_out_collection(correcting: Correcting, model: gr.Dropdown, page: gr.Blocks, tab: gr.Tab) -> View:
    current, shown, given = gr.State(), gr.State(SHOWN), gr.State("")
    told = gr.HTML(js_on_load=_CHOOSE, apply_default_css=False, elem_id="teach-told")
    with gr.Column(visible=False, elem_id="teach-lesson") as lesson:
        picture = gr.HTML(js_on_load=_KEYS, apply_default_css=False, elem_id="teach-picture")
        captions = gr.Textbox(
            label="What is to be said about it",
            lines=1,
            max_lines=MOST_CAPTIONS + 1,
            buttons=[],
            elem_id="teach-captions",
        )
        new_words = gr.HTML(elem_id="teach-new-words")
        with gr.Row(elem_id="teach-buttons"):
            keep = gr.Button("Keep", variant="primary", min_width=60, elem_id="teach-keep")
            skip = gr.Button("Skip", min_width=60, elem_id="teach-skip")
            back = gr.Button("Back", min_width=60, elem_id="teach-back")
            remove = gr.Button("Remove", min_width=60, elem_id="teach-remove")
        gr.HTML(_KEYS_TOLD, elem_id="teach-keys")
    upload = preprocessed(
        gr.File(
            label="Add pictures",
            file_count="multiple",
            file_types=["image"],
            type="filepath",
            height=120,
            buttons=[],
            elem_id="teach-upload",
        ),
        by=uploads,
    )
    kept = gr.HTML(js_on_load=_CHOOSE, apply_default_css=False, elem_id="teach-kept", render=False)
    components = View(current, shown, given, lesson, picture, captions, new_words, told, kept)
    here, outputs = [model, current, shown], list(components)
    written = [*here, given, captions]
    quietly: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    # Not queued: what a person writes must not be lost because the page is busy.
    at_once: dict[str, Any] = {"queue": False, **quietly}
    focus: dict[str, Any] = {"fn": None, "js": _FOCUS, "api_visibility": "private"}
    taken = upload.upload(correcting.take_in, [*here, upload], outputs, concurrency_id="model", **quietly)
    taken.then(lambda: None, None, upload, **quietly).then(**focus)
    gr.on([captions.submit, keep.click], _sentences(correcting.keep), [*here, captions], outputs, **at_once).then(
        **focus
    )
    skip.click(_sentences(correcting.skip), written, outputs, **at_once).then(**focus)
    back.click(_sentences(correcting.back), written, outputs, **at_once).then(**focus)
    remove.click(_sentences(_remove_current(correcting)), written, outputs, **at_once).then(**focus)
    for drawing in (kept, told):
        drawing.click(_choosing(correcting), written, outputs, **at_once).then(**focus)
    captions.input(_new_words(correcting), [model, captions], new_words, trigger_mode="always_last", **at_once)
    page.load(_sentences(correcting.look), [model], outputs, **at_once)
    # Pictures come from the tab for many pictures, too.
    tab.select(_sentences(correcting.look_again), here, outputs, **at_once)
    return components


def _sentences(step: Callable[..., View]) -> Callable[..., View]:
    """The same, where what cannot be done is a sentence and leaves what a person has written."""

    @wraps(step)
    def told(*given: Any) -> View:
        try:
            return step(*given)
        except CaptionerError as error:
            return UNCHANGED._replace(told=draw_wrong(str(error)))

    return told


def _new_words(correcting: Correcting) -> Callable[[str, str], str]:
    def new_words(model: str, text: str) -> str:
        try:
            return correcting.new_words(model, text)
        except CaptionerError as error:
            return draw_wrong(str(error))

    return new_words


def _remove_current(correcting: Correcting) -> Callable[[str, str | None, int, str, str], View]:
    def remove(model: str, current: str | None, shown: int, given: str, text: str) -> View:
        return UNCHANGED if current is None else correcting.remove(model, current, shown, given, text, current)

    return remove


def _choosing(correcting: Correcting) -> Callable[[str, str | None, int, str, str, gr.EventData], View]:
    def choose(model: str, current: str | None, shown: int, given: str, text: str, chosen: gr.EventData) -> View:
        pressed = (str(chosen.action), str(chosen.name))
        return _sentences(correcting.choose)(model, current, shown, given, text, *pressed)

    return choose


def _lay_out_teaching(
    retraining: Retraining, lessons: Lessons, desk: Desk, model: gr.Dropdown, page: gr.Blocks
) -> dict[str, Any]:
    """Lay it out -> how an event must be listened to that has it shown anew."""
    standing = gr.HTML(elem_id="teach-standing")
    wrong = gr.HTML(elem_id="teach-wrong")
    start = gr.Button("Teach the model", variant="primary", elem_id="teach-start")
    stop = gr.Button("Stop", visible=False, elem_id="teach-stop")
    go_on = gr.Button("Go on", variant="primary", visible=False, elem_id="teach-go-on")
    with gr.Column(visible=False, elem_id="teach-verdict") as verdict:
        outcome = gr.HTML(elem_id="teach-outcome")
        download = gr.Button("Download the whole comparison", elem_id="teach-download")
        name = gr.Textbox(label="Name of the new model", max_lines=1, max_length=64, elem_id="teach-name")
        accept = gr.Button("Accept the new model", variant="primary", elem_id="teach-accept")
    discard = gr.Button("Discard it", visible=False, elem_id="teach-discard")
    made = gr.DownloadButton(visible=False)
    timer = gr.Timer(_SECONDS_BETWEEN_LOOKS, active=False)
    shown = list(Shown(standing, start, stop, go_on, verdict, outcome, discard, wrong, timer))
    quietly: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    look = partial(_look, retraining, lessons)
    showing: dict[str, Any] = {"fn": look, "inputs": None, "outputs": shown, **quietly}
    naming: dict[str, Any] = {"fn": retraining.proposed_name, "inputs": None, "outputs": name, **quietly}
    page.load(**showing).then(**naming)
    timer.tick(**showing)
    start.click(_then(look, lambda chosen: retraining.start(chosen, lessons)), model, shown, **quietly).then(**naming)
    fetched = download.click(partial(_comparison, retraining), None, made, **quietly)
    fetched.success(None, made, js=FETCH, api_visibility="private")
    stop.click(_then(look, retraining.stop), None, shown, **quietly)
    go_on.click(_then(look, retraining.go_on), None, shown, **quietly)
    discard.click(
        _then(look, lambda sure: retraining.discard() if sure else None),
        gr.Checkbox(visible=False),
        shown,
        js=_SURE,
        **quietly,
    )
    accept.click(_accepting(retraining, desk, look), [name], [model, *shown], concurrency_id="model", **quietly)
    return showing


def _comparison(retraining: Retraining) -> Any:
    """The whole comparison as a file where Gradio serves it, if there is one."""
    outcome = retraining.outcome()
    if outcome is None:
        raise gr.Error("There must be a comparison to download, but there is none any more.", print_exception=False)
    return save_bytes_to_cache(outcome.report, "comparison.html", get_upload_folder())


def _look(retraining: Retraining, lessons: Lessons, wrong: str = "") -> Shown:
    standing = retraining.standing()
    state, outcome = standing.state, retraining.outcome()
    try:
        pictures = len(lessons.kept())
    except DataError as error:
        pictures, wrong = 0, wrong or str(error)
    return Shown(
        draw_standing(standing, pictures=pictures),
        gr.update(visible=state == "none", interactive=pictures >= LEAST_PICTURES),
        gr.update(visible=state == "running"),
        gr.update(visible=state in ("stopped", "failed")),
        gr.update(visible=outcome is not None),
        "" if outcome is None else draw_outcome(outcome, lessons),
        gr.update(visible=state in ("stopped", "failed", "done")),
        wrong,
        gr.Timer(active=state == "running"),
    )


def _then(look: Callable[..., Shown], act: Callable[..., None]) -> Callable[..., Shown]:
    """Do something, then show how it stands; what cannot be done is a sentence."""

    def done(*given: Any) -> Shown:
        try:
            act(*given)
        except CaptionerError as error:
            return look(draw_wrong(str(error)))
        return look()

    return done


def _accepting(retraining: Retraining, desk: Desk, look: Callable[..., Shown]) -> Callable[[str], tuple[Any, ...]]:
    def accept(name: str) -> tuple[Any, ...]:
        try:
            accepted = retraining.accept(name)
        except CaptionerError as error:
            return gr.skip(), *look(draw_wrong(str(error)))
        told = f'<p role="status">{accepted} captions from now on.</p>'
        return gr.update(choices=list(desk.models), value=accepted, visible=True), *look(told)

    return accept


def _offered(desk: Desk, retraining: Retraining) -> Any:
    """The models there are now, the accepted one chosen."""
    accepted = retraining.accepted
    return gr.skip() if accepted is None else gr.update(choices=list(desk.models), value=accepted)
