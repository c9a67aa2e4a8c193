"""How long one picture takes, from its file to its caption; what a cold start takes; memory and energy."""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from captioner.errors import CaptionerError

from .contestant import Contestant, held, on_processors
from .figures import Figure, Plan, figure, paired, percentile, take_turns

PICTURES = 32
_CAPTION = "from captioner.cli import main; main()"
_LOAD = """\
import sys, torch
from safetensors.torch import load_file
for file in sys.argv[1:]:
    load_file(file) if file.endswith(".safetensors") else torch.load(file, weights_only=True)
"""
_COUNTERS = Path("/sys/class/powercap")
"""Where Linux counts the energy of processors (RAPL)."""


def measure(plan: Plan) -> list[Figure]:
    """One picture beside the CNN alone; a cold start beside importing PyTorch and loading the weights.

    An exported model has no weights that PyTorch could load, so there nothing is told of a cold start.
    """
    weights = _weights(plan.model)
    figures = _one_picture(plan)
    figures.append(Figure("weights on the disk", sum(path.stat().st_size for path in weights) / 1e6, "MB"))
    if not any(path.suffix == ".onnx" for path in weights):
        figures += _cold_start(plan, weights)
    return figures


def _one_picture(plan: Plan) -> list[Figure]:
    settings = {"model": plan.model, "pictures": plan.pictures[:PICTURES]}
    with ExitStack() as opened:
        whole, encoder = (
            opened.enter_context(Contestant(task, threads=plan.threads, **settings))
            for task in ("latency:captioning", "latency:encoding")
        )

        def energy_and_seconds(contestant: Contestant) -> tuple[float | None, list[float]]:
            before = _joules()
            seconds = contestant.lap().answer
            after = _joules()
            if before is None or after is None or after < before:  # the counter began anew
                return None, seconds
            return after - before, seconds

        laps = take_turns(
            {"file to caption": partial(energy_and_seconds, whole), "CNN alone": partial(energy_and_seconds, encoder)},
            plan.rounds,
        )
    middle = {name: [percentile(seconds, 50) for _, seconds in each] for name, each in laps.items()}
    worst = {name: [percentile(seconds, 95) for _, seconds in each] for name, each in laps.items()}
    ratio = paired(middle["file to caption"], middle["CNN alone"])
    joules = [energy / PICTURES for energy, _ in laps["file to caption"] if energy is not None]
    return [
        figure("one picture / CNN alone, p50", ratio, "times", at_most=2.0, note="file to caption"),
        *(
            figure(f"{name}, {share}", [1000 * each for each in seconds[name]], "ms")
            for name in laps
            for share, seconds in (("p50", middle), ("p95", worst))
        ),
        figure("energy of one picture", joules, "J", note="the whole processor")
        if joules
        else Figure("energy of one picture", None, "J", note="not readable here"),
    ]


def captioning(model: str | None, pictures: Sequence[str]) -> Callable[[], list[float]]:
    """A lap captions the pictures one by one, one caption of each, and gives the seconds of each."""
    from captioner.inference.captioner import Captioner

    captioner = Captioner.from_pretrained(model, device="cpu")
    expected = [captioner.caption(picture, candidates=1).text for picture in pictures]

    def lap() -> list[float]:
        seconds, said = [], []
        for picture in pictures:
            began = time.perf_counter()
            said.append(captioner.caption(picture, candidates=1).text)
            seconds.append(time.perf_counter() - began)
        assert said == expected, "captions change while they are timed"
        return seconds

    return lap


def encoding(model: str | None, pictures: Sequence[str]) -> Callable[[], list[float]]:
    """A lap lets the CNN look at the decoded pictures one by one and gives the seconds of each."""
    import torch

    from captioner.inference.captioner import Captioner

    from .ours import pixels_of

    captioner = Captioner.from_pretrained(model, device="cpu")
    each = pixels_of(captioner, pictures).split(1)

    @torch.inference_mode()
    def lap() -> list[float]:
        seconds = []
        for pixels in each:
            began = time.perf_counter()
            captioner.model.encoder(pixels)
            seconds.append(time.perf_counter() - began)
        return seconds

    return lap


class _Ended(NamedTuple):
    """A program that has ended."""

    seconds: float
    megabytes: float
    """The most it ever held."""
    printed: str


def _cold_start(plan: Plan, weights: Sequence[Path]) -> list[Figure]:
    options = [] if plan.model is None else ["--model", plan.model]
    program = [sys.executable, "-c"]
    ended = take_turns(
        {
            "captioner": partial(
                _run, [*program, _CAPTION, "caption", plan.pictures[0], *options], threads=plan.threads
            ),
            "PyTorch": partial(_run, [*program, _LOAD, *map(str, weights)], threads=plan.threads),
        },
        plan.rounds,
    )
    assert len({each.printed for each in ended["captioner"]}) == 1, "captions change while they are timed"
    seconds = {name: [each.seconds for each in of_it] for name, of_it in ended.items()}
    return [
        figure(
            "cold start / PyTorch and the weights",
            paired(seconds["captioner"], seconds["PyTorch"]),
            "times",
            at_most=1.5,
            note="captioner caption, one picture",
        ),
        figure("captioner caption, cold", seconds["captioner"], "s"),
        figure("importing PyTorch, loading the weights", seconds["PyTorch"], "s"),
        figure("captioner caption, most memory", [each.megabytes for each in ended["captioner"]], "MB"),
        figure("PyTorch and the weights, most memory", [each.megabytes for each in ended["PyTorch"]], "MB"),
    ]


def _run(command: Sequence[str], *, threads: int) -> _Ended:
    """Run a program to its end. Raises CaptionerError when it fails."""
    began = time.perf_counter()
    with on_processors(threads):
        program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=held(threads))
    with program as running:
        assert running.stdout is not None
        printed = running.stdout.read()
        _, status, used = os.wait4(running.pid, 0)
        seconds = time.perf_counter() - began
        running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        raise CaptionerError("A program that was timed failed; standard error says why.")
    return _Ended(seconds, used.ru_maxrss / 1024, printed)


def _weights(model: str | None) -> list[Path]:
    """The files with the weights of a model: its own and, where a package carries them, its CNN's."""
    from captioner.model.checkpoint import load_checkpoint
    from captioner.model.encoder import PACKAGED_WEIGHTS
    from captioner.model.hub import find_model
    from captioner.model.onnx_model import is_exported

    folder = find_model(model).folder
    if is_exported(folder):
        return sorted(folder.glob("*.onnx"))
    config = load_checkpoint(folder).config.encoder
    files = [folder / "model.safetensors"]
    if config.weights == "packaged":
        package = importlib.util.find_spec(PACKAGED_WEIGHTS[config.name][0])
        assert package is not None
        files += [file for where in package.submodule_search_locations or () for file in Path(where).rglob("*.pth")]
    return files


def _joules() -> float | None:
    """What all processors have used since some moment; None where it cannot be read.

    Of the counters only those of whole processors ("package-0"): the whole machine's ("psys") counts the same again.
    """
    try:
        packages = [
            path for path in _COUNTERS.glob("intel-rapl:?") if (path / "name").read_text().startswith("package")
        ]
        counters = [int((path / "energy_uj").read_text()) for path in packages]
    except OSError:
        return None
    return sum(counters) / 1e6 if counters else None
