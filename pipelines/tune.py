"""Tune how a model searches for captions on development pictures, measured by folds, and store it with the model.

captioner tune runs/flickr8k/best data/flickr8k
captioner tune runs/flickr8k/best data/flickr8k --width 5 --width 8 --write
"""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from captioner.errors import DataError

from . import folder_to_store_in, progress_bar, run
from .features import read_features

if TYPE_CHECKING:
    from captioner.config import SearchConfig
    from captioner.inference.search_tuning import Tried, Tuning


def tune(
    model: Annotated[str, typer.Argument(help="A model folder, or the word `default` for the shipped model.")],
    data: Annotated[Path, typer.Argument(help="A folder that `captioner prepare` wrote.")],
    split: Annotated[str, typer.Option(help="Pictures the model was not trained on.")] = "validation",
    width: Annotated[
        list[int] | None, typer.Option(min=1, help="A beam width to try; repeatable; 3, 5, 8 and 10 if not given.")
    ] = None,
    write: Annotated[bool, typer.Option(help="Store the best settings with the model, if they gain anything.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Deals the folds.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; CUDA where there is one.")] = None,
) -> None:
    """Find the beam width, the length reward and the consensus that make the best captions.

    What they are worth is measured on pictures that had no part in the choice. --write stores them if they gain more
    than the error of that measurement. It changes the model's fingerprint and drops calibration.json and
    faithfulness.json, which hold for one way of searching only: so tune first, then run `captioner calibrate` and
    `captioner explain --faithfulness DATA --store`.
    """
    from captioner.data.collection import load_collection
    from captioner.data.views import Views
    from captioner.inference.search_tuning import WIDTHS, tune_search
    from captioner.model.checkpoint import load_checkpoint, store_search
    from captioner.model.device import choose_device
    from captioner.model.hub import find_model

    collection = load_collection(data)
    if split not in collection:
        raise DataError(f"--split must be one of those in {data} ({', '.join(collection)}), not {split!r}.")
    folder = folder_to_store_in(model) if write else find_model(model).folder
    network = load_checkpoint(folder).to(choose_device(device))
    widths = width or list(WIDTHS)
    with progress_bar() as bar:
        views = Views(mirrored=network.config.search.mirror)
        pictures = read_features(network.encoder, collection[split], data, bar, views=views)
        searches = len({*widths, network.config.search.beam_width})
        task = bar.add_task("Searching for captions", total=searches * len(pictures.captions))
        tuned = tune_search(
            network, pictures, widths=widths, seed=seed, done=lambda searched: bar.update(task, completed=searched)
        )
    _print_figures(tuned, network.config.search)
    if not write:
        return
    if not tuned.gains or tuned.best == network.config.search:
        print("Nothing is gained over the stored settings beyond the error of that gain, so nothing was written.")
        return
    store_search(folder, tuned.best)
    calibrating = shlex.join(["captioner", "calibrate", model, str(data)])
    explaining = shlex.join(["captioner", "explain", "--faithfulness", str(data), "--model", model, "--store"])
    print(
        f"The best settings are stored in {folder}. Its calibration.json and faithfulness.json held for the old ones "
        f"and are dropped; renew them with `{calibrating}` and `{explaining}`."
    )


def _print_figures(tuned: "Tuning", stored: "SearchConfig") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        *("", "beam", "length", "consensus", "CIDEr-D", "BLEU-4", "gain"),
        title=f"{tuned.pictures:,} pictures, out of fold but for the settings stored",
    )
    for column in table.columns[1:]:
        column.justify = "right"

    def tell(name: str, search: "SearchConfig", tried: "Tried") -> None:
        settings = (str(search.beam_width), f"{search.length_exponent:g}", f"{search.consensus:g}")
        gain = f"{tried.gain:+.2f} ± {tried.gain_error:.2f}" if tried is not tuned.stored else ""
        table.add_row(name, *settings, f"{tried.cider_d:.2f}", f"{tried.bleu_4:.2f}", gain)

    tell("stored", stored, tuned.stored)
    table.add_section()
    for of_width in tuned.widths:
        tell(f"at width {of_width.search.beam_width}", of_width.search, of_width.out_of_fold)
    table.add_section()
    tell("at any width", tuned.best, tuned.out_of_fold)
    Console().print(table)


if __name__ == "__main__":
    run(tune)
