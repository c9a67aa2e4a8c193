"""Many pictures at once: drop files or an archive, watch captions come, correct them, take them along."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Generator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final

import gradio as gr

from captioner.errors import CaptionerError

from .desk import Asked, Desk
from .lessons import Lessons
from .many_batch import Batch
from .many_downloads import KINDS, write_download
from .many_drawing import (
    draw_added,
    draw_cards,
    draw_download,
    draw_gallery,
    draw_progress,
    draw_sentences,
    tell_progress,
)
from .many_intake import take
from .many_run import Pace, pace, run
from .many_teaching import Added, add_to_lessons
from .preprocessing import preprocessed
from .uploads import Upload, Uploads, uploads
from .wishes import Wishes

_GALLERY: Final = (Path(__file__).parent / "many_gallery.js").read_text(encoding="utf-8")
# Follows the link that came, and says so to the gallery.
_FOLLOW: Final = """
watch("value", () => {
  const link = element.querySelector("a");
  if (!link) return;
  link.click();
  window.dispatchEvent(new Event("many-downloaded"));
});
"""
# Asked in the browser, whose answer comes as the second input.
_SURE: Final = """
batch => [batch, confirm("Remove all pictures and captions from this page? What was not downloaded is lost.")]
"""
# Runs of different visitors take turns, some pictures at a time; more visitors wait.
_RUNS_AT_A_TIME: Final = 4
# When Gradio has forgotten the session.
_GONE: Final = "Your pictures are no longer here; drop them again."
# Seconds between two looks at the gallery: the more cards, the longer a browser is busy with each.
_PAUSE: Final = 0.3
_PAUSE_PER_PICTURE: Final = 0.001


def many_tab(desk: Desk, model: gr.Dropdown, stored: Uploads, lessons: Lessons | None) -> None:
    """Lay out the components and say what happens when pictures come; `model` says who captions them.

    They lie in `stored`, and can be added to `lessons`, where there are any.
    """
    limits = stored.limits
    private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    batch = gr.State(delete_callback=_discard)
    with gr.Column(elem_id="many-tab"):
        gr.HTML(
            f"<p>Up to {limits.pictures:,} pictures, or a ZIP or tar archive of them; each file may have "
            f"{limits.file_megabytes} MB, all together {limits.together_megabytes:,} MB.</p>",
            elem_id="many-hint",
        )
        files = preprocessed(
            gr.File(
                file_count="multiple", label="Pictures", show_label=False, height=140, buttons=[], elem_id="many-files"
            ),
            by=uploads,
        )
        wishes = _wishes_panel(desk)
        sentences = gr.HTML(elem_id="many-sentences")
        progress = gr.HTML(elem_id="many-progress")
        with gr.Row(visible=False, elem_id="many-actions") as actions:
            go = gr.Button("Stop", variant="primary", size="sm", scale=0, elem_id="many-go")
            anew = gr.Button("Begin anew", size="sm", scale=0, elem_id="many-anew")
            teach = gr.Button(
                "Keep these to teach", size="sm", scale=0, visible=lessons is not None, elem_id="many-teach"
            )
            gr.HTML("<span>Download</span>", elem_id="many-download")
            takeaways = [
                gr.Button(kind, size="sm", scale=0, elem_id=f"many-{kind.lower().replace(' ', '-')}") for kind in KINDS
            ]
        link = gr.HTML(js_on_load=_FOLLOW, apply_default_css=False, elem_id="many-link")
        gallery = gr.HTML(
            html_template=draw_gallery(), js_on_load=_GALLERY, apply_default_css=False, elem_id="many-gallery"
        )
    shown = [batch, progress, actions, go, gallery]
    running: dict[str, Any] = {
        "fn": partial(caption, desk),
        "inputs": [batch, model, *wishes],
        "outputs": [sentences, *shown[1:]],
        "concurrency_id": "many",
        "concurrency_limit": _RUNS_AT_A_TIME,
        **private,
    }
    came = files.upload(partial(take_uploads, stored), [batch, files], [files, sentences, *shown], **private)
    came.then(**running)
    pressed = go.click(press, batch, [sentences, *shown], queue=False, trigger_mode="multiple", **private)
    pressed.then(**running)
    # Not queued: a correction must not be lost because the page is busy.
    gallery.submit(edit, batch, [batch, sentences], queue=False, trigger_mode="multiple", **private)
    anew.click(
        begin_anew, [batch, gr.Checkbox(visible=False)], [sentences, link, *shown], js=_SURE, queue=False, **private
    )
    if lessons is not None:
        teach.click(partial(keep_to_teach, lessons), batch, sentences, concurrency_id="teach", **private)
    for button, kind in zip(takeaways, KINDS, strict=True):
        button.click(partial(download, kind), batch, [sentences, link], **private)


def _wishes_panel(desk: Desk) -> list[gr.components.Component]:
    """The wishes that make sense for many pictures, in the order that `caption` takes them."""
    longest = desk.captioner(desk.models[0]).search.max_length
    with (
        gr.Accordion("Steer the sentences", open=False, elem_id="many-steer", elem_classes="fold"),
        gr.Row(elem_id="many-wishes"),
    ):
        return [
            gr.Textbox("", label="Must not say", placeholder="man, woman", max_lines=1, elem_id="many-forbid"),
            gr.Textbox("", label="Must say", placeholder="dog", max_lines=1, elem_id="many-require"),
            gr.Textbox("", label="Begins with", placeholder="a photo of", max_lines=1, elem_id="many-beginning"),
            gr.Slider(1, max(40, longest), longest, step=1, label="Words at most", buttons=[], elem_id="many-longest"),
        ]


def take_uploads(stored: Uploads, batch: Batch | None, came: list[Upload]) -> tuple[Any, ...]:
    """Add what came to the visitor's pictures, and want their captions."""
    if batch is None:
        batch = Batch(stored.folder / "many" / secrets.token_urlsafe(16), stored.room)
    notes = take(batch, came, stored.limits)
    if batch.discarded:  # the visitor has begun anew meanwhile
        batch.discard()
        return (gr.skip(),) * 7
    batch.wanted = bool(batch.undone(1))
    return None, draw_sentences(notes), *_show(batch, pace(batch))


def caption(
    desk: Desk, batch: Batch | None, model: str, forbid: str, require: str, beginning: str, longest: float
) -> Generator[tuple[Any, ...], None, None]:
    """Caption what is not done, if that is wanted, showing more and more."""
    if batch is None or not batch.wanted:
        yield (gr.skip(),) * 5
        return
    try:
        wishes = Wishes(forbid=forbid, require=require, beginning=beginning, max_length=longest)
        captioner = desk.captioner(model)
        asked = Asked(model, wishes.search(captioner.search), wishes.steering())
        notes = draw_sentences(asked.steering.needless(captioner.model.vocabulary))
        with closing(run(batch, desk, asked)) as going:
            shown = -math.inf
            for now in going:
                if time.monotonic() - shown >= max(_PAUSE, _PAUSE_PER_PICTURE * now.total):
                    yield notes or gr.skip(), *_show_unless_discarded(batch, now)
                    shown = time.monotonic()
    except CaptionerError as error:
        batch.wanted = False
        yield draw_sentences([str(error)]), *_show_unless_discarded(batch, pace(batch))
    else:
        yield gr.skip(), *_show_unless_discarded(batch, pace(batch))


def press(batch: Batch | None) -> tuple[Any, ...]:
    """Stop; or go on; or, where all is done, caption everything again that nobody corrected."""
    if batch is None:
        return draw_sentences([_GONE]), *(gr.skip(),) * 5
    batch.wanted = not batch.wanted
    if batch.wanted and not batch.undone(1):
        batch.forget()
    return gr.skip(), *_show(batch, pace(batch))


def edit(batch: Batch | None, edited: gr.EventData) -> tuple[Any, Any]:
    """Keep a corrected caption, or say why not.

    The batch is given back: what is given lives on, though a broken connection made Gradio think the visitor gone.
    """
    if batch is None:
        return gr.skip(), draw_sentences([_GONE])
    try:
        batch.edit(int(edited.place), str(edited.text))
    except (AttributeError, TypeError, ValueError, OverflowError):  # not from this page
        sentence = "A correction must be a text and the place of its picture, but something else came."
        return batch, draw_sentences([sentence])
    return batch, gr.skip()


def begin_anew(batch: Batch | None, sure: bool) -> tuple[Any, ...]:
    """Forget the pictures, and what was said and written of them, if the visitor is sure."""
    if batch is None or not sure:
        return (gr.skip(),) * 7
    batch.discard()
    return "", "", None, *_show(Batch(batch.folder, batch.room), Pace(0, 0, 0))[1:]


def keep_to_teach(lessons: Lessons, batch: Batch | None) -> Generator[str, None, None]:
    """Add the pictures to those that teach, telling now and then how many of them are done."""
    if batch is None:
        yield draw_sentences([_GONE])
        return
    added, shown = Added(), time.monotonic()
    try:
        for number in add_to_lessons(batch, lessons, added):
            if time.monotonic() - shown >= _PAUSE:
                yield f'<p role="status">{number:,} of {len(batch.pictures):,} pictures.</p>'
                shown = time.monotonic()
        yield draw_added(added)
    except CaptionerError as error:
        yield draw_sentences([str(error)]) + draw_added(added)


def download(kind: str, batch: Batch | None) -> tuple[Any, ...]:
    """Write the captions in one of the kinds, and hand them out."""
    if batch is None:
        return draw_sentences([_GONE]), ""
    try:
        return gr.skip(), draw_download(write_download(batch, kind))
    except CaptionerError as error:
        return draw_sentences([str(error)]), ""


def _show(batch: Batch, now: Pace) -> tuple[Any, ...]:
    """What the page shows of a batch: its state, the progress, the actions, the first of them, and the gallery."""
    label = "Stop" if batch.wanted else "Go on" if now.done < now.total else "Caption again"
    news = {
        "cards": draw_cards(batch),
        "said": tell_progress(now, running=batch.wanted) if now.total else "",
        "running": batch.wanted,
    }
    return (
        batch,
        draw_progress(now, running=batch.wanted),
        gr.Row(visible=now.total > 0),
        gr.Button(label, variant="primary" if label != "Caption again" else "secondary"),
        news,
    )


def _show_unless_discarded(batch: Batch, now: Pace) -> tuple[Any, ...]:
    """The same without the state, which a run does not change; the visitor may have begun anew meanwhile."""
    return (gr.skip(),) * 4 if batch.discarded else _show(batch, now)[1:]


def _discard(batch: Batch | None) -> None:
    """When the visitor has left."""
    if batch is not None:
        batch.discard()
