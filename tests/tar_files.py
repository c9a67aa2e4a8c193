"""Tar archives for tests: honest ones, and single headers of which hostile ones are put together."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

END = bytes(2 * tarfile.BLOCKSIZE)


def pack(path: Path, members: Iterable[tuple[str, bytes]], mode: str = "w") -> Path:
    """Write members, of which a name may come twice, to an archive; mode "w:gz" packs it."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return path


def member(name: str, content: bytes = b"", *, size: int | None = None, kind: bytes = tarfile.REGTYPE) -> bytes:
    """One member as bytes, whose header may lie about its size."""
    header = tarfile.TarInfo(name)
    header.size = len(content) if size is None else size
    header.type = kind
    header.linkname = "a.jpg" if kind in (tarfile.LNKTYPE, tarfile.SYMTYPE) else ""
    # GNU headers can hold any size, a negative one too.
    return header.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
