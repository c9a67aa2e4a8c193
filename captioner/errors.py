"""Every error a user can cause, told as one sentence: what must hold, what came, what to do.

CaptionerError
├── ConfigError       a setting that does not exist or cannot have that value
├── ImageError        a picture that cannot be read
├── DataError         a collection that cannot be used
├── CheckpointError   a model folder that is damaged, foreign or too new
└── TrainingError     a run that cannot start or go on
"""


class CaptionerError(Exception):
    """A user's mistake or a broken input; `str(error)` is a sentence fit to be shown."""


class ConfigError(CaptionerError):
    """A setting that does not exist or cannot have the value it was given."""


class ImageError(CaptionerError):
    """A picture that cannot be read."""


class DataError(CaptionerError):
    """A collection of captioned pictures that cannot be used."""


class CheckpointError(CaptionerError):
    """A model folder that is damaged, foreign or newer than this program."""


class TrainingError(CaptionerError):
    """A training run that cannot start or cannot go on."""
