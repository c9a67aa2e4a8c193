"""Where every tab brings its pictures: the installed models, and the order in which they answer."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import BoundedSemaphore
from types import TracebackType
from typing import Literal, Self

import torch
from PIL import Image

from captioner.config import SearchConfig
from captioner.data.preprocessing import Pixels
from captioner.errors import BusyError, ConfigError, ImageError
from captioner.inference.caption import Caption
from captioner.inference.captioner import Captioner
from captioner.inference.describer import NO_CAPTION, Describer
from captioner.inference.explanation import Explanation
from captioner.inference.explanation_page import PICTURE_SIDE
from captioner.text.steering import Steering

from .limits import OWN
from .readers import Readers
from .turns import Turns

TOGETHER = 4
"""Pictures searched together; fewer are filled up to as many, since the last digits of an answer depend on how many
there are. Four together cost about twice as much as one, and half as much as four after each other."""

_THREADS = 2
_READERS = 2


_Kind = Literal["explanations", "captions", "captions with word probabilities"]


@dataclass(frozen=True)
class Asked:
    """How pictures shall be captioned."""

    model: str
    """One of `Desk.models`."""
    search: SearchConfig
    steering: Steering = field(default_factory=Steering)
    candidates: int | None = None
    """As in `Captioner.caption`."""


@dataclass(frozen=True)
class _Wish:
    """What pictures must have in common to be answered together."""

    captioner: Captioner
    asked: Asked
    answers: _Kind
    describer: Describer = field(compare=False)


def share_processors() -> None:
    """Let each thread that answers have its part of the processors: more threads than those get in each other's way."""
    torch.set_num_threads(max(1, torch.get_num_threads() // _THREADS))


class Desk:
    """Answers the questions of all visitors; every method may be called from any thread.

    Pictures are read by other processes, which end with `close`, with the block of a `with` statement, or when nobody
    holds the desk any more. Whatever company a question is answered in, its answer is the same to the last digit.
    """

    def __init__(self, captioners: MutableMapping[str, Captioner], *, waiting: int = OWN.waiting) -> None:
        """At least one model under the name that visitors choose it by; the first is the default.

        A mapping may load a model when it is first asked for it. `waiting` is how many questions may be at the desk
        at a time.
        """
        self._captioners = captioners
        self._readers = Readers(processes=_READERS)
        self._turns: Turns[_Wish, Pixels, Caption | Explanation | None] = Turns(
            _answer, together=TOGETHER, threads=_THREADS
        )
        self._waiting = waiting
        self._seats = BoundedSemaphore(waiting)
        self._close = weakref.finalize(self, _close, self._turns, self._readers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Answer what is being answered, refuse the rest with a CaptionerError, and end all processes and threads."""
        self._close()

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the installed models, the default first."""
        return tuple(self._captioners)

    def captioner(self, model: str) -> Captioner:
        """The model of that name. Raises ConfigError when there is none."""
        try:
            return self._captioners[model]
        except KeyError:
            raise ConfigError(
                f"A model must be one of {', '.join(self.models)}, but {model!r} came; choose one of them."
            ) from None

    def install(self, model: str, captioner: Captioner) -> None:
        """Let visitors choose another model, too."""
        self._captioners[model] = captioner

    def explain(self, picture: Path, asked: Asked) -> Explanation:
        """One picture's caption and what the model computed for each of its words.

        Raises ImageError when the picture cannot be read, ConfigError when no caption can obey the rules, BusyError
        when too many others wait.
        """
        explanation = self._answer(picture, asked, "explanations")
        if explanation is None:
            raise ConfigError(NO_CAPTION)
        assert isinstance(explanation, Explanation)
        return explanation

    def describe(self, picture: Path, asked: Asked) -> Caption:
        """One picture's caption with the probability of each word, for less than the explanation's price.

        Raises what `explain` raises.
        """
        caption = self._answer(picture, asked, "captions with word probabilities")
        assert isinstance(caption, Caption)
        if caption.error is not None:
            raise ConfigError(caption.error)
        return caption

    def caption(self, pictures: Sequence[Path], asked: Asked) -> list[Caption]:
        """One caption for each picture, in their order; one that cannot be read has `error` set.

        Is never too busy, as who brings many pictures has begun already, but lets others go first after every few
        pictures. Raises ConfigError when no caption can obey the rules.
        """
        wish = self._wish(asked, "captions")
        read: list[Pixels | ImageError] = []
        for picture in pictures:
            try:
                read.append(self._readers.pixels(picture, wish.captioner.model.encoder.preprocessing))
            except ImageError as error:
                read.append(error)
        answers = iter(self._turns.ask(wish, [each for each in read if not isinstance(each, ImageError)]))
        captions = []
        for each in read:
            answer = Caption(error=str(each), error_kind=each.kind) if isinstance(each, ImageError) else next(answers)
            assert isinstance(answer, Caption)
            captions.append(answer)
        return captions

    def view(self, picture: Path) -> Image.Image:
        """The picture to be shown: upright, RGB, its sides at most `PICTURE_SIDE` pixels. Raises ImageError."""
        return self._readers.view(picture, side=PICTURE_SIDE)

    def _answer(self, picture: Path, asked: Asked, answers: _Kind) -> Caption | Explanation | None:
        """What is answered about one picture, where there is a seat."""
        with self._seat():
            wish = self._wish(asked, answers)
            pixels = self._readers.pixels(picture, wish.captioner.model.encoder.preprocessing)
            [answer] = self._turns.ask(wish, [pixels])
        return answer

    def _wish(self, asked: Asked, answers: _Kind) -> _Wish:
        captioner = self.captioner(asked.model)
        describer = captioner.describer(candidates=asked.candidates, search=asked.search, steering=asked.steering)
        return _Wish(captioner, asked, answers, describer)

    @contextmanager
    def _seat(self) -> Iterator[None]:
        if not self._seats.acquire(blocking=False):
            raise BusyError(
                f"The page is busy: it answers at most {self._waiting} questions at a time, and so many are there; "
                "try again in a moment."
            )
        try:
            yield
        finally:
            self._seats.release()


def _answer(wish: _Wish, pictures: Sequence[Pixels]) -> Sequence[Caption | Explanation | None]:
    encoded = wish.describer.encode_singly(pictures, filled_to=TOGETHER)
    if wish.answers == "explanations":
        return wish.describer.explain(encoded)
    return wish.describer.describe(encoded, word_probabilities=wish.answers == "captions with word probabilities")


def _close(turns: Turns[_Wish, Pixels, Caption | Explanation | None], readers: Readers) -> None:
    readers.close()
    turns.close()
