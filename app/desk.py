"""Where every tab brings its pictures: the installed models, and the order in which they answer."""

from __future__ import annotations

import threading
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from captioner.config import SearchConfig
from captioner.errors import ConfigError
from captioner.inference.caption import Caption
from captioner.inference.captioner import Captioner
from captioner.inference.explanation import Explanation
from captioner.text.steering import Steering


@dataclass(frozen=True)
class Asked:
    """How pictures shall be captioned."""

    model: str
    """One of `Desk.models`."""
    search: SearchConfig
    steering: Steering = field(default_factory=Steering)
    candidates: int | None = None
    """As in `Captioner.caption`."""


class Desk:
    """Answers the questions of all visitors; every method may be called from any thread."""

    def __init__(self, captioners: MutableMapping[str, Captioner]) -> None:
        """At least one model under the name that visitors choose it by; the first is the default.

        A mapping may load a model when it is first asked for it.
        """
        self._captioners = captioners
        self._answering = threading.Lock()

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

        Raises ImageError when the picture cannot be read, ConfigError when no caption can obey the rules.
        """
        captioner = self.captioner(asked.model)
        with self._answering:
            return captioner.explain(picture, candidates=asked.candidates, search=asked.search, steering=asked.steering)

    def caption(self, pictures: Sequence[Path], asked: Asked) -> list[Caption]:
        """One caption for each picture, in their order; one that cannot be read has `error` set.

        Raises ConfigError when no caption can obey the rules.
        """
        captioner = self.captioner(asked.model)
        with self._answering:
            return captioner.caption(
                list(pictures), candidates=asked.candidates, search=asked.search, steering=asked.steering
            )
