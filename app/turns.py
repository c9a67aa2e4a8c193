"""Who is answered when: questions that arrive while others are being answered wait, and are answered together.

Nothing here knows what is asked. A question is a wish and some things; `answer(wish, things)` gives one answer for
each thing. Questions with equal wishes are answered together, up to `together` things at a time. A question with
more things than that goes to the back of the line after each turn, so that nobody waits for all of it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from captioner.errors import CaptionerError

Wish = TypeVar("Wish", bound=Hashable)
Thing = TypeVar("Thing")
Answer = TypeVar("Answer")


class _Question(Generic[Wish, Thing, Answer]):
    """What somebody waits for."""

    def __init__(self, wish: Wish, things: Sequence[Thing]) -> None:
        self.wish = wish
        self.answers: list[Answer] = []
        self.answered: Future[list[Answer]] = Future()
        self._things = deque(things)

    def take(self, most: int) -> list[Thing]:
        """Up to so many of the things that nobody has taken yet."""
        return [self._things.popleft() for _ in range(min(most, len(self._things)))]

    @property
    def is_taken(self) -> bool:
        """Whether nothing is left to take."""
        return not self._things


class Turns(Generic[Wish, Thing, Answer]):
    """The line of questions and the threads that answer them, which end with `close`."""

    def __init__(
        self,
        answer: Callable[[Wish, Sequence[Thing]], Sequence[Answer]],
        *,
        together: int,
        threads: int,
    ) -> None:
        self._answer = answer
        self._together = together
        self._line: deque[_Question[Wish, Thing, Answer]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"answers {number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def ask(self, wish: Wish, things: Sequence[Thing]) -> list[Answer]:
        """The answers, when they are there. Raises what answering raises, and CaptionerError once closed."""
        if not things:
            return []
        question: _Question[Wish, Thing, Answer] = _Question(wish, things)
        with self._changed:
            if self._closed:
                raise _closed()
            self._line.append(question)
            self._changed.notify()
        return question.answered.result()

    def close(self) -> None:
        """Refuse whoever waits, and return when nothing is being answered any more."""
        with self._changed:
            self._closed = True
            waiting, self._line = self._line, deque()
            self._changed.notify_all()
        for question in waiting:
            question.answered.set_exception(_closed())
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while turn := self._next_turn():
            try:
                self._take_turn(turn)
            except BaseException as error:  # whoever asked must learn of it, and the next in line be answered
                for question, _ in turn:
                    if not question.answered.done():
                        question.answered.set_exception(error)

    def _next_turn(self) -> list[tuple[_Question[Wish, Thing, Answer], list[Thing]]]:
        """Questions of one wish, each with what is to be answered of it now; nothing when the line is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._line or self._closed)
            turn: list[tuple[_Question[Wish, Thing, Answer], list[Thing]]] = []
            room = self._together
            for question in [each for each in self._line if each.wish == self._line[0].wish]:
                if room == 0:
                    break
                turn.append((question, question.take(room)))
                room -= len(turn[-1][1])
            for question, _ in turn:
                self._line.remove(question)
            return turn

    def _take_turn(self, turn: list[tuple[_Question[Wish, Thing, Answer], list[Thing]]]) -> None:
        answers = iter(self._answer(turn[0][0].wish, [thing for _, things in turn for thing in things]))
        for question, things in turn:
            question.answers += [next(answers) for _ in things]
            if question.is_taken:
                question.answered.set_result(question.answers)
            else:
                self._go_on(question)

    def _go_on(self, question: _Question[Wish, Thing, Answer]) -> None:
        """Put a question of which only a part was answered behind those who came meanwhile."""
        with self._changed:
            if self._closed:
                raise _closed()
            self._line.append(question)
            self._changed.notify()


def _closed() -> CaptionerError:
    return CaptionerError("The page is being closed, and answers nothing any more; ask again when it is back.")
