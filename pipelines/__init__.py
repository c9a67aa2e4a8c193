"""The scripts: each parses its arguments, calls the library and reports.

`python -m pipelines.prepare` runs one from a checkout; `captioner prepare` is the same, installed.
"""

import gc
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from captioner.errors import CaptionerError, ConfigError, DataError

if TYPE_CHECKING:
    from rich.progress import Progress

    from captioner.inference.captioner import Captioner
    from captioner.model.hub import FoundModel


STOPPED = 75
"""The exit code of a run that was stopped and can go on: EX_TEMPFAIL of sysexits.h, which job systems know."""


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


@contextmanager
def loading() -> Iterator[None]:
    """Around what imports PyTorch and loads a model: all of it stays, so Python need not look for garbage among it.

    It would look again and again, and once more at the end: a quarter of the time that one caption takes in all.
    """
    was_looking = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was_looking:
            gc.enable()


def take_folder(out: Path, *, marker: str) -> None:
    """Make the folder `--out` before the work begins.

    Raises DataError when it cannot be made, or holds other things than an earlier answer, known by the file `marker`.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        # What is hidden was left by a run that died while it wrote its first file.
        foreign = any(path.name[0] != "." for path in out.iterdir()) and not (out / marker).exists()
    except OSError as error:
        raise DataError(f"--out must be a folder that can be made, but {out} cannot be ({error.strerror}).") from error
    if foreign:
        raise DataError(f"--out must be new, empty or an earlier answer of this command, but {out} holds other things.")


def lies_in(path: Path, folder: str) -> bool:
    """Whether a path is that of a folder or leads into it, past whatever links and `..`."""
    return path.resolve().is_relative_to(Path(folder).resolve())


def write_text(path: Path, text: str, *, mode: str = "w") -> None:
    """Write a text file, as open's `mode` says; its folders are made. Raises DataError when that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name that is no text is written in JSON's own escapes, and read back as it was.
        with path.open(mode, encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}); choose another --out.") from error


def measured_of(folder: Path) -> dict[str, bytes]:
    """What was measured of the model in a folder and lies beside it, by the files' names: calibration, faithfulness."""
    from captioner.inference.confidence import FILE as CALIBRATION
    from captioner.inference.faithfulness import FILE as FAITHFULNESS
    from captioner.model.checkpoint import read_beside

    found = {name: read_beside(folder, name) for name in (CALIBRATION, FAITHFULNESS)}
    return {name: content for name, content in found.items() if content is not None}


def load_captioner(model: "str | Path | FoundModel | None", *, device: str | None) -> "Captioner":
    """The model of a command that answers about single pictures, as `Captioner.from_pretrained` gives it."""
    with loading():
        from captioner.inference.captioner import Captioner

        return Captioner.from_pretrained(model, device=device)


def folder_to_store_in(model: str | Path | None) -> Path:
    """The folder of a model with which something is to be stored. Raises ConfigError when that is a cache's."""
    from captioner.model.hub import find_model

    found = find_model(model)
    if found.downloaded:
        raise ConfigError(
            f"What is found for a model is stored in its folder, but {model} lies on the hub; make a copy that is "
            f"yours with `captioner pack {model} --out DIR`, and name DIR instead."
        )
    return found.folder


def progress_bar() -> "Progress":
    """A progress bar on standard error; what is printed meanwhile goes where standard output goes."""
    from rich.console import Console
    from rich.progress import Progress

    # To a terminal it is written above the bar, anywhere else past it.
    return Progress(console=Console(stderr=True), redirect_stdout=sys.stdout.isatty())
