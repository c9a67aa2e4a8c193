"""How much the page takes from whom: the limits for oneself, and the stricter ones for strangers (`--public`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any


def _limit(value: Any, told: Callable[[Any], str]) -> Any:
    """A field with how its value is told in a help."""
    return field(default=value, metadata={"told": told})


@dataclass(frozen=True)
class Limits:
    """What visitors may send, and how long it is kept."""

    file_megabytes: int = _limit(200, "{} MB a file".format)
    """Of one upload, picture or archive; more than 200 no picture may have that we read."""
    pictures: int = _limit(1000, "{:,} pictures in one go".format)
    """On the page for many pictures."""
    waiting: int = _limit(32, "{} questions waiting".format)
    """For the model; whoever comes after them is told to try again."""
    stored_megabytes: int = _limit(10_000, "{:,} MB of uploads in all".format)
    """Of all visitors, in all the forms they have here; who brings more is told to try again later."""
    kept_seconds: int = _limit(3600, lambda seconds: f"uploads deleted within {seconds // 60} minutes")
    """At most, counted from the upload."""
    teaching: bool = _limit(True, lambda allowed: "teaching" if allowed else "no teaching")
    """Whether visitors may correct captions and train models, which changes what the machine keeps."""
    any_host: bool = _limit(False, lambda any_host: "under any name" if any_host else "under this machine's own names")
    """Whether visitors may come through a proxy, and so under any name, without a login."""

    @property
    def paths_told(self) -> bool:
        """Whether visitors may read where on this machine a model lies."""
        return not self.any_host

    @property
    def together_megabytes(self) -> int:
        """Of pictures that one visitor can bring at once if nobody else brings any.

        A picture lies here up to four times: as it came, among those that are captioned, and, while an ImageFolder is
        packed, in it and in its archive.
        """
        return self.stored_megabytes // 4

    def told(self, *, unlike: Limits) -> str:
        """The limits that are not those of another, in words."""
        return ", ".join(
            limit.metadata["told"](getattr(self, limit.name))
            for limit in fields(self)
            if getattr(self, limit.name) != getattr(unlike, limit.name)
        )


OWN = Limits()
PUBLIC = Limits(file_megabytes=5, pictures=50, stored_megabytes=1000, kept_seconds=600, teaching=False, any_host=True)
