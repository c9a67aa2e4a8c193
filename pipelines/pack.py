"""Pack a trained model for shipping: half the size, with the search settings and the precision it should be used with.

captioner pack runs/flickr8k/best --out captioner/pretrained --set search.length_exponent=0.8
captioner pack default --out models/quick --precision bfloat16
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from captioner.errors import ConfigError

from . import measured_of, run


class Precision(StrEnum):
    """What a model computes in; the keys of `captioner.model.checkpoint.PRECISIONS`."""

    FULL = "full"
    BFLOAT16 = "bfloat16"


def pack(
    model: Annotated[str, typer.Argument(help="A model folder, such as the `best` of a run, or USER/NAME.")],
    out: Annotated[Path, typer.Option(help="The folder to write; a model there is replaced.")],
    set: Annotated[list[str], typer.Option(help="Store a search setting: search.beam_width=3. Repeatable.")] = [],  # noqa: B006
    precision: Annotated[
        Precision | None,
        typer.Option(help="What it computes in, bfloat16 only on processors that know it; as before if not given."),
    ] = None,
) -> None:
    """Write a model, its weights in 16 bits, optionally with other default search settings or another precision.

    In bfloat16 it captions sooner and says almost the same: `captioner compare` tells what that does to its captions.
    How sure it may be goes along where neither weights nor settings change; else `captioner calibrate` tells anew.
    """
    from dataclasses import replace

    from captioner.config import override
    from captioner.model.checkpoint import (
        PRECISIONS,
        checkpoint_fingerprint,
        load_checkpoint,
        save_checkpoint,
        write_beside,
    )
    from captioner.model.hub import find_model

    if foreign := [line for line in set if not line.startswith("search.")]:
        raise ConfigError(f"Only search settings can change once a model is trained, but {foreign[0]!r} came.")
    folder = find_model(model).folder
    trained, weights = load_checkpoint(folder), (folder / "model.safetensors").read_bytes()
    measured = measured_of(folder)
    stored = trained.config.search
    trained.config = replace(trained.config, search=override(trained.config, set).search)
    if precision is not None:
        trained.precision = PRECISIONS[precision]
    save_checkpoint(trained, out, half=True)
    goes_along = trained.config.search == stored and (out / "model.safetensors").read_bytes() == weights
    for name, content in measured.items():
        if goes_along:
            write_beside(out, name, content)
        else:
            print(f"{name} was measured of another model and is left behind; measure anew.")
    size = sum(path.stat().st_size for path in out.iterdir() if path.is_file())
    print(f"{out}: {size / 1e6:.1f} MB, fingerprint {checkpoint_fingerprint(out)[:12]}.")


if __name__ == "__main__":
    run(pack)
