"""Make the page of a training run again: its curves, what it said of some pictures, its figures and settings.

captioner report runs/flickr8k
"""

from pathlib import Path
from typing import Annotated

import typer

from . import run


def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run that `captioner train` wrote.")],
) -> None:
    """Write the page report.html into a run's folder; `captioner train` does the same after every evaluation."""
    from captioner.inference.run_page import write_run_page

    print(f"Look at {write_run_page(folder)}.")


if __name__ == "__main__":
    run(report)
