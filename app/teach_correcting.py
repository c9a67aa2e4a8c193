"""Correcting captions, a picture at a time: what the tab "Teach" shows of the collection after each thing one does.

The pictures stand in a line: those kept, then those that wait. One of them is current.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import gradio as gr

from captioner.data.images import printable
from captioner.errors import CaptionerError, DataError, ImageError

from .desk import Asked, Desk
from .lessons import Lesson, Lessons
from .teach_drawing import draw_kept, draw_lesson, draw_new_words, draw_told, draw_wrong
from .uploads import Upload

SHOWN: Final = 6
"""Kept pictures in the list at first, and as many more each time."""
_AT_ONCE: Final = 8
"""Pictures captioned together while more come."""


class View(NamedTuple):
    """What the tab shows of the collection, in the order of its components."""

    current: Any
    """The name of the current lesson; None for none."""
    shown: Any
    """How many kept pictures are listed."""
    given: Any
    """What stood in the box before the person wrote."""
    lesson: Any
    """Whether there is one to correct."""
    picture: Any
    captions: Any
    new_words: Any
    told: Any
    kept: Any


UNCHANGED: Final = View(*[gr.skip()] * len(View._fields))


@dataclass(frozen=True)
class Correcting:
    """The collection and the models that suggest captions; what one does comes in, what is to be seen goes out."""

    lessons: Lessons
    desk: Desk

    def look(self, model: str, current: str | None = None, shown: int = SHOWN, told: str = "") -> View:
        """The current lesson, or the first that waits where there is none. Raises DataError for a damaged list."""
        kept, waiting = self.lessons.kept(), self.lessons.waiting()
        found = next((lesson for lesson in (*kept, *waiting) if lesson.name == current), None)
        lesson = found or (waiting[0] if waiting else None)
        listed = draw_kept(self.lessons, kept, shown=shown)
        if lesson is None:
            return View(None, shown, "", gr.update(visible=False), "", "", "", told, listed)
        text = "\n".join(lesson.captions)
        picture = draw_lesson(self.lessons, lesson, waiting=len(waiting))
        new_words = self.new_words(model, text)
        return View(lesson.name, shown, text, gr.update(visible=True), picture, text, new_words, told, listed)

    def look_again(self, model: str, current: str | None, shown: int) -> View:
        """The same, where what a person is writing stays. Raises DataError as `look`."""
        return self._keeping_text(self.look(model, current, shown), current)

    def new_words(self, model: str, text: str) -> str:
        """Which words of captions the model does not know."""
        return draw_new_words(self.desk.captioner(model).model.vocabulary, text)

    def take_in(self, model: str, current: str | None, shown: int, came: Sequence[Upload]) -> Iterator[View]:
        """Let a model suggest a caption for each uploaded picture; the first can be corrected while others come."""
        taken, wrong = 0, list[str]()
        remaining = iter(came)
        while batch := list(itertools.islice(remaining, _AT_ONCE)):
            try:
                taken += self._take(model, batch, wrong)
                view = UNCHANGED
                if current is None and taken:  # what a person is writing about another one stays
                    view = self.look(model, None, shown)
                    current = view.current
            except CaptionerError as error:
                wrong.append(str(error))
                break
            yield view._replace(told=draw_told(f"{taken} of {len(came)} pictures are here."))
        end = f"{taken} {'picture is' if taken == 1 else 'pictures are'} here."
        # Nothing else: by now the person may be writing about another picture.
        yield UNCHANGED._replace(told="".join(map(draw_wrong, wrong)) + draw_told(end))

    def _take(self, model: str, batch: Sequence[Upload], wrong: list[str]) -> int:
        """How many were taken in; the sentences about the others are added to `wrong`."""
        asked = Asked(model, self.desk.captioner(model).search, candidates=1)
        taken = 0
        for upload, caption in zip(batch, self.desk.caption([each.path for each in batch], asked), strict=True):
            if caption.error is not None and caption.error_kind != "no caption":
                wrong.append(caption.error.replace(str(upload.path), printable(upload.name)))
                continue
            try:
                self.lessons.wait(upload.path, upload.name, caption.text or "")
                taken += 1
            except ImageError as error:
                wrong.append(str(error))
        return taken

    def keep(self, model: str, current: str | None, shown: int, text: str) -> View:
        """Keep the captions of the current lesson, a line each, and go on to the next in line."""
        if current is None:
            self._refuse_unplaced(text)
            return UNCHANGED
        following = self._beside(current, 1)
        kept = self.lessons.keep(current, text.splitlines())
        return self.look(model, following, shown, draw_told(f"Kept: {kept.captions[0]}"))

    def skip(self, model: str, current: str | None, shown: int, given: str, text: str) -> View:
        """Go on without keeping; after the last comes the first that waits. Raises DataError as `Lessons.draft`."""
        self._draft(current, given, text)
        return self.look(model, self._beside(current, 1), shown)

    def back(self, model: str, current: str | None, shown: int, given: str, text: str) -> View:
        """Go back to the one before in line, which may be one that is kept. Raises DataError as `Lessons.draft`."""
        self._draft(current, given, text)
        return self.look(model, self._beside(current, -1) or current, shown)

    def remove(self, model: str, current: str | None, shown: int, given: str, text: str, name: str) -> View:
        """Take one out; when it is the current one, the next is."""
        if name == current:
            with contextlib.suppress(DataError):  # what is of no use does not hinder its removal
                self._draft(current, given, text)
        following = self._beside(name, 1) if name == current else current
        removed = self.lessons.remove(name)
        there = self.lessons.picture(removed).is_file()
        told = draw_told(f"{removed.title} was removed.", undo=removed if there else None)
        return self._keeping_text(self.look(model, following, shown, told), current)

    def undo(self, model: str, current: str | None, shown: int, name: str) -> View:
        """Put one back that was removed."""
        back = self.lessons.put_back(name)
        told = draw_told(f"{back.title} is back.")
        return self._keeping_text(self.look(model, current or back.name, shown, told), current)

    def choose(
        self, model: str, current: str | None, shown: int, given: str, text: str, action: str, name: str
    ) -> View:
        """A button of a drawing was pressed. Raises as what it asks for."""
        match action:
            case "open":
                self._draft(current, given, text)
                return self.look(model, name, shown)
            case "remove":
                return self.remove(model, current, shown, given, text, name)
            case "undo":
                return self.undo(model, current, shown, name)
            case "more":
                return self._keeping_text(self.look(model, current, shown + SHOWN), current)
        return UNCHANGED

    @staticmethod
    def _keeping_text(view: View, current: str | None) -> View:
        """Where the current lesson stays, what a person has written about it stays too."""
        if view.current != current:
            return view
        return view._replace(given=gr.skip(), captions=gr.skip(), new_words=gr.skip())

    def _draft(self, current: str | None, given: str, text: str) -> None:
        """What a person has written stays with its picture, though it was not kept."""
        if current is None:
            self._refuse_unplaced(text)
        elif text.strip() and text != given:
            self.lessons.draft(current, text.splitlines())

    @staticmethod
    def _refuse_unplaced(text: str) -> None:
        """Raise DataError when something was written and nobody knows of which picture."""
        if text.strip():
            raise DataError(
                "The picture that these words are about must be known, but the server was started anew since; copy "
                "your words, load the page again, and paste them."
            )

    def _beside(self, current: str | None, by: int) -> str | None:
        line: list[Lesson] = [*self.lessons.kept(), *self.lessons.waiting()]
        for place, lesson in enumerate(line):
            if lesson.name == current and 0 <= place + by < len(line):
                return line[place + by].name
        return None
