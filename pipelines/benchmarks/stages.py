"""Where the time of captioning a folder goes: the stages one after the other, so that each can be timed."""

import statistics
from collections.abc import Callable, Sequence

from .contestant import Contestant
from .figures import Figure, Plan, figure

PICTURES = 64


def measure(plan: Plan) -> list[Figure]:
    """The share of each stage, and its milliseconds."""
    pictures = plan.pictures[:PICTURES]
    with Contestant("stages:in_turn", threads=plan.threads, model=plan.model, pictures=pictures) as ours:
        ours.lap()
        rounds = [ours.lap().answer for _ in range(plan.rounds)]
    figures = []
    for stage in rounds[0]:
        shares = [seconds[stage] / sum(seconds.values()) for seconds in rounds]
        milliseconds = statistics.median(1000 * seconds[stage] / len(pictures) for seconds in rounds)
        figures.append(figure(stage, shares, "share", note=f"{milliseconds:.2f} ms a picture"))
    return figures


def in_turn(model: str | None, pictures: Sequence[str]) -> Callable[[], dict[str, float]]:
    """A lap captions the pictures and gives the seconds of every stage."""
    import tempfile
    import time
    from pathlib import Path, PurePosixPath

    from captioner.data.images import read_file
    from captioner.data.listing import Item
    from captioner.inference.bulk import Captioned
    from captioner.inference.captioner import Captioner
    from captioner.inference.destinations import OneFile
    from captioner.inference.records import RecordStyle

    from .ours import BATCH

    captioner = Captioner.from_pretrained(model, device="cpu")
    preprocessing = captioner.model.encoder.preprocessing
    describer = captioner.describer(candidates=1)

    def lap() -> dict[str, float]:
        seconds = dict.fromkeys(("open", "decode", "preprocess", "CNN", "search, confidence", "write"), 0.0)
        began = time.perf_counter()

        def done(stage: str) -> None:
            nonlocal began
            now = time.perf_counter()
            seconds[stage] += now - began
            began = now

        with tempfile.TemporaryDirectory() as folder:
            place = OneFile(Path(folder, "captions.jsonl"), "jsonl", RecordStyle({}), already_there="fail")
            for first in range(0, len(pictures), BATCH):
                names = pictures[first : first + BATCH]
                began = time.perf_counter()
                files = [read_file(name, name=name) for name in names]
                done("open")
                opened = [preprocessing.open(file) for file in files]
                done("decode")
                pixels = [preprocessing.pixels(picture) for picture in opened]
                done("preprocess")
                encoded = describer.encode(pixels)
                done("CNN")
                captions = describer.describe(encoded)
                done("search, confidence")
                items = [Item(name, PurePosixPath(Path(name).name), Path(name)) for name in names]
                place.write([Captioned(*pair, digest=None) for pair in zip(items, captions, strict=True)])
                done("write")
            place.close()
        return seconds

    return lap
