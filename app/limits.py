"""How much the page takes from whom: the limits for oneself, and the stricter ones for strangers (`--public`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What visitors may send, and how long it is kept."""

    file_megabytes: int = 10
    """Of one upload."""
    pictures: int = 1000
    """In one go, on the page for many pictures."""
    waiting: int = 32
    """Questions that wait for the model; whoever comes after them is told to try again."""
    kept_seconds: int = 3600
    """Uploads older than this are deleted; they are looked for as often."""
    teaching: bool = True
    """Whether visitors may correct captions and train models, which changes what the machine keeps."""


OWN = Limits()
PUBLIC = Limits(file_megabytes=5, pictures=50, waiting=16, kept_seconds=600, teaching=False)
