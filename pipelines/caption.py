"""Caption pictures and folders of pictures.

captioner caption dog.jpg holiday/
captioner caption holiday/ --out captions.jsonl
"""

import json
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, TextIO

import typer

from captioner.errors import ConfigError, DataError

from . import run


def caption(
    paths: Annotated[list[Path] | None, typer.Argument(help="Pictures, and folders of pictures.")] = None,
    samples: Annotated[bool, typer.Option("--samples", help="Caption the sample photographs.")] = False,
    model: Annotated[Path | None, typer.Option(help="A model folder; the shipped model if not given.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write one JSON object per picture to this file.")] = None,
    beam_width: Annotated[int | None, typer.Option(min=1, help="As stored with the model if not given.")] = None,
    candidates: Annotated[int | None, typer.Option(min=1, help="Captions per picture in --out.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures captioned together.")] = 16,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; CUDA where there is one.")] = None,
) -> None:
    """Print `path: caption` for every picture, or write them to a file.

    Ends with exit code 3 when some pictures could not be captioned, 2 when none could.
    """
    from dataclasses import replace

    from captioner.data.samples import sample_pictures
    from captioner.inference.bulk import as_record, find_pictures
    from captioner.inference.captioner import Captioner

    chosen = [*(paths or []), *(sample_pictures() if samples else [])]
    if not chosen:
        raise ConfigError("There must be something to caption; name pictures or folders, or give --samples.")
    pictures = list(find_pictures(chosen))
    if out is not None and out.suffix != ".jsonl":
        raise ConfigError(f"--out writes JSON lines, so its name must end in .jsonl, but {out} came.")
    captioner = Captioner.from_pretrained(model, device=device)
    search = captioner.search if beam_width is None else replace(captioner.search, beam_width=beam_width)
    captions = captioner.caption_each(pictures, candidates=candidates, search=search, batch_size=batch_size)
    failed = 0
    with _opened(out) as file:
        for path, result in zip(pictures, captions, strict=True):
            if result.error is not None:
                failed += 1
                print(f"captioner: {result.error}", file=sys.stderr)
            if file is not None:
                record = as_record(path, result, model=captioner.name)
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
                file.flush()
            elif result.text is not None:
                print(f"{path}: {result.text}")
    if out is not None:
        print(f"{len(pictures) - failed} of {len(pictures)} pictures captioned in {out}.", file=sys.stderr)
    if failed:
        raise typer.Exit(2 if failed == len(pictures) else 3)


def _opened(out: Path | None) -> AbstractContextManager[TextIO | None]:
    if out is None:
        return nullcontext()
    try:
        return out.open("w", encoding="utf-8")
    except OSError as error:
        raise DataError(f"The captions cannot be written to {out} ({error.strerror}); choose another --out.") from error


if __name__ == "__main__":
    run(caption)
