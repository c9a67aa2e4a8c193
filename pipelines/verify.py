"""Caption again what a run has captioned, and tell what has changed since.

captioner verify captions.jsonl
"""

import itertools
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import STOPPED, progress_bar, run

if TYPE_CHECKING:
    from captioner.inference.captioner import Captioner
    from captioner.inference.describer import Describer
    from captioner.inference.records import Record


def verify(
    out: Annotated[Path, typer.Argument(help="What a run has written: its --out.")],
    model: Annotated[Path | None, typer.Option(help="A folder, or USER/NAME; the shipped model if not given.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many records.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures captioned together.")] = 16,
    workers: Annotated[int, typer.Option(min=1, help="Processes that decode pictures.")] = 1,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; CUDA where there is one.")] = None,
) -> None:
    """Print which pictures and captions are not what they were, and in what this captioner differs.

    Ends with exit code 0 when nothing has changed, 3 when something has.
    """
    from captioner.data.decoding import Decoders
    from captioner.data.images import printable
    from captioner.inference.captioner import Captioner
    from captioner.inference.destinations import find_journal
    from captioner.inference.records import difference, read_records
    from captioner.inference.verification import verify as verify_records
    from captioner.interruption import stop_requests

    records = itertools.islice(read_records(find_journal(out)), limit)
    first = list(itertools.islice(records, 1))  # what is no journal is told before a model is loaded
    verdicts: Counter[str] = Counter()
    differences: dict[str, None] = {}
    captioner = Captioner.from_pretrained(model, device=device)
    preprocessing = captioner.model.encoder.preprocessing
    with ExitStack() as opened:
        decoding = opened.enter_context(Decoders(preprocessing, workers=workers, ahead=4 * batch_size))
        stop = opened.enter_context(stop_requests())
        bar = opened.enter_context(progress_bar())
        task = bar.add_task("Captioning again", total=limit)
        for origin, group in itertools.groupby(itertools.chain(first, records), key=lambda record: record["made_by"]):
            describing = _describer(captioner, origin)
            if differs := difference(origin, _origin(captioner, describing, origin)):
                differences[differs] = None
            for verified in verify_records(
                group, decoding=decoding, describing=describing, batch_size=batch_size, stop=stop
            ):
                verdicts[verified.verdict] += 1
                bar.advance(task)
                if verified.verdict != "same":
                    was = verified.record["caption"] or verified.record["error"]
                    path = printable(verified.record["path"])
                    print(f"{path}: {verified.verdict}: {was} -> {verified.detail}", flush=True)
    for differs in differences:
        print(f"captioner: the settings differ: {differs}.", file=sys.stderr)
    told = ", ".join(f"{count:,} {verdict}" for verdict, count in verdicts.most_common())
    print(f"captioner: {verdicts.total():,} records: {told or 'none'}.", file=sys.stderr)
    if stop():
        raise typer.Exit(STOPPED)
    if differences or verdicts["same"] < verdicts.total():
        raise typer.Exit(3)


def _describer(captioner: "Captioner", origin: "Record") -> "Describer":
    """What captions as a record says that it was captioned. Raises ConfigError when this model cannot."""
    from captioner.config import SearchConfig, from_dict
    from captioner.text.steering import Steering

    steering = {name: tuple(words) if isinstance(words, list) else words for name, words in origin["steering"].items()}
    return captioner.describer(
        search=from_dict(SearchConfig, origin["search"]),
        steering=Steering(**steering),
        candidates=origin["candidates"],
    )


def _origin(captioner: "Captioner", describing: "Describer", before: "Record") -> "Record":
    """What records would be made by now, worded as they were before."""
    from captioner.inference.records import made_with

    return made_with(captioner, describing) | {name: before[name] for name in ("wording", "min_confidence", "words")}


if __name__ == "__main__":
    run(verify)
