"""Let a large vision-language model caption pictures once, so that a small model can learn from them.

captioner label path/to/pictures --teacher USER/NAME --out data/mine
captioner label path/to/pictures --teacher path/to/model --out data/mine --captions 3 --resume
captioner prepare data/mine --out data/prepared
"""

import itertools
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from captioner.errors import ConfigError

from . import STOPPED, lies_in, run
from .progress import RunProgress


def label(
    paths: Annotated[list[str], typer.Argument(help="Folders of pictures, and all else that `caption` takes.")],
    teacher: Annotated[
        str, typer.Option(help="A vision-language model: a folder, or USER/NAME[@REVISION] of the Hugging Face hub.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write, for you to correct and for `prepare` to read.")],
    captions: Annotated[int, typer.Option(min=1, help="Captions to ask for, for each picture.")] = 5,
    prompt: Annotated[str | None, typer.Option(help="What to ask, in any language the teacher knows.")] = None,
    max_words: Annotated[int, typer.Option(min=2, help="Longer captions are cut or left out.")] = 30,
    temperature: Annotated[float, typer.Option(help="Lower is safer, higher more varied.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Draw from the likeliest words of this probability.")] = 0.9,
    seed: Annotated[int, typer.Option(help="Another seed draws other captions.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Add what --out does not hold yet.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many that are not done.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures described together.")] = 1,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; CUDA where there is one.")] = None,
) -> None:
    """Write several captions for every picture into a collection that you can correct and `captioner prepare` reads.

    Correct the captions in OUT/metadata.jsonl whenever no run is going on: no run changes a line that is there. Ctrl-C
    finishes the pictures at hand; --resume goes on, also after a crash. Ends with exit code 0 when every picture has
    captions, 3 when some have none (OUT/failed.jsonl says why), 75 when it was stopped.
    """
    import transformers

    from captioner.data.decoding import Decoders
    from captioner.data.listing import list_items
    from captioner.inference.labelled_folder import LabelledFolder
    from captioner.inference.labelling import GLANCE, label_all, made_by
    from captioner.inference.teacher import Asking, Teacher
    from captioner.interruption import stop_requests

    asking = Asking(prompt, captions, max_words, temperature, top_p, seed)
    _check_apart(paths, out)
    items = list_items(paths)
    transformers.utils.logging.set_verbosity_error()
    model = Teacher.from_pretrained(teacher, device=device)
    model.rehearse(asking)

    with ExitStack() as opened:
        folder = opened.enter_context(LabelledFolder(out, made_by(model, asking), resume=resume))
        total = None if "-" in paths else lambda: sum(1 for _ in itertools.islice(list_items(paths), limit))
        progress = opened.enter_context(RunProgress(total=total, shown=True))
        stop = opened.enter_context(stop_requests())
        decoding = opened.enter_context(Decoders(GLANCE, workers=1, ahead=4 * batch_size))

        def undone():  # type: ignore[no-untyped-def]
            for item in items:
                if folder.done(item):
                    progress.skip()
                else:
                    yield item

        wanted = itertools.islice(undone(), limit)
        for batch in label_all(
            wanted,
            folder,
            decoding=decoding,
            teacher=model,
            asking=asking,
            batch_size=batch_size,
            stop=stop,
            skipped=lambda item: progress.skip(),
        ):
            for labelled in batch:
                if labelled.error is not None:
                    progress.say(labelled.error)
            progress.add(labelled.error_kind for labelled in batch)
    print(f"captioner: {progress.summary()}", file=sys.stderr)
    if stop():
        print("captioner: Stopped as asked; nothing is lost: the same command with --resume goes on.", file=sys.stderr)
        raise typer.Exit(STOPPED)
    print(
        f"captioner: Correct the captions in {out / 'metadata.jsonl'}, then `captioner prepare {out}`.", file=sys.stderr
    )
    if progress.errors:
        raise typer.Exit(3)


def _check_apart(paths: list[str], out: Path) -> None:
    """Raise ConfigError if pictures would be written into a folder that pictures are read from."""
    for path in paths:
        if path != "-" and lies_in(out, path):
            raise ConfigError(
                f"Pictures are linked into --out, so it must lie outside what is labelled, but {out} lies in {path}; "
                "choose another --out."
            )


if __name__ == "__main__":
    run(label)
