"""Whatever a library makes of a broken file, told as one sentence."""

import contextlib
import os
import stat
from collections.abc import Iterator

from captioner.data.images import printable
from captioner.errors import DataError, ImageError


@contextlib.contextmanager
def damage_told(path: str, what: str) -> Iterator[None]:
    """A block that reads a file, whose errors come out as one ImageError: it must be a whole `what`."""
    name = printable(path)
    try:
        yield
    except (DataError, ImageError):
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{name} must exist, but there is no such file; check the path.", kind="missing") from error
    # No library promises a closed list of what a broken file may raise.
    except Exception as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = " ".join(words.split()).rstrip(".") or type(error).__name__
        raise ImageError(
            f"{name} must be a whole {what}, but reading it failed ({reason}); copy or write it again.",
            kind="unreadable" if isinstance(error, PermissionError) else "damaged",
        ) from error


def check_regular(path: str) -> None:
    """Raise ImageError if this is no file but a pipe, say, that would keep whoever opens it waiting."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ImageError(
            f"{printable(path)} must be a file, but it is a folder, a pipe or a device; name a file.", kind="unreadable"
        )
