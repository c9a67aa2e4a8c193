"""Two captions word by word: what they share, what the first has alone and what the second has."""

import difflib
from collections.abc import Sequence
from typing import Literal, NamedTuple


class Piece(NamedTuple):
    """Some words in a row that share their fate."""

    fate: Literal["kept", "removed", "added"]
    words: tuple[str, ...]


def word_difference(old: Sequence[str], new: Sequence[str]) -> tuple[Piece, ...]:
    """How `old` becomes `new`: the kept and removed pieces in a row are `old`, the kept and added ones `new`."""
    pieces = []
    for operation, *bounds in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        before, after = tuple(old[bounds[0] : bounds[1]]), tuple(new[bounds[2] : bounds[3]])
        if operation == "equal":
            pieces.append(Piece("kept", before))
            continue
        if before:
            pieces.append(Piece("removed", before))
        if after:
            pieces.append(Piece("added", after))
    return tuple(pieces)
