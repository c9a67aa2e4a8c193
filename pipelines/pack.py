"""Pack a trained model for shipping: half the size, with the search settings it should be used with.

captioner pack runs/flickr8k/best --out captioner/pretrained --set search.length_exponent=0.8
"""

from pathlib import Path
from typing import Annotated

import typer

from captioner.errors import ConfigError

from . import run


def pack(
    model: Annotated[str, typer.Argument(help="A model folder, such as the `best` of a run, or USER/NAME.")],
    out: Annotated[Path, typer.Option(help="The folder to write; a model there is replaced.")],
    set: Annotated[list[str], typer.Option(help="Store a search setting: search.beam_width=3. Repeatable.")] = [],  # noqa: B006
) -> None:
    """Write a model in half precision, optionally with other default search settings."""
    from dataclasses import replace

    from captioner.config import override
    from captioner.model.checkpoint import checkpoint_fingerprint, load_checkpoint, save_checkpoint
    from captioner.model.hub import find_model

    if foreign := [line for line in set if not line.startswith("search.")]:
        raise ConfigError(f"Only search settings can change once a model is trained, but {foreign[0]!r} came.")
    trained = load_checkpoint(find_model(model).folder)
    trained.config = replace(trained.config, search=override(trained.config, set).search)
    save_checkpoint(trained, out, half=True)
    size = sum(path.stat().st_size for path in out.iterdir() if path.is_file())
    print(f"{out}: {size / 1e6:.1f} MB, fingerprint {checkpoint_fingerprint(out)[:12]}.")


if __name__ == "__main__":
    run(pack)
