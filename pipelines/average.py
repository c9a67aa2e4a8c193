"""Average the weights of models that began from the same one: perhaps better than each of them, and no slower.

captioner average runs/a/best runs/b/best --out runs/averaged
captioner average runs/a/best runs/b --out runs/averaged
captioner evaluate runs/averaged data/flickr8k
"""

from pathlib import Path
from typing import Annotated

import typer

from . import run


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
    from captioner.training.run_folder import model_or_end

    averaged = average_models([model_or_end(model) for model in models])
    save_checkpoint(averaged, out)
    print(f"{out}: the mean of {len(models)} models, fingerprint {checkpoint_fingerprint(out)[:12]}.")


if __name__ == "__main__":
    run(average)
