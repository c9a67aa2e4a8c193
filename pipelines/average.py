"""Average the weights of models that began from the same one: perhaps better than each of them, and no slower.

captioner average runs/a/best runs/b/best --out runs/averaged
captioner average runs/a/best runs/b --out runs/averaged
captioner evaluate runs/averaged data/flickr8k
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import run

if TYPE_CHECKING:
    from captioner.model.captioning import CaptioningModel


def average(
    models: Annotated[
        list[str],
        typer.Argument(help="Two or more models that learnt on from the same one; a run's folder stands for its end."),
    ],
    out: Annotated[Path, typer.Option(help="The folder to write; a model there is replaced.")],
) -> None:
    """Write the mean of several models; its words, its search and its recipe are those of the first.

    Train them with other seeds or settings from one model (`captioner train --from`), and measure whether their mean is
    better: `captioner compare`.
    """
    from captioner.model.averaging import average_models
    from captioner.model.checkpoint import checkpoint_fingerprint, save_checkpoint

    averaged = average_models([_load(model) for model in models])
    save_checkpoint(averaged, out)
    print(f"{out}: the mean of {len(models)} models, fingerprint {checkpoint_fingerprint(out)[:12]}.")


def _load(name: str) -> "CaptioningModel":
    """A model by its name, or the one that a run ended with, whether or not that was its best."""
    from captioner.model.checkpoint import load_checkpoint
    from captioner.model.hub import find_model
    from captioner.training.run_folder import last_model, state_file

    return last_model(Path(name)) if state_file(Path(name)).exists() else load_checkpoint(find_model(name).folder)


if __name__ == "__main__":
    run(average)
