"""Export a model to ONNX: the encoder, the decoder's start and one step of it.

captioner export default --out out/onnx
captioner caption dog.jpg --model out/onnx
captioner export default --out out/onnx-int8 --int8 path/to/pictures
"""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from captioner.errors import DataError, ImageError

from . import measured_of, progress_bar, run

if TYPE_CHECKING:
    from captioner.data.preprocessing import Pixels, Preprocessing


def export(
    model: Annotated[str, typer.Argument(help="A model folder, USER/NAME of the hub, or `default`.")],
    out: Annotated[Path, typer.Option(help="The folder to write; an exported model there is replaced.")],
    int8: Annotated[
        Path | None,
        typer.Option(help="Let the encoder compute in 8 bits, in ranges measured on these pictures.", metavar="FOLDER"),
    ] = None,
    pictures: Annotated[int, typer.Option(min=1, help="With --int8: measure on so many of them.")] = 100,
) -> None:
    """Write a model that ONNX Runtime computes; every command takes the folder as its --model.

    Captions, confidence and explanations are those of the model itself in full precision, up to the last digits. With
    --int8 they differ: `captioner compare` tells by how much, `captioner calibrate` teaches the exported model how sure
    it may be. What was measured of a model that computes in bfloat16 goes along, though some of its captions differ.
    """
    from captioner.model.checkpoint import checkpoint_fingerprint, load_checkpoint
    from captioner.model.export import export
    from captioner.model.hub import find_model

    folder = find_model(model).folder
    network = load_checkpoint(folder)
    # What was measured before need not hold for features of 8 bits.
    measured = measured_of(folder) if int8 is None else {}
    with progress_bar() as bar:
        bar.add_task("Exporting", total=None)
        sizes = export(
            network,
            out,
            beside=measured,
            measured_on=None if int8 is None else read_some(network.encoder.preprocessing, int8, pictures),
        )
    for name, size in sizes.items():
        print(f"{name:>20}  {size / 1e6:6.2f} MB")
    print(f"{out}: {sum(sizes.values()) / 1e6:.1f} MB, fingerprint {checkpoint_fingerprint(out)[:12]}.")


def read_some(preprocessing: "Preprocessing", folder: Path, count: int) -> "list[Pixels]":
    """The first so many pictures that can be read."""
    from captioner.data.listing import list_items

    found: list[Pixels] = []
    for item in list_items([folder]):
        with contextlib.suppress(ImageError):
            if isinstance(item.source, ImageError):
                continue
            found.append(preprocessing.read(item.source))
        if len(found) == count:
            break
    if not found:
        raise DataError(f"--int8 must name pictures to measure on, but none in {folder} can be read; name others.")
    return found


if __name__ == "__main__":
    run(export)
