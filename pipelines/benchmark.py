"""What each option of the search costs beside plain beam search, and the CNN and the whole captioner beside it too.

captioner benchmark
captioner benchmark --out out/benchmark.json
"""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import run, write_text

if TYPE_CHECKING:
    from captioner.inference.captioner import Captioner

PLAIN = "plain beam search"


def benchmark(
    model: Annotated[Path | None, typer.Option(help="A folder, or USER/NAME; the shipped model if not given.")] = None,
    pictures: Annotated[int, typer.Option(min=1, help="Captioned together; the sample photographs, repeated.")] = 16,
    rounds: Annotated[int, typer.Option(min=1, help="Each option is timed so often, in turn.")] = 5,
    out: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file.")] = None,
) -> None:
    """Time every option in turn, on one thread, and print its cost as a ratio to plain beam search.

    Processor time, medians over the rounds: ratios within one run hold on a busy machine, milliseconds do not.
    """
    import torch
    from rich.console import Console
    from rich.table import Table

    from captioner.inference.captioner import Captioner

    if out is not None:
        write_text(out, "", mode="a")  # says that it cannot before the minutes, not after
    torch.set_num_threads(1)
    captioner = Captioner.from_pretrained(model, device="cpu")
    tasks = _tasks(captioner, pictures)
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(rounds + 1):
        for name, task in tasks.items():
            began = time.process_time()
            task()
            if number:  # the first round warms up
                seconds[name].append(time.process_time() - began)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    figures = {name: round(median / medians[PLAIN], 4) for name, median in medians.items()}
    table = Table("", "ratio", title=f"{pictures} pictures, beam {captioner.search.beam_width}, {captioner.name}")
    for name, ratio in figures.items():
        table.add_row(name, f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.4f}")
    Console().print(table)
    print(f"Plain beam search: {1000 * medians[PLAIN] / pictures:.1f} ms of processor time a picture.")
    if out is not None:
        told = {"model": captioner.name, "pictures": pictures, "ratios": figures}
        write_text(out, json.dumps(told, indent=2) + "\n")


def _tasks(captioner: "Captioner", count: int) -> dict[str, Callable[[], Any]]:
    """What is timed, by name; every search starts from features computed beforehand."""
    from dataclasses import replace

    import numpy as np
    import torch

    from captioner.data.samples import sample_pictures
    from captioner.inference.confidence import read_signs
    from captioner.search.tree import Recorder
    from captioner.text.steering import Steering

    model, plain = captioner.model, captioner.search
    samples = sample_pictures()
    sources = [samples[number % len(samples)] for number in range(count)]
    pixels = torch.from_numpy(np.stack([model.encoder.preprocessing.read(source) for source in sources]))
    with torch.inference_mode():
        features = model.encoder(pixels)
    common = list(model.vocabulary.counts)[100:300]

    def searching(*, best: int = 1, steering: Steering | None = None, **settings: Any) -> Callable[[], Any]:
        rules = (steering or Steering()).rules(model.vocabulary)
        search = replace(plain, **settings)
        return lambda: model.search(features, search, best=best, rules=rules)

    @torch.inference_mode()
    def encode() -> Any:
        return model.encoder(pixels)

    tasks = {
        PLAIN: searching(),
        "greedy": searching(beam_width=1),
        f"the {plain.beam_width} best": searching(best=plain.beam_width),
        "a group for every beam": searching(best=plain.beam_width, groups=plain.beam_width),
        "8 to 12 words": searching(min_length=8, max_length=12),
        "no reward for length": searching(length_exponent=0.0),
        "no rule against repeats": searching(no_repeat_ngram=0),
        "drawn at random": searching(method="sample"),
        "drawn with temperature, top-k and top-p": searching(method="sample", temperature=0.8, top_k=50, top_p=0.9),
        "a beginning of two words": searching(steering=Steering(beginning="two dogs")),
        "3 words forbidden": searching(steering=Steering(forbid=tuple(common[:3]))),
        "200 words forbidden": searching(steering=Steering(forbid=tuple(common))),
        "a phrase forbidden": searching(steering=Steering(forbid=("in front of",))),
        "1 word required": searching(steering=Steering(require=("grass",))),
        "2 words required": searching(steering=Steering(require=("grass", "ball"))),
        "a phrase of 3 words required": searching(steering=Steering(require=("in the snow",))),
        "a beginning, 3 words forbidden, 1 required": searching(
            steering=Steering(beginning="two dogs", forbid=tuple(common[:3]), require=("grass",))
        ),
        "the tree recorded": lambda: model.search(features, plain, recorder=Recorder()),
    }
    if captioner.calibration is not None:
        judge, photographs = captioner.calibration.judge, captioner.calibration.photographs
        said = [hypotheses[0].words for hypotheses in model.search(features, plain)]
        tasks |= {
            "confidence and abstention alone": lambda: [judge(each) for each in read_signs(model, features, said)],
            "abstention alone": lambda: [photographs.log_odds(each) for each in features.mean(dim=1).double().numpy()],
        }
    return tasks | {"the CNN alone": encode, "files to captions, all told": lambda: captioner.caption(sources)}


if __name__ == "__main__":
    run(benchmark)
