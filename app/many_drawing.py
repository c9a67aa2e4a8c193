"""A batch as HTML: a card for each picture, how far its captions are, and what can be taken along.

Every text is escaped, since words come from a model file and names from a stranger's disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final
from urllib.parse import quote

from .many_batch import LONGEST_CAPTION, Batch, Picture
from .many_downloads import Download
from .many_run import THUMBNAIL, Pace
from .many_teaching import Added

_SORTS: Final = {"sure": "Least sure first", "came": "As they came", "name": "By name"}
# Of the sentences about pictures that could not be added.
_MOST_WRONG: Final = 3
_FILTERS: Final = {"all": "All", "uncertain": "Uncertain", "failed": "Not captioned", "edited": "Edited"}


def draw_gallery() -> str:
    """The frame of the gallery, which never changes; a script puts the cards into it."""
    filters = "".join(
        f'<label><input type="radio" name="many-filter" value="{value}"{" checked" if value == "all" else ""}>'
        f'<span>{told} <span class="count"></span></span></label>'
        for value, told in _FILTERS.items()
    )
    sorts = "".join(f'<option value="{value}">{told}</option>' for value, told in _SORTS.items())
    return (
        '<p class="heard" role="status"></p>'
        '<div class="tools" hidden>'
        f'<fieldset><legend class="heard">Show</legend>{filters}</fieldset>'
        f'<label class="sort">Sort <select aria-label="Sort">{sorts}</select></label></div>'
        '<p class="hint" hidden>Correct a caption where it stands: Enter keeps it and goes to the next, Escape takes '
        "the change back. What you corrected, no other run changes.</p>"
        '<ol role="list"></ol>'
    )


def draw_cards(batch: Batch) -> list[str]:
    """A card for each picture that the model was asked about, in the order they came."""
    return [_draw_card(place, picture) for place, picture in enumerate(batch.pictures) if picture.caption is not None]


def _draw_card(place: int, picture: Picture) -> str:
    caption = picture.caption
    assert caption is not None
    name, told = escape(picture.name), escape(picture.text or "")
    kind = "failed" if picture.failed else "uncertain" if caption.level == "low" else "sure"
    sure = -1.0 if caption.uncertain else caption.confidence
    card = (
        f'<li data-place="{place}" data-name="{name}" data-kind="{kind}" '
        f'data-sure="{"" if sure is None else f"{sure:.4f}"}"{" data-edited" if picture.edited else ""}>'
    )
    if picture.failed:
        return f'{card}<p class="reason">{escape(caption.error or "")}</p><p class="about">{name}</p></li>'
    image = (
        f'<img loading="lazy" decoding="async" alt="{told}" src="{_address(picture.thumbnail)}" '
        f'width="{THUMBNAIL[0]}" height="{THUMBNAIL[1]}">'
        if picture.thumbnail
        else ""
    )
    return (
        f'{card}<div class="sight">{image}</div>'
        f'<textarea rows="2" maxlength="{LONGEST_CAPTION}" autocomplete="off" aria-label="Caption of {name}" '
        f'data-said="{escape(caption.text or "")}">{told}</textarea>'
        f'<p class="about"><span class="name" title="{name}">{name}</span>{_draw_level(picture)}'
        '<span class="mark">edited</span></p></li>'
    )


def _draw_level(picture: Picture) -> str:
    caption = picture.caption
    assert caption is not None
    if caption.uncertain:
        return '<span class="level" title="It looks unlike the photographs the model knows.">uncertain</span>'
    if caption.confidence is None:
        return ""
    told = f"{caption.confidence:.0%} likely to be as good as a person’s"
    return f'<span class="level" title="{told}">{caption.level} confidence</span>'


def draw_progress(pace: Pace, *, running: bool) -> str:
    """How far the captions are, as a bar and a sentence; empty without pictures."""
    if pace.total == 0:
        return ""
    bar = f'<progress max="{pace.total}" value="{pace.done}" aria-label="Captioned"></progress>' if running else ""
    return f"{bar}<p>{escape(tell_progress(pace, running=running))}</p>"


def tell_progress(pace: Pace, *, running: bool) -> str:
    """`37 of 120, 21 a second, about 4 seconds left, 2 could not be captioned`."""
    parts = [f"{pace.done:,} of {pace.total:,}"]
    if not running and pace.done == pace.total:
        parts = [f"{pace.total:,} {'picture' if pace.total == 1 else 'pictures'}, done"]
    elif not running:
        parts.append("stopped")
    elif pace.a_second is None:
        parts.append("waiting for the model")
    elif pace.done < pace.total:
        parts += [_tell_speed(pace.a_second), f"{_tell_time(pace.seconds_left or 0)} left"]
    if pace.failed:
        parts.append(f"{pace.failed:,} could not be captioned")
    return ", ".join(parts)


def _tell_speed(a_second: float) -> str:
    return f"{a_second:.0f} a second" if a_second >= 1.5 else f"{max(1, a_second * 60):.0f} a minute"


def _tell_time(seconds: float) -> str:
    if seconds < 1.5:
        return "a moment"
    return f"about {seconds:.0f} seconds" if seconds < 99.5 else f"about {seconds / 60:.0f} minutes"


def draw_sentences(sentences: Sequence[str]) -> str:
    """What there is to know about what came, or what was wished for; empty for nothing."""
    told = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    return f'<div role="alert">{told}</div>' if told else ""


def draw_added(added: Added) -> str:
    """What became of the pictures that were to be added to those that teach."""
    told = [
        (added.kept, "kept to teach, with what you wrote"),
        (added.waiting, "waiting on the tab Teach to be corrected"),
        (added.known, "in the collection already, and left alone"),
        (added.gone, "no longer here, to be dropped again"),
    ]
    sentences = [f"{_are(count)} {what}." for count, what in told if count] or ["No picture has a caption yet."]
    wrong = [*added.wrong[:_MOST_WRONG]]
    if len(added.wrong) > _MOST_WRONG:
        wrong.append(f"So it went with {len(added.wrong) - _MOST_WRONG:,} more.")
    return f'<p role="status">{" ".join(sentences)}</p>{draw_sentences(wrong)}'


def _are(pictures: int) -> str:
    return "1 picture is" if pictures == 1 else f"{pictures:,} pictures are"


def draw_download(download: Download) -> str:
    """A link to a file, which a script follows at once."""
    name = escape(download.path.name)
    missing = ""
    if download.left_out:
        missing = f" without {download.left_out:,} pictures, which are no longer kept; drop them again to have them"
    return f'<p role="status"><a href="{_address(download.path)}" download="{name}">{name}</a>{missing}</p>'


def _address(path: Path | None) -> str:
    """Where Gradio serves a file of its folder."""
    return f"gradio_api/file={quote(str(path))}"
