"""The search beside a textbook decoder with the same weights in 32 bits: how much sooner, and whether it says the same.

In 32 bits ours must say the same about every picture. In bfloat16 how often it does is told; what that is worth is for
`captioner compare` to say.
"""

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from .contestant import Contestant, Lap
from .figures import Figure, Plan, figure, paired, take_turns, worst
from .ours import precision

PICTURES = 8
BARS = {8: 12.0, 1: 5.0}
"""Pictures searched together, and how many times as fast as the textbook that must be."""


def measure(plan: Plan) -> list[Figure]:
    """How many times as long the textbook decoder takes for the same pictures, from the same features."""
    with ExitStack() as opened:

        def enter(task: str) -> Contestant:
            pictures = plan.pictures[:PICTURES]
            return opened.enter_context(Contestant(task, threads=plan.threads, model=plan.model, pictures=pictures))

        textbook, ours = enter("search:textbook"), enter("ours:searching")
        turns: dict[str, Callable[[], Lap]] = {"textbook decoder": textbook.lap}
        turns |= {_ours(size): partial(ours.lap, batch_size=size) for size in BARS}
        laps = take_turns(turns, plan.rounds)
    seconds = {name: [lap.seconds for lap in each] for name, each in laps.items()}
    textbooks = seconds["textbook decoder"]
    return [
        *(
            figure(f"textbook / {_ours(size)}", paired(textbooks, seconds[_ours(size)]), "times", at_least=bar)
            for size, bar in BARS.items()
        ),
        worst(
            "the same captions",
            [_same(each) for each in zip(*laps.values(), strict=True)],
            at_least=1.0 if precision(plan.model) == "float32" else None,
            note="the worst round",
        ),
        *(figure(name, [1000 * each / PICTURES for each in times], "ms a picture") for name, times in seconds.items()),
    ]


def _ours(batch_size: int) -> str:
    return f"our search, batch {batch_size}"


def _same(laps: Sequence[Lap]) -> float:
    """The share of pictures about which all said the same in this round."""
    return statistics.mean(said.count(said[0]) == len(said) for said in zip(*(lap.answer for lap in laps), strict=True))


def textbook(model: str | None, pictures: Sequence[str]) -> Callable[[], list[list[int]]]:
    """A lap searches the pictures one after the other and gives the words' ids."""
    from captioner.inference.captioner import Captioner

    from .ours import beam_alone, features_of
    from .textbook import Textbook

    captioner = Captioner.from_pretrained(model, device="cpu")
    features, settings = features_of(captioner, pictures), beam_alone(captioner)
    decoder = Textbook(captioner.model.decoder.state_dict(), captioner.model.config.decoder).eval()
    return lambda: [decoder.search(each, settings) for each in features]
