"""What each option of the search costs beside plain beam search, and the CNN and the whole captioner beside it too.

Processor time of one thread, because what is compared differs by so little.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from .contestant import Contestant
from .figures import Figure, Plan, figure, paired, take_turns

if TYPE_CHECKING:
    from torch import Tensor

    from captioner.inference.captioner import Captioner
    from captioner.text.steering import WordRules

PICTURES = 16
PLAIN = "plain beam search"


def measure(plan: Plan) -> list[Figure]:
    """The cost of every option as a ratio to plain beam search, 16 pictures together."""
    pictures = plan.pictures[:PICTURES]
    with Contestant("search_options:options", threads=1, model=plan.model, pictures=pictures) as ours:
        names, left_out = ours.lap(name=None).answer
        laps = take_turns({name: partial(ours.lap, name=name) for name in names}, plan.rounds)
    seconds = {name: [lap.processor_seconds for lap in each] for name, each in laps.items()}
    plain = [1000 * each / len(pictures) for each in seconds[PLAIN]]
    return [
        figure(PLAIN, plain, "ms a picture", note="of processor time"),
        *(figure(name, paired(seconds[name], seconds[PLAIN]), "times") for name in names if name != PLAIN),
        *(Figure(name, None, "times", note="the model does not know the words of this rule") for name in left_out),
    ]


def options(model: str | None, pictures: Sequence[str]) -> Callable[[str | None], tuple[list[str], list[str]] | None]:
    """A lap does what is called so; None asks for the names, and for those of what this model cannot do."""
    from captioner.inference.captioner import Captioner

    from .ours import features_of

    captioner = Captioner.from_pretrained(model, device="cpu")
    features = features_of(captioner, pictures)
    rules = _rules(captioner)
    known = {name: rule for name, rule in rules.items() if rule is not None}
    tasks = _searches(captioner, features, known) | _others(captioner, pictures, features)

    def lap(name: str | None) -> tuple[list[str], list[str]] | None:
        if name is None:
            return list(tasks), [each for each in rules if each not in known]
        tasks[name]()
        return None

    return lap


def _rules(captioner: "Captioner") -> "dict[str, WordRules | None]":
    """Rules for the words of a caption, by name; None where the model does not know all of their words."""
    from captioner.text.steering import Steering

    vocabulary = captioner.model.vocabulary
    # A rule cannot ask for a word and forbid it.
    common = tuple(word for word in vocabulary.counts if word not in ("two", "dogs", "grass"))[100:300]
    steerings = {
        "a beginning of two words": Steering(beginning="two dogs"),
        "3 words forbidden": Steering(forbid=common[:3]),
        "200 words forbidden": Steering(forbid=common),
        "a phrase forbidden": Steering(forbid=("in front of",)),
        "1 word required": Steering(require=("grass",)),
        "2 words required": Steering(require=("grass", "ball")),
        "a phrase of 3 words required": Steering(require=("in the snow",)),
        "a beginning, 3 words forbidden, 1 required": Steering(
            beginning="two dogs", forbid=common[:3], require=("grass",)
        ),
    }

    def known(steering: Steering) -> bool:
        texts = [*steering.forbid, *steering.require, steering.beginning or ""]
        return all(word in vocabulary for text in texts for word in vocabulary.normalise(text))

    enough = len(common) == 200  # or fewer words would be forbidden than is said
    return {name: each.rules(vocabulary) if enough and known(each) else None for name, each in steerings.items()}


def _searches(
    captioner: "Captioner", features: "Tensor", rules: "Mapping[str, WordRules]"
) -> dict[str, Callable[[], Any]]:
    """Searches that are timed, by name, all from the same features."""
    from dataclasses import replace

    from captioner.search.tree import Recorder

    model, plain = captioner.model, captioner.search

    def searching(*, best: int = 1, **settings: Any) -> Callable[[], Any]:
        return partial(model.search, features, replace(plain, **settings), best=best)

    return {
        PLAIN: searching(),
        "greedy": searching(beam_width=1),
        f"the {plain.beam_width} best": searching(best=plain.beam_width),
        "a group for every beam": searching(best=plain.beam_width, groups=plain.beam_width),
        "8 to 12 words": searching(min_length=8, max_length=12),
        "no reward for length": searching(length_exponent=0.0),
        "no rule against repeats": searching(no_repeat_ngram=0),
        "drawn at random": searching(method="sample"),
        "drawn with temperature, top-k and top-p": searching(method="sample", temperature=0.8, top_k=50, top_p=0.9),
        **{name: partial(model.search, features, plain, rules=each) for name, each in rules.items()},
        "the tree recorded": lambda: model.search(features, plain, recorder=Recorder()),
    }


def _others(captioner: "Captioner", pictures: Sequence[str], features: "Tensor") -> dict[str, Callable[[], Any]]:
    """What comes before and after the search, by name: confidence, where there is any, the CNN, and everything."""
    import torch

    from captioner.inference.confidence import read_signs

    from .ours import pixels_of

    model, pixels = captioner.model, pixels_of(captioner, pictures)
    tasks: dict[str, Callable[[], Any]] = {}
    if (calibration := captioner.calibration) is not None:
        photographs = calibration.photographs

        def with_confidence() -> None:
            watch = model.watch()
            for place, [best] in enumerate(model.search(features, captioner.search, watch=watch)):
                choices = watch.choices(place, best.words)
                calibration.judge(read_signs(model.vocabulary, features[place], best.words, choices))

        tasks = {
            "with confidence and abstention": with_confidence,
            "abstention alone": lambda: [photographs.log_odds(each) for each in features.mean(dim=1).double().numpy()],
        }

    @torch.inference_mode()
    def encode() -> Any:
        return model.encoder(pixels)

    return tasks | {"the CNN alone": encode, "files to captions, all told": lambda: captioner.caption(list(pictures))}
