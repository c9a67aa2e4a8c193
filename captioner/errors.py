"""Every error a user can cause, told as one sentence: what must hold, what came, what to do.

CaptionerError
├── ConfigError       a setting that does not exist or cannot have that value
├── ImageError        a picture that cannot be read
├── DataError         a collection that cannot be used
├── CheckpointError   a model folder that is damaged, foreign or too new
├── TrainingError     a run that cannot start or go on
└── BusyError         a page that is asked more than it can answer
"""

from typing import Literal

ImageErrorKind = Literal[
    "missing", "unreadable", "not a picture", "too large", "damaged", "unsuitable", "too slow", "died"
]
"""What became of a picture that cannot be read, so that errors can be counted: there is no such file; it is no file or
may not be read; another kind of file; larger than the limits; broken; an array that holds no levels; decoding it took
more than its time; decoding it ended the process that did it."""


class CaptionerError(Exception):
    """A user's mistake or a broken input; `str(error)` is a sentence fit to be shown."""


class ConfigError(CaptionerError):
    """A setting that does not exist or cannot have the value it was given."""


class ImageError(CaptionerError):
    """A picture that cannot be read; `kind` says in a word or two why."""

    def __init__(self, sentence: str, *, kind: ImageErrorKind = "damaged") -> None:
        super().__init__(sentence)
        self.kind: ImageErrorKind = kind


class DataError(CaptionerError):
    """A collection of captioned pictures that cannot be used."""


class CheckpointError(CaptionerError):
    """A model folder that is damaged, foreign or newer than this program."""


class TrainingError(CaptionerError):
    """A training run that cannot start or cannot go on."""


class BusyError(CaptionerError):
    """More is asked of the page than it can answer soon; the same question may be answered a moment later."""
