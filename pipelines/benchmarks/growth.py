"""How time grows with what grows: an exponent for each, 1 where twice as much takes twice as long."""

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from .contestant import Contestant, Lap
from .figures import Figure, Plan, exponent, take_turns

MOST = 1.1
"""No exponent may be greater."""
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
    with ExitStack() as opened:

        def enter(task: str, **settings: Any) -> Contestant:
            return opened.enter_context(Contestant(task, threads=plan.threads, model=plan.model, **settings))

        bulk, search = enter("ours:bulk", pictures=plan.pictures[: PICTURES[-1]]), enter("growth:random_search")
        laps: dict[tuple[str, int], Callable[[], Lap]] = {
            ("pictures", count): partial(bulk.lap, count=count) for count in PICTURES
        }
        for name, sizes in SEARCH.items():
            laps |= {(name, size): partial(search.lap, **_arguments({**_USUAL, name: size})) for size in sizes}
        few, *_, many = (bulk.lap(count=count).answer["memory"] for count in PICTURES)
        answers = take_turns(laps, plan.rounds)
    seconds = {each: statistics.median(lap.seconds for lap in of_it) for each, of_it in answers.items()}
    figures = [
        exponent(name, [(size, seconds[name, size]) for size in sizes], at_most=MOST)
        for name, sizes in {"pictures": PICTURES, **SEARCH}.items()
    ]
    note = f"{many:.0f} MB after {PICTURES[-1]} pictures / after {PICTURES[0]}"
    return [*figures, Figure("memory", many / few, "times as much", at_most=1.1, note=note)]


def _arguments(sizes: dict[str, int]) -> dict[str, int]:
    return {name.replace(" ", "_"): size for name, size in sizes.items()}


def random_search(model: str | None) -> Callable[..., None]:
    """The model's decoder with random weights, so that there can be any number of words and every length is said."""
    from dataclasses import replace
    from functools import cache

    import torch

    from captioner.inference.captioner import Captioner
    from captioner.model.captioning import CaptioningModel
    from captioner.model.decoder import build_decoder
    from captioner.text.vocabulary import Vocabulary

    captioner = Captioner.from_pretrained(model, device="cpu")
    encoder, config = captioner.model.encoder, captioner.model.config

    @cache
    def network(words: int) -> CaptioningModel:
        torch.manual_seed(0)
        vocabulary = Vocabulary([(f"word{number}", 1) for number in range(words)])
        decoder = build_decoder(config.decoder, feature_size=encoder.feature_size, vocabulary_size=len(vocabulary))
        return CaptioningModel(encoder, decoder, vocabulary, config).eval()

    def lap(beam_width: int, caption_length: int, vocabulary: int, regions: int, batch_size: int) -> None:
        features = torch.rand(batch_size, regions, encoder.feature_size)
        settings = replace(config.search, beam_width=beam_width, min_length=caption_length, max_length=caption_length)
        network(vocabulary).search(features, settings)

    return lap
