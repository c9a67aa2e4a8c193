"""What each option of the search costs beside plain beam search, and the CNN and the whole captioner beside it too.

Processor time of one thread, because what is compared differs by so little.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from .contestant import Contestant
from .figures import Figure, Plan, figure, paired, take_turns

if TYPE_CHECKING:
    from captioner.inference.captioner import Captioner

PICTURES = 16
PLAIN = "plain beam search"


def measure(plan: Plan) -> list[Figure]:
    """The cost of every option as a ratio to plain beam search, 16 pictures together."""
    pictures = plan.pictures[:PICTURES]
    with Contestant("search_options:options", threads=1, model=plan.model, pictures=pictures) as ours:
        names = ours.lap(name=None).answer
        laps = take_turns({name: partial(ours.lap, name=name) for name in names}, plan.rounds)
    seconds = {name: [lap.processor_seconds for lap in each] for name, each in laps.items()}
    plain = [1000 * each / len(pictures) for each in seconds[PLAIN]]
    return [
        figure(PLAIN, plain, "ms a picture", note="of processor time"),
        *(figure(name, paired(seconds[name], seconds[PLAIN]), "times") for name in names if name != PLAIN),
    ]


def options(model: str | None, pictures: Sequence[str]) -> Callable[[str | None], list[str] | None]:
    """A lap does what is called so; None asks for the names."""
    from captioner.inference.captioner import Captioner

    tasks = _tasks(Captioner.from_pretrained(model, device="cpu"), pictures)

    def lap(name: str | None) -> list[str] | None:
        if name is None:
            return list(tasks)
        tasks[name]()
        return None

    return lap


def _tasks(captioner: "Captioner", pictures: Sequence[str]) -> dict[str, Callable[[], Any]]:
    """What is timed, by name; every search starts from features computed beforehand."""
    from dataclasses import replace

    import torch

    from captioner.inference.confidence import read_signs
    from captioner.search.tree import Recorder
    from captioner.text.steering import Steering

    from .ours import features_of, pixels_of

    model, plain = captioner.model, captioner.search
    pixels, features = pixels_of(captioner, pictures), features_of(captioner, pictures)
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
    return tasks | {"the CNN alone": encode, "files to captions, all told": lambda: captioner.caption(list(pictures))}
