"""The scripts: each parses its arguments, calls the library and reports.

`python -m pipelines.prepare` runs one from a checkout; `captioner prepare` is the same, installed.
"""

import io
import sys
from collections.abc import Callable
from typing import NoReturn

import typer

from captioner.errors import CaptionerError


def run(command: typer.Typer | Callable[..., None]) -> NoReturn:
    """Run a command, or an app of several, as the program: its arguments are the shell's.

    A user's mistake is told as one sentence on standard error, with exit code 2 and no traceback.
    """
    if not isinstance(command, typer.Typer):
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(command)
        command = app
    for stream in (sys.stdout, sys.stderr):
        # A file's name need not be text that can be printed.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        command()
    except CaptionerError as error:
        print(f"captioner: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(0)
