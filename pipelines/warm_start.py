"""Is it better to begin from an older model than from nothing? The curve over the number of one's own pictures.

python -m pipelines.warm_start configs/custom.toml --data data/shapes --from runs/shapes/best \\
    --reword circle=disc,circles=discs,square=box,squares=boxes,star=asterisk,stars=asterisks,red=crimson,large=big \\
    --nothing configs/shapes.toml --set training.min_steps=600 --set training.evaluations=8 --out out/warm_start_shapes
python -m pipelines.warm_start configs/custom.toml --data data/flickr8k --about "water|pool|ocean|beach" \\
    --older configs/flickr8k.toml --set training.epochs=6 --set training.min_steps=300 --set training.evaluations=6 \\
    --out out/warm_start_water
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from captioner.errors import ConfigError, DataError

from . import progress_bar, run
from .features import learning_features, load_to_learn
from .train import new_model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from captioner.data.features import CaptionedFeatures
    from captioner.model.captioning import CaptioningModel


def study(
    recipe: Annotated[Path, typer.Argument(help="How to begin from the older model, such as configs/custom.toml.")],
    data: Annotated[Path, typer.Option(help="A folder that `captioner prepare` wrote.")],
    out: Annotated[Path, typer.Option(help="The folder for the runs, which go on where they stood, and figures.json.")],
    start: Annotated[str, typer.Option("--from", help="The older model: a folder, or `default`.")] = "default",
    about: Annotated[str, typer.Option(help="Only pictures with a caption that has such a word.")] = ".*",
    older: Annotated[
        Path | None, typer.Option(help="First train the older model, by this recipe, on pictures not --about it.")
    ] = None,
    set: Annotated[list[str], typer.Option(help="Override a setting of --older and --nothing. Repeatable.")] = [],  # noqa: B006
    reword: Annotated[str, typer.Option(help="Another way to say things: circle=disc,red=crimson.")] = "",
    nothing: Annotated[Path, typer.Option(help="How to begin from nothing.")] = Path("configs/flickr8k.toml"),
    pictures: Annotated[str, typer.Option(help="How many pictures to learn from, in turn.")] = "50,200,1000",
) -> None:
    """Train from an older model and from nothing on so many pictures; measure on the collection's development pictures.

    The larger numbers hold the smaller ones. Which evaluation of a run is its best is decided on training pictures
    that are left over, so that no choice has seen the development pictures.
    """
    import numpy as np

    from captioner.config import load_config
    from captioner.model.checkpoint import load_checkpoint
    from captioner.model.hub import find_model
    from captioner.training.warm_start import settings_kept, warm_start

    out.mkdir(parents=True, exist_ok=True)
    old = load_checkpoint(find_model(start).folder)
    warmly, freshly = load_config(recipe, base=settings_kept(old)), load_config(nothing, set, base=settings_kept(old))
    older_recipe = None if older is None else load_config(older, set)
    recipes = [warmly, freshly] if older_recipe is None else [warmly, freshly, older_recipe]
    if len({(recipe.encoder.mirrored, recipe.encoder.crops) for recipe in recipes}) > 1:
        raise ConfigError(
            "All begin from the same views of the pictures, but the recipes' encoder.mirrored or encoder.crops differ; "
            "--set them."
        )
    if warmly.training.tuned_blocks or freshly.training.tuned_blocks:
        raise ConfigError(
            "The curve compares decoders alone, on features computed once, but a recipe says training.tuned_blocks "
            "above 0; leave it out."
        )
    with progress_bar() as bar:
        seen = learning_features(old.encoder, warmly, load_to_learn(data), data, bar)
    training, development = (_reworded(part, reword) for part in seen)
    mine, judging = (_about(part, about) for part in (training, development))
    numbers = sorted(int(number) for number in pictures.split(","))
    if len(mine) < numbers[-1] + 50:
        raise DataError(f"{numbers[-1]} pictures and 50 to choose by are needed, but {len(mine)} are about {about!r}.")
    if older_recipe is not None:
        others, apart = (
            part.select(np.setdiff1d(np.arange(len(part.captions)), chosen))
            for part, chosen in ((training, mine), (development, judging))
        )
        old = _trained(new_model(older_recipe, others.captions), others, apart, out / "older")
    order = np.random.default_rng(0).permutation(mine)
    choosing, judged = training.select(order[numbers[-1] :]), development.select(judging)
    figures = {"before": _score(old, judged)}
    for number in numbers:
        chosen = training.select(order[:number])
        warm = warm_start(old, warmly, chosen.captions)
        fresh = new_model(freshly, chosen.captions)
        for name, model in (("from the older model", warm), ("from nothing", fresh)):
            folder = out / f"{name.replace(' ', '-')}-{number}"
            label = f"{number} pictures, {name}"
            figures[label] = _score(_trained(model, chosen, choosing, folder), judged)
            print(f"{label}: greedy CIDEr-D {figures[label]:.1f}", flush=True)
    (out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(f"Before: {figures['before']:.1f}, on {len(judging)} pictures. All figures are in {out / 'figures.json'}.")


def _reworded(pictures: "CaptionedFeatures", reword: str) -> "CaptionedFeatures":
    """The same pictures with other words in their captions."""
    others = dict(pair.split("=") for pair in reword.split(",") if pair)
    captions = [
        [" ".join(others.get(word, word) for word in caption.split(" ")) for caption in row]
        for row in pictures.captions
    ]
    return replace(pictures, captions=captions)


def _about(pictures: "CaptionedFeatures", words: str) -> "NDArray[np.int64]":
    """The numbers of the pictures with a caption that has a word like these."""
    import numpy as np

    pattern = re.compile(rf"\b(?:{words})\b", re.IGNORECASE)
    return np.array([n for n, row in enumerate(pictures.captions) if any(map(pattern.search, row))], dtype=np.int64)


def _trained(
    model: "CaptioningModel", train: "CaptionedFeatures", validation: "CaptionedFeatures", folder: Path
) -> "CaptioningModel":
    """The best of a run into `folder`, which goes on if it was begun before."""
    from captioner.model.checkpoint import load_checkpoint
    from captioner.training.loop import fit

    for _ in fit(model, train, validation, folder=folder, resume=True):
        pass
    return load_checkpoint(folder / "best")


def _score(model: "CaptioningModel", judged: "CaptionedFeatures") -> float:
    from torch import nn

    from captioner.training.development import Development
    from captioner.training.processes import ALONE

    return Development(judged, model.vocabulary).score(model, nn.Identity(), ALONE).cider_d


if __name__ == "__main__":
    run(study)
