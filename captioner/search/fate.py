"""What became of a hypothesis in a search, and why: the words beside the branches of a drawn tree."""

from __future__ import annotations

from enum import StrEnum


class Fate(StrEnum):
    """Each value is a phrase that goes on from "this caption ..."."""

    # It went on, or it is an answer.
    KEPT = "was kept and goes on"
    BEST = "is among the best finished captions"

    # It lost.
    OUTSCORED = "was outscored by others of its length"
    BEATEN = "finished, but others scored better"
    STOPPED = "could no longer beat the finished captions"

    # It broke a rule.
    FORBIDDEN = "says what is forbidden"
    REPEATING = "repeats a sequence of words"
    OFF_BEGINNING = "begins otherwise than asked"
    TOO_SHORT = "ends too early"
    TOO_LONG = "is longer than allowed"
    INCOMPLETE = "ends without what is required"
    NO_ROOM = "leaves no room for what is required"

    @property
    def breaks_a_rule(self) -> bool:
        """Whether a rule rather than a better caption ended it."""
        return self in _BREACHES


_BREACHES = frozenset(
    {
        Fate.FORBIDDEN,
        Fate.REPEATING,
        Fate.OFF_BEGINNING,
        Fate.TOO_SHORT,
        Fate.TOO_LONG,
        Fate.INCOMPLETE,
        Fate.NO_ROOM,
    }
)
