"""How time grows with what grows: an exponent for each, 1 where twice as much takes twice as long."""

import math
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from .contestant import Contestant, Lap
from .figures import Figure, Plan, exponent, take_turns

MOST = 1.1
"""No exponent may be greater."""
TIMES = 8
"""So often the pictures are captioned to see whether memory grows; the first time does not count."""
MOST_MEMORY = 20.0
"""MB that 1,000 pictures may add: less than their files would take if they were kept."""
PICTURES = (16, 32, 64, 128)
SEARCH: dict[str, tuple[int, ...]] = {
    "beam width": (2, 4, 8, 16, 32),
    "caption length": (5, 10, 20, 40, 80),
    "vocabulary": (2_000, 8_000, 32_000, 128_000),
    "regions": (49, 98, 196, 392, 784),
    "batch size": (1, 2, 4, 8, 16, 32, 64),
}
"""What grows in the search while the rest stays as `_USUAL` says."""
_USUAL = {"beam width": 5, "caption length": 10, "vocabulary": 2_000, "regions": 49, "batch size": 8}


def measure(plan: Plan) -> list[Figure]:
    """The exponents, and whether memory stays flat while the pictures become more."""
    most = PICTURES[-1]
    with ExitStack() as opened:

        def enter(task: str, **settings: Any) -> Contestant:
            return opened.enter_context(Contestant(task, threads=plan.threads, model=plan.model, **settings))

        bulk, search = enter("ours:bulk", pictures=plan.pictures[:most]), enter("growth:random_search")
        laps: dict[tuple[str, int], Callable[[], Lap]] = {
            ("pictures", count): partial(bulk.lap, count=count) for count in PICTURES
        }
        for name, sizes in SEARCH.items():
            laps |= {(name, size): partial(search.lap, **_arguments({**_USUAL, name: size})) for size in sizes}
        bulk.lap(count=most)
        answers = take_turns(laps, plan.rounds, warm=[each for each in laps if each[0] == "pictures"])
    with Contestant("growth:memory", threads=plan.threads, model=plan.model, pictures=plan.pictures) as again:
        before, after = again.lap(times=TIMES).answer
    seconds = {each: statistics.median(lap.seconds for lap in of_it) for each, of_it in answers.items()}
    figures = [
        exponent(name, [(size, seconds[name, size]) for size in sizes], at_most=MOST)
        for name, sizes in {"pictures": PICTURES, **SEARCH}.items()
    ]
    captioned = (TIMES - 2) * len(plan.pictures)
    more = 1000 * (after - before) / captioned
    note = f"by {captioned}, above {before:.0f} MB"
    return [*figures, Figure("memory for 1,000 pictures", more, "MB more", at_most=MOST_MEMORY, note=note)]


def _arguments(sizes: dict[str, int]) -> dict[str, int]:
    return {name.replace(" ", "_"): size for name, size in sizes.items()}


def random_search(model: str | None) -> Callable[..., None]:
    """The model's decoder with random weights, so that there can be any number of words and every length is said.

    The network and the features of a size are made in its first lap, which is not counted.
    """
    from dataclasses import replace
    from functools import cache

    import torch

    from captioner.inference.captioner import Captioner
    from captioner.model.captioning import CaptioningModel
    from captioner.model.decoder import build_decoder
    from captioner.text.vocabulary import Vocabulary

    from .ours import beam_alone

    captioner = Captioner.from_pretrained(model, device="cpu")
    encoder, config, usual = captioner.model.encoder, captioner.model.config, beam_alone(captioner)

    @cache
    def network(words: int) -> CaptioningModel:
        torch.manual_seed(0)
        vocabulary = Vocabulary([(f"word{number}", 1) for number in range(words)])
        decoder = build_decoder(config.decoder, feature_size=encoder.feature_size, vocabulary_size=len(vocabulary))
        decoder.fold(captioner.model.precision_here)
        return CaptioningModel(encoder, decoder, vocabulary, config).eval()

    @cache
    def features(pictures: int, regions: int) -> torch.Tensor:
        return torch.rand(pictures, regions, encoder.feature_size)

    def lap(beam_width: int, caption_length: int, vocabulary: int, regions: int, batch_size: int) -> None:
        settings = replace(usual, beam_width=beam_width, min_length=caption_length, max_length=caption_length)
        network(vocabulary).search(features(batch_size, regions), settings)

    return lap


def memory(model: str | None, pictures: Sequence[str]) -> Callable[[int], tuple[float, float]]:
    """A lap captions the pictures so many times in one go; the least memory, in MB, while the second and the last run.

    The least, since memory comes and goes with the batches, and what is kept raises it nevertheless.
    """
    import os
    import shutil
    import tempfile
    from pathlib import Path

    from captioner.inference.captioner import Captioner

    from ..served_page import megabytes
    from .ours import in_bulk

    batches = in_bulk(Captioner.from_pretrained(model, device="cpu"))

    def lap(times: int) -> tuple[float, float]:
        done, taken = 0, [math.inf] * times
        with tempfile.TemporaryDirectory() as folder:
            copies = [Path(folder, f"{turn}-{number}.jpg") for turn in range(times) for number in range(len(pictures))]
            for number, copy in enumerate(copies):
                shutil.copyfile(pictures[number % len(pictures)], copy)
            for batch in batches(list(map(str, copies))):
                turn = done // len(pictures)
                taken[turn] = min(taken[turn], megabytes(os.getpid()))
                done += len(batch)
        return taken[1], taken[-1]

    return lap
