"""Train what a recipe describes in several ways under the same conditions, and show what the difference makes.

captioner study cells --data data/flickr8k --out out/cells
captioner study cells configs/cells.toml --data data/mine --out out/cells --seeds 5 --set training.max_steps=2000
"""

import itertools
import json
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

import typer

from captioner.errors import ConfigError

from . import STOPPED, progress_bar, run, take_folder
from .features import learning_features, load_to_learn

if TYPE_CHECKING:
    import datasets
    import torch

    from captioner.config import Config
    from captioner.data.features import CaptionedFeatures
    from captioner.inference.cell_study import Copied, Trained
    from captioner.model.captioning import CaptioningModel
    from captioner.training.copy_task import CopyTask

study = typer.Typer(help="Train in several ways under the same conditions, and show what the difference makes.")

_FINISHED = "finished.jsonl"
_SETTINGS = "settings.json"
"""What all runs of a study share."""
_STRETCHES = 20
"""Points of a loss curve."""
_CAPTIONS = 100
"""Development captions through which gradients are followed."""


@study.callback()
def _study() -> None:
    """Make each study a command of its own, even while there is only one."""


@study.command()
def cells(
    data: Annotated[Path, typer.Option(help="A folder that `captioner prepare` wrote.")],
    out: Annotated[Path, typer.Option(help="The folder for the runs, results.json and report.html.")],
    recipe: Annotated[Path, typer.Argument(help="How each captioner is trained.")] = Path("configs/cells.toml"),
    seeds: Annotated[int, typer.Option(min=1, help="How often each is trained: with the seeds 0, 1 and so on.")] = 3,
    set: Annotated[list[str], typer.Option(help="Override a setting: training.max_steps=99. Repeatable.")] = [],  # noqa: B006
    gap: Annotated[list[int], typer.Option(min=1, help="A gap of the copy task. Repeatable.")] = [5, 10, 20, 40],  # noqa: B006
    copy_steps: Annotated[int, typer.Option(min=0, help="Steps in which each gap is learnt.")] = 400,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; CUDA where there is one.")] = None,
) -> None:
    """Compare RNN, GRU and LSTM, with attention and without: captions, loss, gradients over time, and a copy task.

    What is finished is kept in --out and not done again: after Ctrl-C, even after `kill -9`, or with more seeds or gaps
    the same command goes on. `report.html` there shows how far it is.
    """
    from captioner.config import load_config
    from captioner.inference.cell_study import CELLS, KINDS, Copied, Trained
    from captioner.model.device import choose_device
    from captioner.training.copy_task import CopyTask
    from captioner.training.loop import Interrupted

    variants = [
        [*set, f"decoder.kind={kind}", f"decoder.cell={cell}", f"training.seed={seed}"]
        for seed, kind, cell in itertools.product(range(seeds), KINDS, CELLS)
    ]
    configs = [load_config(recipe, variant) for variant in variants]
    if configs[0].training.tuned_blocks:
        raise ConfigError(
            "The study compares decoders alone, on features computed once, but the recipe says training.tuned_blocks "
            "above 0; leave it out."
        )
    commands = [_command(recipe, data, *variant) for variant in zip(variants, configs, strict=True)]
    tasks = [
        CopyTask(cell, distractors, seed, copy_steps)
        for seed, distractors, cell in itertools.product(range(seeds), sorted({*gap}), CELLS)
    ]
    chosen_device = choose_device(device)
    pictures = cache(partial(_pictures, configs[0], load_to_learn(data), data, chosen_device))
    take_folder(out, marker=_FINISHED)
    trained: list[Trained] = []
    copied: list[Copied] = []
    try:
        with _Finished(out / _FINISHED) as finished:
            _keep_settings(out / _SETTINGS, _task(configs[0], data))
            training = _train_all(finished, configs, commands, pictures, data=data, out=out, device=chosen_device)
            for measured in itertools.chain(training, _copy_all(finished, tasks)):
                if isinstance(measured, Trained):
                    trained.append(measured)
                else:
                    copied.append(measured)
                _show(out, trained, copied, tasks[0], recipe=recipe, data=data)
    except (Interrupted, KeyboardInterrupt) as stopped:
        print("Stopped; nothing is lost: the same command goes on.")
        raise typer.Exit(STOPPED) from stopped
    print(f"Look at {out / 'report.html'}; the figures are in {out / 'results.json'}.")


def _train_all(
    finished: "_Finished",
    configs: "list[Config]",
    commands: list[str],
    pictures: "Callable[[], tuple[CaptionedFeatures, CaptionedFeatures]]",
    *,
    data: Path,
    out: Path,
    device: "torch.device",
) -> "Iterator[Trained]":
    """Every captioner, trained or found trained; `pictures` are asked for only if one is still to be trained."""
    from captioner.inference.cell_study import Trained

    for number, (config, command) in enumerate(zip(configs, commands, strict=True), start=1):
        learn = partial(_learn, config, pictures, out / _name(config), device)
        figures = finished.measured(_task(config, data), learn, name=_name(config), left=len(configs) - number)
        yield Trained(config.decoder.kind, config.decoder.cell, config.training.seed, command, **figures)


def _task(config: "Config", data: Path) -> dict[str, Any]:
    """What the figures of one captioner depend on."""
    return {"data": str(data.resolve()), "recipe": asdict(config)}


def _keep_settings(path: Path, settings: dict[str, Any]) -> None:
    """Write down what a study is of. Raises ConfigError when its folder holds a study of something else."""
    from captioner.durable import write_whole

    told = json.dumps(settings, indent=2)
    if path.exists() and path.read_text(encoding="utf-8") != told:
        raise ConfigError(
            f"A study goes on with the recipe, --set and --data it began with, but those in {path} differ; give the "
            "same ones, or choose another --out."
        )
    write_whole(path, told)


def _copy_all(finished: "_Finished", tasks: "list[CopyTask]") -> "Iterator[Copied]":
    """Every network for the copy task, taught or found taught."""
    from captioner.inference.cell_study import Copied

    for number, task in enumerate(tasks, start=1):
        name = f"copy-{task.cell}-{task.gap}-{task.seed}"
        figures = finished.measured(asdict(task), partial(_copy, task), name=name, left=len(tasks) - number)
        yield Copied(task.cell, task.gap, task.seed, **figures)


class _Finished:
    """What has been measured, in a file that outlives a killed study; a context manager."""

    def __init__(self, path: Path) -> None:
        from captioner.durable import Growing

        self._file = Growing(path)
        known = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        self._figures = {json.dumps(each["task"]): each["figures"] for each in known}

    def __enter__(self) -> "_Finished":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def measured(
        self, task: dict[str, Any], measure: Callable[[], dict[str, Any]], *, name: str, left: int
    ) -> dict[str, Any]:
        """The figures of a task: those kept, or else what `measure` finds now, and tells with what is `left`."""
        key = json.dumps(task)
        if key not in self._figures:
            began = time.monotonic()
            figures = measure()
            self._file.append(json.dumps({"task": task, "figures": figures}).encode() + b"\n")
            self._figures[key] = figures
            told = ", ".join(f"{label} {value:.3g}" for label, value in figures.items() if isinstance(value, float))
            seconds = time.monotonic() - began
            print(
                f"{name}: {told} ({seconds:.0f} s; {left} left, {left * seconds / 60:.0f} min if all were like it)",
                flush=True,
            )
        return self._figures[key]


def _copy(task: "CopyTask") -> dict[str, Any]:
    from captioner.training.copy_task import copy_accuracy

    return {"accuracy": copy_accuracy(task)}


def _learn(
    config: "Config",
    pictures: "Callable[[], tuple[CaptionedFeatures, CaptionedFeatures]]",
    folder: Path,
    device: "torch.device",
) -> dict[str, Any]:
    """Train one captioner as `captioner train` does -> the fields of `Trained` that are measured."""
    from captioner.durable import Growing
    from captioner.inference.run_page import read_run
    from captioner.model.checkpoint import load_checkpoint
    from captioner.training.events import StepDone
    from captioner.training.loop import fit

    from .train import new_model

    train, validation = pictures()
    model = new_model(config, train.captions).to(device)
    fresh = _gradient_flow(model, validation)
    folder.mkdir(exist_ok=True)
    with Growing(folder / "losses.jsonl") as losses:
        for event in fit(model, train, validation, folder=folder, resume=True):
            if isinstance(event, StepDone):
                losses.append(json.dumps([event.step, event.loss]).encode() + b"\n")
    best = max(read_run(folder).evaluations, key=lambda evaluated: evaluated.cider_d)
    return {
        "parameters": sum(parameter.numel() for parameter in model.decoder.parameters()),
        "losses": _loss_curve(folder / "losses.jsonl"),
        "cider_d": best.cider_d,
        "bleu_4": best.bleu_4,
        "fresh_flow": fresh,
        "trained_flow": _gradient_flow(load_checkpoint(folder / "best").to(device), validation),
    }


def _loss_curve(path: Path) -> list[tuple[int, float]]:
    """The mean losses of a few stretches of a run, each with its last step."""
    # A run that was killed goes on from where it was saved, and learns some steps again.
    losses = dict(map(json.loads, path.read_text(encoding="utf-8").splitlines()))
    steps, stretches = sorted(losses), min(len(losses), _STRETCHES)
    ends = [len(steps) * number // stretches for number in range(stretches + 1)]
    parts = (steps[first:last] for first, last in itertools.pairwise(ends))
    return [(part[-1], fmean(losses[step] for step in part)) for part in parts]


def _gradient_flow(model: "CaptioningModel", validation: "CaptionedFeatures") -> list[float]:
    """The gradient flow of a captioner over the longest development captions."""
    import torch

    from captioner.model.decoder import Attend, ShowAndTell
    from captioner.training.gradient_flow import gradient_flow, longest_captions

    assert isinstance(model.decoder, Attend | ShowAndTell), "a kind of KINDS"
    captions = [[model.vocabulary.encode(caption) for caption in row] for row in validation.captions]
    chosen, words = longest_captions(captions, _CAPTIONS)
    features = torch.from_numpy(validation.features.read(chosen))
    return gradient_flow(model.decoder.eval(), features.to(model.device), words.to(model.device))


def _pictures(
    config: "Config", collection: "datasets.DatasetDict", data: Path, device: "torch.device"
) -> "tuple[CaptionedFeatures, CaptionedFeatures]":
    """The training and the development pictures, looked at with the recipe's CNN."""
    from captioner.model.encoder import build_encoder

    encoder = build_encoder(config.encoder.name, weights=config.encoder.weights, size=config.encoder.size).to(device)
    with progress_bar() as bar:
        return learning_features(encoder, config, collection, data, bar)


def _name(config: "Config") -> str:
    """What one of the captioners is called."""
    return f"{config.decoder.kind}-{config.decoder.cell}-{config.training.seed}"


def _command(recipe: Path, data: Path, overrides: list[str], config: "Config") -> str:
    """What trains one of the captioners again."""
    settings = itertools.chain.from_iterable(("--set", line) for line in overrides)
    out = f"runs/{_name(config)}"
    return shlex.join(["captioner", "train", str(recipe), "--data", str(data), *settings, "--out", out])


def _show(
    out: Path, trained: "list[Trained]", copied: "list[Copied]", task: "CopyTask", *, recipe: Path, data: Path
) -> None:
    """Bring the page and the figures of a study up to date."""
    from captioner.durable import write_whole
    from captioner.inference.study_page import render

    figures = {"trained": [each._asdict() for each in trained], "copied": [each._asdict() for each in copied]}
    write_whole(out / "results.json", json.dumps(figures, indent=2))
    own = ("cell", "gap", "seed")
    copying = {f"copy task: {name}": value for name, value in asdict(task).items() if name not in own}
    settings = {"recipe": recipe, "data": data, **copying}
    write_whole(out / "report.html", render(trained, copied, chance=1 / task.symbols, settings=settings))


if __name__ == "__main__":
    run(study)
