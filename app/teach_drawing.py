"""The collection and the teaching as HTML; what is chosen in it is told by `data-` attributes of its buttons.

Every text is escaped: names and captions are anybody's.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from captioner.errors import ImageError
from captioner.inference.standalone import inlined
from captioner.text.vocabulary import Vocabulary

from .lessons import Lesson, Lessons
from .retraining import LEAST_PICTURES, Outcome, Standing

ENOUGH_TO_TELL: Final = 10
"""Held-out pictures from which on an interval is worth its name."""
MEASURABLE: Final = 5 * ENOUGH_TO_TELL
"""Pictures in a collection of which so many are held out."""

_PICTURE_SIDE: Final = 640
_THUMBNAIL_SIDE: Final = 96
_EXAMPLES: Final = 3

_STAGES: Final = {
    "checking": "Checking the pictures and captions",
    "looking": "Looking at the pictures",
    "learning": "Learning",
    "comparing": "Comparing the model with the one before",
    "calibrating": "Learning how sure it may be",
    "done": "Done",
}


def draw_lesson(lessons: Lessons, lesson: Lesson, *, waiting: int) -> str:
    """The picture, large, with how many wait; or why it cannot be shown."""
    told = f"{escape(lesson.title)} · " + (
        f"{_count(waiting, 'picture')} to correct"
        if lesson.split is None
        else "kept already; change it and keep it again"
    )
    try:
        source = inlined(lessons.picture(lesson), longest=_PICTURE_SIDE)
    except ImageError:
        return f'<p class="hint">{told}</p><p class="error">This picture can no longer be read; remove it.</p>'
    return f'<img alt="{escape(lesson.title)}" src="{source}"><p class="hint">{told}</p>'


def draw_new_words(vocabulary: Vocabulary, text: str) -> str:
    """The words that the model does not know; empty when it knows all."""
    words = (word for line in text.splitlines() for word in vocabulary.normalise(line))
    new = dict.fromkeys(word for word in words if word not in vocabulary)
    if not new:
        return ""
    marked = ", ".join(f"<mark>{escape(word)}</mark>" for word in new)
    return (
        f'<p class="hint">New to the model: {marked}. It learns a word that at least two of the captions it learns '
        "from have.</p>"
    )


def draw_told(sentence: str, *, undo: Lesson | None = None) -> str:
    """What was done; with a button that undoes a removal."""
    button = ""
    if undo is not None:
        button = f' <button type="button" data-action="undo" data-name="{escape(undo.name)}">Undo</button>'
    return f'<p role="status">{escape(sentence)}{button}</p>'


def draw_wrong(sentence: str) -> str:
    """What could not be done."""
    return f'<p class="error" role="alert">{escape(sentence)}</p>'


def draw_kept(lessons: Lessons, kept: Sequence[Lesson], *, shown: int) -> str:
    """How much there is, and the pictures kept last, each with buttons to change and to remove it."""
    if not kept:
        return (
            '<h2>Nothing kept yet</h2><p class="hint">Add pictures and correct what the model says about them. What '
            "you keep stays here between visits, and the model can learn from it.</p>"
        )
    captions = sum(len(lesson.captions) for lesson in kept)
    rows = "".join(_draw_row(lessons, lesson) for lesson in list(reversed(kept))[:shown])
    more = len(kept) - shown
    button = f'<button type="button" data-action="more">Show {min(more, shown)} more</button>' if more > 0 else ""
    return f"<h2>{_count(len(kept), 'picture')}, {_count(captions, 'caption')}</h2><ul>{rows}</ul>{button}"


def _draw_row(lessons: Lessons, lesson: Lesson) -> str:
    name, title = escape(lesson.name), escape(lesson.title)
    try:
        image = f'<img alt="" src="{_thumbnail(lessons.picture(lesson))}">'
    except ImageError:
        image = "<span></span>"
    captions = "".join(f"<p>{escape(caption)}</p>" for caption in lesson.captions)
    return (
        f"<li>{image}<div>{captions}</div><div class=actions>"
        f'<button type="button" data-action="open" data-name="{name}" aria-label="Change {title}">Change</button>'
        f'<button type="button" data-action="remove" data-name="{name}" aria-label="Remove {title}">Remove</button>'
        "</div></li>"
    )


def draw_standing(standing: Standing, *, pictures: int) -> str:
    """What the teaching does, or why none can begin."""
    match standing.state:
        case "none":
            return f'<p class="hint">{_prospect(pictures)}</p>'
        case "running":
            return _draw_progress(standing)
        case "failed":
            sentence = standing.news.sentence if standing.news else ""
            return draw_wrong(f"The teaching could not go on. {sentence}")
        case "stopped":
            steps = standing.news.done if standing.news else 0
            return (
                "<p>The teaching was stopped. What it has learnt is kept: it can go on where it stood.</p>"
                + _draw_development(standing.evaluations)
                if steps or standing.evaluations
                else "<p>The teaching was stopped. It can go on.</p>"
            )
    return ""


def _prospect(pictures: int) -> str:
    if pictures < LEAST_PICTURES:
        missing = LEAST_PICTURES - pictures
        return f"Keep {missing} more to begin: a model can learn from {LEAST_PICTURES} pictures on."
    held_out = "Two in five pictures" if pictures <= 100 else "Some pictures"
    also = "" if pictures >= MEASURABLE else f" With {MEASURABLE} there are enough to tell whether it got better."
    return f"{held_out} are held out: the model is judged by what it says about pictures it has not learnt from.{also}"


def _draw_progress(standing: Standing) -> str:
    news = standing.news
    stage = _STAGES.get(news.stage, "Beginning") if news else "Beginning"
    if news is None or not news.of:
        bar, detail = f'<progress aria-label="{stage}"></progress>', ""
    else:
        bar = f'<progress aria-label="{stage}" value="{news.done}" max="{news.of}"></progress>'
        left = "" if news.seconds_left is None else f", at most {_duration(news.seconds_left)} left"
        detail = f"Step {news.done} of {news.of}{left}."
    return (
        f"<p><b>{stage}</b> <span class=quiet>from {escape(standing.model)}</span></p>{bar}"
        f'<p class="hint">{detail}</p>{_draw_development(standing.evaluations)}{_draw_account(standing.report)}'
        '<p class="hint">You can close this page, and go on with other things.</p>'
    )


def _draw_development(evaluations: Sequence[Mapping[str, Any]]) -> str:
    if not evaluations:
        return ""
    best = max(float(each["cider_d"]) for each in evaluations)
    return (
        f'<p class="hint">On the pictures to choose by, CIDEr-D was {float(evaluations[0]["cider_d"]):.0f} before '
        f"and is {best:.0f} at best so far.</p>"
    )


def _draw_account(report: Mapping[str, Any] | None) -> str:
    """What the collection was found to hold."""
    if report is None:
        return ""
    kept = {split: counts["pictures"] for split, counts in report["kept"].items()}
    told = (
        f"{kept.get('train', 0)} pictures to learn from, {kept.get('validation', 0)} to choose by, "
        f"{kept.get('test', 0)} to judge by."
    )
    dropped = _count(len(report["dropped"]), "picture or caption was", "pictures or captions were")
    left_out = f" {dropped} left out, such as one that looks like another." if report["dropped"] else ""
    return f'<p class="hint">{told}{left_out}</p>'


def draw_outcome(outcome: Outcome, lessons: Lessons) -> str:
    """The model before and the one after, side by side."""
    cider = outcome.figures["scores"]["cider_d"]
    low, high = cider["intervals_95"]["gain"]
    interval = (
        f'<p class="hint">95 % interval of the gain in CIDEr-D: {low:+.0f} to {high:+.0f}.</p>'
        if outcome.figures["pictures"] >= ENOUGH_TO_TELL
        else ""
    )
    rows = "".join(
        f"<tr><th scope=row>{label}</th><td>{figures['old']:.1f}</td><td>{figures['new']:.1f}</td></tr>"
        for label, figures in (
            (label, outcome.figures["scores"][name])
            for label, name in (("CIDEr-D", "cider_d"), ("BLEU-4", "bleu_4"), ("BLEU-1", "bleu_1"))
        )
    )
    confidence = (
        ""
        if outcome.calibrated
        else (
            '<p class="hint">The new model will not tell how sure it is: to learn that takes 100 held-out pictures '
            "with two captions each.</p>"
        )
    )
    return (
        f"<h2>Before and after</h2><p>{in_words(outcome.figures)}</p>"
        f"<table><tr><td></td><th scope=col>Before</th><th scope=col>After</th></tr>{rows}</table>"
        f"{interval}{_draw_examples(outcome.captions, lessons)}{confidence}"
    )


def in_words(figures: Mapping[str, Any]) -> str:
    """Whether the new model is better, as far as that can be told."""
    cider = figures["scores"]["cider_d"]
    low, high = cider["intervals_95"]["gain"]
    pictures, better, worse = figures["pictures"], figures["better"], figures["worse"]
    if not figures["changed"]:
        return f"Nothing changed: the new model says the same about all {_count(pictures, 'held-out picture')}."
    measured = (
        f"Better on {better} and worse on {worse} of {_count(pictures, 'held-out picture')}; "
        f"CIDEr-D {cider['old']:.0f} → {cider['new']:.0f}"
    )
    if pictures < ENOUGH_TO_TELL:
        return f"{measured}. <b>So few pictures cannot tell</b> whether it is better: read what it says, below."
    verdict = "surely better" if low > 0 else "surely worse" if high < 0 else ""
    if verdict:
        return f"{measured}: <b>{verdict}</b>."
    return f"{measured}. <b>The two cannot be told apart</b> by these pictures: it may be chance."


def _draw_examples(captions: Sequence[Mapping[str, Any]], lessons: Lessons) -> str:
    """The greatest gains, then the greatest losses, then what changed for neither."""
    changed = [each for each in captions if each["changed"]]
    gains = [each for each in reversed(changed) if each["gain"] > 0][:_EXAMPLES]
    losses = [each for each in changed if each["gain"] < 0][:_EXAMPLES]
    even = [each for each in changed if each["gain"] == 0][: max(0, _EXAMPLES - len(gains) - len(losses))]
    return f"<ul>{''.join(_draw_example(each, lessons) for each in (*gains, *losses, *even))}</ul>"


def _draw_example(example: Mapping[str, Any], lessons: Lessons) -> str:
    try:
        source = _thumbnail(lessons.folder / example["image_id"])
        image = f'<img alt="" src="{source}">'
    except ImageError:  # removed since
        image = "<span></span>"
    before, after = _side(example["difference"], "removed", "del"), _side(example["difference"], "added", "ins")
    references = " / ".join(map(escape, example["references"]))
    return (
        f'<li>{image}<div><p><span class="quiet">Before</span> {before}</p><p><span class="quiet">After</span> {after}'
        f'</p><p class="hint">Yours: {references}</p></div></li>'
    )


def _side(pieces: Iterable[Sequence[Any]], own: str, tag: str) -> str:
    drawn = []
    for fate, words in pieces:
        text = escape(" ".join(words))
        if fate == "kept":
            drawn.append(text)
        elif fate == own:
            drawn.append(f"<{tag}>{text}</{tag}>")
    return " ".join(drawn) or "(nothing)"


@functools.lru_cache(maxsize=1000)
def _thumbnail(path: Path) -> str:
    """Kept in memory, since no picture of a collection ever changes. Raises ImageError."""
    return inlined(path, longest=_THUMBNAIL_SIDE)


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
