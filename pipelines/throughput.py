"""How fast a folder is captioned, beside what the network alone could do in the same run.

captioner throughput holiday/
"""

import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from captioner.errors import DataError

from . import run, write_text

if TYPE_CHECKING:
    from captioner.data.decoding import Decoded
    from captioner.data.listing import Item
    from captioner.inference.bulk import Stages


def throughput(
    folder: Annotated[str, typer.Argument(help="Pictures: a folder, an archive, whatever can be captioned.")],
    pictures: Annotated[int, typer.Option(min=1, help="The first so many.")] = 512,
    rounds: Annotated[int, typer.Option(min=1, help="Each way is timed so often, in turn.")] = 3,
    model: Annotated[Path | None, typer.Option(help="A folder, or USER/NAME; the shipped model if not given.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures captioned together.")] = 16,
    workers: Annotated[int, typer.Option(min=1, help="Processes that decode pictures.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file.")] = None,
) -> None:
    """Time three ways in turn: from files to written captions, and from decoded pictures with and without overlapping.

    Seconds on the clock, medians over the rounds: ratios within one run hold on a busy machine, rates do not.
    """
    import torch

    from captioner.data.decoding import Decoders
    from captioner.data.listing import list_items
    from captioner.errors import ImageError
    from captioner.inference.bulk import Stages, caption_all, caption_items
    from captioner.inference.captioner import Captioner
    from captioner.inference.destinations import OneFile
    from captioner.inference.records import RecordStyle

    if out is not None:
        write_text(out, "", mode="a")  # says that it cannot before the minutes, not after
    processors = torch.get_num_threads()
    captioner = Captioner.from_pretrained(model, device="cpu")
    describer = captioner.describer()
    items = list(itertools.islice(list_items([folder]), pictures))
    with (
        Decoders(captioner.model.encoder.preprocessing, workers=workers, ahead=4 * batch_size) as decoders,
        tempfile.TemporaryDirectory() as scratch,
    ):
        decoded = list(decoders.decode(items))
        good = [each.pixels for _, each in decoded if not isinstance(each.pixels, ImageError)]
        if len(good) < 2 * batch_size:
            raise DataError(f"There must be {2 * batch_size} pictures or more to time, but {folder} holds {len(good)}.")
        stages = Stages()

        def from_files() -> None:
            torch.set_num_threads(max(1, processors // 2))
            place = OneFile(Path(scratch) / "captions.jsonl", "jsonl", RecordStyle({}), already_there="overwrite")
            for _ in caption_all(
                items, place, decoding=decoders, describing=describer, batch_size=batch_size, filled=True, stages=stages
            ):
                pass
            place.close()

        def overlapping() -> None:
            torch.set_num_threads(max(1, processors // 2))
            for _ in caption_items(
                items, decoding=_Replayed(decoded), describing=describer, batch_size=batch_size, filled=True
            ):
                pass

        def in_turn() -> None:
            torch.set_num_threads(processors)
            for first in range(0, len(good), batch_size):
                describer.describe(describer.encode(good[first : first + batch_size], filled_to=batch_size))

        ways: dict[str, Callable[[], None]] = {
            "files to written captions": from_files,
            "CNN and search alone, overlapping": overlapping,
            "CNN and search alone, in turn": in_turn,
        }
        seconds = _timed(ways, rounds)
    _report(seconds, stages, len(items), rounds, out)


class _Replayed:
    """Pictures decoded beforehand, in the place of processes that decode."""

    def __init__(self, decoded: "list[tuple[Item, Decoded]]") -> None:
        self._decoded = decoded

    def decode(self, sources: "Iterable[Item]") -> "Generator[tuple[Item, Decoded], None, None]":
        """What was decoded, whatever is asked for."""
        yield from self._decoded


def _timed(ways: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round, after one round that warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if number:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def _report(seconds: dict[str, list[float]], stages: "Stages", pictures: int, rounds: int, out: Path | None) -> None:
    whole, *alone = seconds
    figures = {name: pictures / statistics.median(times) for name, times in seconds.items()}
    for name, rate in figures.items():
        print(f"{name:36} {rate:7.1f} pictures a second")
    for name in alone:
        paired = [without / with_files for with_files, without in zip(seconds[whole], seconds[name], strict=True)]
        figures[f"{whole} / {name}"] = statistics.median(paired)
        print(f"{whole} at {100 * statistics.median(paired):.0f} % of {name}")
    each = {
        "waiting for decoded pictures": stages.decode,
        "CNN": stages.encode,
        "search and confidence": stages.search,
        "writing": stages.write,
    }
    for name, busy in each.items():  # in the warming round as well
        figures[f"ms: {name}"] = 1000 * busy / (pictures * (rounds + 1))
        print(f"  {name:34} {figures[f'ms: {name}']:7.2f} ms a picture, beside the others")
    if out is not None:
        write_text(out, json.dumps({name: round(value, 4) for name, value in figures.items()}, indent=2) + "\n")


if __name__ == "__main__":
    run(throughput)
