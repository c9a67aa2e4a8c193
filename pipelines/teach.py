"""Teach a model one's own captions and see what it gained: prepare, train and compare in one.

captioner teach path/to/pictures --out runs/mine
captioner teach path/to/pictures --from runs/mine/training/best --out runs/mine-2
"""

import contextlib
import json
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from captioner.errors import CaptionerError, DataError
from captioner.training.events import StepDone

from . import STOPPED, run, take_folder
from .calibrate import calibrate
from .compare import compare
from .prepare import prepare
from .train import learn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from captioner.inference.teaching import Telling
    from captioner.training.events import Event

RECIPE = Path(__file__).parent.parent / "configs" / "custom.toml"
"""Beside the scripts in a checkout and in an installed package alike."""

CALIBRATABLE = 100
"""Held-out pictures with two captions each from which on a confidence is fitted; from fewer it would be a guess."""


def teach(
    source: Annotated[Path, typer.Argument(help="A folder of captioned pictures, as for `captioner prepare`.")],
    out: Annotated[Path, typer.Option(help="The folder of this teaching; what is begun there is gone on with.")],
    start: Annotated[
        str, typer.Option("--from", help="The model to begin from: a folder, USER/NAME of the hub, or `default`.")
    ] = "default",
    recipe: Annotated[Path, typer.Option(help="How to train.")] = RECIPE,
    set: Annotated[list[str], typer.Option(help="Override a setting: training.epochs=3. Repeatable.")] = [],  # noqa: B006
    device: Annotated[str | None, typer.Option(help="cpu or cuda; CUDA where there is one.")] = None,
) -> None:
    """Prepare a collection, train on it beginning from a model, and compare the model before with the one after.

    The comparison is made on pictures that had no part in the training: those of the split test, a tenth if the source
    sets none apart. The new model is in training/best, the comparison in comparison/report.html. The same command goes
    on where it stood; the collection is read at its beginning only.
    """
    from captioner.inference.teaching import Telling

    take_folder(out, marker="progress.jsonl")
    with Telling(out) as telling:
        try:
            with _stoppable():
                _teach(source, out, start, recipe, set, device, telling)
        except KeyboardInterrupt as stopped:
            telling.tell("stopped")
            print("Stopped; what was finished is kept: the same command goes on.", file=sys.stderr)
            raise typer.Exit(STOPPED) from stopped
        except CaptionerError as error:
            telling.tell("failed", sentence=str(error))
            raise
        except Exception as error:
            telling.tell("failed", sentence=f"The program itself failed ({type(error).__name__}); its log tells more.")
            raise
        telling.tell("done")
    print(f"The model is in {out / 'training' / 'best'}; look at {out / 'comparison' / 'report.html'}.")


@contextlib.contextmanager
def _stoppable() -> "Iterator[None]":
    """SIGTERM stops this block as Ctrl-C does, where signals can be received; training takes both between two steps."""
    try:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _teach(
    source: Path, out: Path, start: str, recipe: Path, overrides: list[str], device: str | None, telling: "Telling"
) -> None:
    data, training = out / "data", out / "training"
    telling.tell("checking")
    if not (data / "report.json").exists():
        # One broken file among few pictures is no reason to stop: the account tells of it.
        prepare(str(source), data, test_share=0.1, max_bad=0.5)
    _check_splits(data)
    telling.tell("looking")
    _train(recipe, data, training, start, overrides, device, telling)
    best = training / "best"
    if not (out / "comparison" / "comparison.json").exists():
        telling.tell("comparing")
        with contextlib.suppress(typer.Exit):  # its way to tell of pictures that could not be read, which the page does
            compare(start, str(best), data, split="test", out=out / "comparison", device=device)
    if _is_calibratable(data) and not (best / "calibration.json").exists():
        telling.tell("calibrating")
        calibrate(str(best), data, split="test", out=out / "calibration", device=device)


def _check_splits(data: Path) -> None:
    """Raise DataError when nothing is left to learn from, to choose by or to judge by; the next try reads all anew."""
    kept = json.loads((data / "report.json").read_text(encoding="utf-8"))["kept"]
    if missing := [split for split in ("train", "validation", "test") if split not in kept]:
        shutil.rmtree(data)
        raise DataError(
            "There must be pictures to learn from, others to choose by and others to judge by, but too few different "
            f"ones are left ({missing[0]} has none); add pictures that do not look alike."
        )


def _train(
    recipe: Path, data: Path, out: Path, start: str, overrides: list[str], device: str | None, telling: "Telling"
) -> None:
    from rich.console import Console

    from captioner.training.loop import Interrupted
    from captioner.training.processes import ALONE

    def tell(event: "Event") -> None:
        if isinstance(event, StepDone):
            telling.tell("learning", done=event.step, of=event.steps)

    console = Console(stderr=True)
    try:
        learn(recipe, data, out, start, overrides, True, device, processes=ALONE, console=console, tell=tell)
    except Interrupted as stopped:
        raise KeyboardInterrupt from stopped


def _is_calibratable(data: Path) -> bool:
    from captioner.data.collection import load_collection

    captions = list(load_collection(data)["test"]["captions"])
    return len(captions) >= CALIBRATABLE and min(map(len, captions)) >= 2


if __name__ == "__main__":
    run(teach)
