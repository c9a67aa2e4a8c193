"""List every word a model can ever say.

captioner vocabulary
captioner vocabulary --search dog --limit 20
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from . import run


def vocabulary(
    model: Annotated[Path | None, typer.Option(help="A folder, or USER/NAME; the shipped model if not given.")] = None,
    search: Annotated[str | None, typer.Option(help="Only words that hold this text.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many words.")] = None,
) -> None:
    """Print `count word` for every word the model can say, commonest first.

    The count is how often the word occurs in the captions the model learnt from; of several collections, in the one
    that says it most. What is not listed is never said.
    """
    from captioner.inference.captioner import Captioner

    counts = Captioner.from_pretrained(model, device="cpu").model.vocabulary.counts
    found = [(word, count) for word, count in counts.items() if search is None or search.lower() in word]
    if not found:
        print(f"captioner: No word the model can say holds {search!r}.", file=sys.stderr)
    for word, count in found[:limit]:
        print(f"{count:>8} {word}")


if __name__ == "__main__":
    run(vocabulary)
