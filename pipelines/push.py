"""Send a model to the Hugging Face hub.

captioner push runs/mine/best USER/NAME
captioner push runs/mine/best USER/NAME --evaluation out/mine --license cc-by-4.0 --public
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from captioner.errors import CaptionerError, ConfigError

from . import run

_CARD = "For a model without a card"


def push(
    model: Annotated[str, typer.Argument(help="A model folder, such as the `best` of a run.")],
    name: Annotated[str, typer.Argument(help="USER/NAME on the hub; made if there is no such repository.")],
    public: Annotated[
        bool, typer.Option("--public", help="Show a new repository to everyone; private if not given.")
    ] = False,
    license: Annotated[
        str | None, typer.Option(help="The hub's name of one, such as cc-by-4.0.", rich_help_panel=_CARD)
    ] = None,
    dataset: Annotated[
        list[str] | None, typer.Option(help="A data set it learnt from; repeatable.", rich_help_panel=_CARD)
    ] = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="What `captioner evaluate` wrote about it.", rich_help_panel=_CARD)
    ] = None,
) -> None:
    """Send a checked model with its card to USER/NAME, from where `--model USER/NAME` loads it.

    A model without a card (README.md) gets one, written into its folder for you to complete. Log in beforehand with `hf
    auth login`, or set HF_TOKEN.
    """
    from captioner.durable import write_whole
    from captioner.inference.card import measured_by_evaluation, measured_in_training, render_card
    from captioner.model.hub import check_repository, find_model, send_model

    check_repository(name)
    found = find_model(model)
    card = found.folder / "README.md"
    if card.exists() and (license is not None or dataset or evaluation is not None):
        raise ConfigError(
            f"--license, --dataset and --evaluation are for a card that is yet to be written, but there is {card}; "
            "write them there, or take it away to have a new one."
        )
    if not card.exists():
        if found.downloaded:
            raise CaptionerError(f"A model must have a card to be sent on, but {model} has none; copy it first.")
        run_itself = measured_in_training(found.folder)
        evaluated = None if evaluation is None else measured_by_evaluation(found.folder, evaluation)
        measured = [each for each in (run_itself, evaluated) if each is not None]
        text = render_card(found.folder, name, licence=license, datasets=dataset or [], measured=measured)
        write_whole(card, text)
        print(f"captioner: Its card is {card}; complete what it calls TODO and push again.", file=sys.stderr)
    address = send_model(found.folder, name, public=public)
    print(f'Sent to {address}; load it with Captioner.from_pretrained("{name}").')


if __name__ == "__main__":
    run(push)
