"""The page served as a program of its own, so that what Gradio leaves open there is not ours here."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Served(NamedTuple):
    """A page that is being served."""

    address: str
    """Ends with a slash."""
    uploads: Path
    """The folder that holds the page's private folder."""
    program: subprocess.Popen[str]


@contextmanager
def serve(*options: str | Path, temporary: Path, **environment: str) -> Iterator[Served]:
    """`captioner demo` with these options, on a free port; ended as by a service manager, and no upload may be left."""
    inherited = {name: value for name, value in os.environ.items() if name != "CAPTIONER_AUTH"}
    with subprocess.Popen(
        [sys.executable, "-m", "app", *map(str, options)],
        cwd=ROOT,
        env=inherited | {"TMPDIR": str(temporary)} | environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        said, found = "", None
        while found is None and (line := program.stdout.readline()):  # Gradio tells of MCP first
            said += line
            found = re.match(r"The page is at (http://\S+:\d+/) ", line)
        try:
            assert found, said
            yield Served(found[1], temporary, program)
        finally:
            program.send_signal(signal.SIGTERM)
            program.stdout.read()
    assert list(temporary.glob("captioner-*")) == []
