"""The options that steer a sentence, the same for every command that says one."""

from typing import Annotated, Any

import typer

from captioner.config import SearchConfig, changed_search
from captioner.errors import ConfigError

_PANEL = "What captions say"

Forbid = Annotated[
    list[str] | None, typer.Option(help="A word or phrase never to say; repeatable.", rich_help_panel=_PANEL)
]
Require = Annotated[
    list[str] | None, typer.Option(help="A word or phrase always to say; repeatable.", rich_help_panel=_PANEL)
]
Beginning = Annotated[str | None, typer.Option(help="How every caption begins.", rich_help_panel=_PANEL)]

MinLength = Annotated[int | None, typer.Option(min=0, help="Fewest words of a caption.", rich_help_panel=_PANEL)]
MaxLength = Annotated[int | None, typer.Option(min=1, help="Most words of a caption.", rich_help_panel=_PANEL)]
NoRepeatNgram = Annotated[
    int | None, typer.Option(min=0, help="Say no so many words in a row twice; 0 allows it.", rich_help_panel=_PANEL)
]

Mirror = Annotated[
    bool | None,
    typer.Option(
        "--mirror/--no-mirror",
        help="Look at the mirror image of each picture, too: better captions, for twice the CNN's time. As stored with "
        "the model if not given.",
        rich_help_panel=_PANEL,
    ),
]

BeamWidth = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="How many sentences are pursued at a time; the model's own number if not given.",
        rich_help_panel=_PANEL,
    ),
]
LengthExponent = Annotated[
    float | None, typer.Option(min=0, help="0 favours short captions, 1 long ones.", rich_help_panel=_PANEL)
]
Consensus = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Say not the best scored sentence but the one most like all those found; the higher, the more the "
        "unlikely ones count. 0: the best scored.",
        rich_help_panel=_PANEL,
    ),
]
Groups = Annotated[
    int | None,
    typer.Option(min=1, help="Diverse beam search: into how many groups the beam is split.", rich_help_panel=_PANEL),
]
Diversity = Annotated[
    float | None, typer.Option(min=0, help="How much the groups avoid each other.", rich_help_panel=_PANEL)
]

Temperature = Annotated[
    float | None,
    typer.Option(
        help="Draw words at random: below 1 the likely ones more, above 1 less often.", rich_help_panel=_PANEL
    ),
]
TopK = Annotated[
    int | None, typer.Option(min=0, help="Draw words from so many likeliest; 0: from all.", rich_help_panel=_PANEL)
]
TopP = Annotated[
    float | None,
    typer.Option(help="Draw words from the likeliest that together have this probability.", rich_help_panel=_PANEL),
]
Seed = Annotated[
    int | None,
    typer.Option(min=0, help="Draw words at random, the same again for the same seed.", rich_help_panel=_PANEL),
]

_SEARCHING = ("beam_width", "length_exponent", "consensus", "groups", "diversity")
_DRAWING = ("temperature", "top_k", "top_p", "seed")


def chosen_search(stored: SearchConfig, **options: Any) -> SearchConfig:
    """The settings stored with a model, with the options given (not None) in their place.

    One that shapes chance has words drawn at random, one that shapes the beam has them searched for. Raises ConfigError
    when there are both.
    """
    given = {name: value for name, value in options.items() if value is not None}
    drawing, searching = ([name for name in names if name in given] for names in (_DRAWING, _SEARCHING))
    if drawing and searching:
        one, other = (f"--{names[0].replace('_', '-')}" for names in (drawing, searching))
        raise ConfigError(f"Words are either drawn at random ({one}) or searched for ({other}); drop one of the two.")
    if drawing or searching:
        given["method"] = "sample" if drawing else "beam"
    return changed_search(stored, given)
