"""What the members of an archive are called here: never outside it, never hidden, no two the same."""

import os

# Where file systems end, too: they take paths of 4,096 bytes, and programs that walk folders some hundred levels.
_LONGEST, _DEEPEST = 4096, 64
_CUT_TO = 128


class MemberNames:
    """Names the members of one archive, in their order."""

    def __init__(self) -> None:
        # Hashes instead of names: an archive may have a million members.
        self._taken: set[int] = set()
        # The last number given to a name that came again: a million members may have one name.
        self._numbers: dict[int, int] = {}

    def name(self, given: str) -> str | None:
        """A path with slashes, or None for a member to pass over, since a part of its path has a dot in front.

        One that would lead out of the archive (`/etc/x.jpg`, `../x.jpg`) becomes harmless, one longer than any file's
        keeps its end, one too deep its first folders, and the second member of one name gets another (`a.jpg`,
        `a#2.jpg`).
        """
        if len(given) > _LONGEST:
            given = given.rpartition("/")[2][-_CUT_TO:]
        parts = [part for part in given.replace("\0", "_").split("/") if part not in ("", ".", "..")]
        if not parts or any(part.startswith(".") for part in parts):
            return None
        parts = [*parts[:-1][: _DEEPEST - 1], parts[-1]]
        path = "/".join(parts)
        if (wanted := hash(path)) in self._taken:
            stem, suffix = os.path.splitext(path)
            number = self._numbers.get(wanted, 1)
            while hash(path) in self._taken:
                number += 1
                path = f"{stem}#{number}{suffix}"
            self._numbers[wanted] = number
        self._taken.add(hash(path))
        return path
