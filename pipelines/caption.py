"""Caption pictures and folders of pictures.

captioner caption dog.jpg holiday/
captioner caption holiday/ --out captions.jsonl
captioner caption dog.jpg --forbid man --forbid men --require dog --beginning "two"
captioner caption dog.jpg --top-p 0.9 --seed 7
captioner caption dog.jpg --confidence --alt-text
"""

import json
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from captioner.config import SearchConfig
from captioner.errors import ConfigError, DataError

from . import run

if TYPE_CHECKING:
    from captioner.inference.caption import Caption


def caption(
    paths: Annotated[list[Path] | None, typer.Argument(help="Pictures, and folders of pictures.")] = None,
    samples: Annotated[bool, typer.Option("--samples", help="Caption the sample photographs.")] = False,
    model: Annotated[Path | None, typer.Option(help="A model folder; the shipped model if not given.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write one JSON object per picture to this file.")] = None,
    beam_width: Annotated[int | None, typer.Option(min=1, help="As stored with the model if not given.")] = None,
    candidates: Annotated[int | None, typer.Option(min=1, help="Captions per picture in --out.")] = None,
    forbid: Annotated[list[str] | None, typer.Option(help="A word or phrase never to say; repeatable.")] = None,
    require: Annotated[list[str] | None, typer.Option(help="A word or phrase always to say; repeatable.")] = None,
    beginning: Annotated[str | None, typer.Option(help="How every caption begins.")] = None,
    min_length: Annotated[int | None, typer.Option(min=0, help="In words.")] = None,
    max_length: Annotated[int | None, typer.Option(min=1, help="In words.")] = None,
    length_exponent: Annotated[float | None, typer.Option(min=0, help="0 favours short captions, 1 long ones.")] = None,
    no_repeat_ngram: Annotated[int | None, typer.Option(min=0, help="Say no so many words twice; 0: may.")] = None,
    groups: Annotated[int | None, typer.Option(min=1, help="Diverse beam search: groups of beams.")] = None,
    diversity: Annotated[float | None, typer.Option(min=0, help="How much the groups avoid each other.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Draw at random: below 1 bolder, above 1 wilder.")] = None,
    top_k: Annotated[int | None, typer.Option(min=0, help="Draw from so many likeliest words; 0: from all.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from words that together have this probability.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Draw at random, the same again for the same seed.")] = None,
    confidence: Annotated[bool, typer.Option("--confidence", help="Tell how sure each caption is.")] = False,
    word_confidence: Annotated[bool, typer.Option("--word-confidence", help="And each of its words.")] = False,
    alt_text: Annotated[
        bool, typer.Option("--alt-text", help="Tell what speaks against each caption as alt text.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures captioned together.")] = 16,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; CUDA where there is one.")] = None,
) -> None:
    """Print `path: caption` for every picture, or write them to a file.

    Words are searched for with a beam; --temperature, --top-k, --top-p or --seed draws them at random instead.
    Ends with exit code 3 when some pictures could not be captioned, 2 when none could.
    """
    from captioner.data.samples import sample_pictures
    from captioner.inference.bulk import as_record, find_pictures
    from captioner.inference.captioner import Captioner
    from captioner.text.alt_text import lint_alt_text
    from captioner.text.steering import Steering

    chosen = [*(paths or []), *(sample_pictures() if samples else [])]
    if not chosen:
        raise ConfigError("There must be something to caption; name pictures or folders, or give --samples.")
    pictures = list(find_pictures(chosen))
    if out is not None and out.suffix != ".jsonl":
        raise ConfigError(f"--out writes JSON lines, so its name must end in .jsonl, but {out} came.")
    captioner = Captioner.from_pretrained(model, device=device)
    beam = {
        "beam_width": beam_width,
        "length_exponent": length_exponent,
        "groups": groups,
        "diversity": diversity,
    }
    lengths = {"min_length": min_length, "max_length": max_length, "no_repeat_ngram": no_repeat_ngram}
    drawing = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    search = _search(captioner.search, beam=beam, drawing=drawing, both=lengths)
    steering = Steering(forbid=tuple(forbid or ()), require=tuple(require or ()), beginning=beginning)
    if (confidence or word_confidence) and captioner.calibration is None:
        raise ConfigError("This model has no calibration to tell confidence by; run `captioner calibrate` on it first.")
    captions = captioner.caption_each(
        pictures, candidates=candidates, search=search, steering=steering, batch_size=batch_size
    )
    for sentence in steering.needless(captioner.model.vocabulary):
        print(f"captioner: {sentence}", file=sys.stderr)
    failed = 0
    with _opened(out) as file:
        for path, result in zip(pictures, captions, strict=True):
            if result.error is not None:
                failed += 1
                print(f"captioner: {result.error}", file=sys.stderr)
            if file is not None:
                record = as_record(path, result, model=captioner.name, words=word_confidence)
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
                file.flush()
            elif result.text is not None:
                print(f"{path}: {_told(result, confidence=confidence, words=word_confidence)}")
            if alt_text and result.text is not None:
                for finding in lint_alt_text(result.text):
                    print(f"captioner: {path} as alt text: {finding}", file=sys.stderr)
    if out is not None:
        print(f"{len(pictures) - failed} of {len(pictures)} pictures captioned in {out}.", file=sys.stderr)
    if failed:
        raise typer.Exit(2 if failed == len(pictures) else 3)


def _told(caption: "Caption", *, confidence: bool, words: bool) -> str:
    """A caption as a line: `A dog runs. (medium, 0.41; dog 0.93, runs 0.55)`."""
    told = caption.hedged or ""
    if not (confidence or words):
        return told
    how_sure = "uncertain" if caption.confidence is None else f"{caption.level}, {caption.confidence:.2f}"
    if words and caption.word_confidences is not None:
        pairs = zip(caption.candidates[0].words, caption.word_confidences, strict=True)
        how_sure += "; " + ", ".join(f"{word} {each:.2f}" for word, each in pairs if each is not None)
    return f"{told} ({how_sure})"


def _search(
    stored: SearchConfig, *, beam: dict[str, Any], drawing: dict[str, Any], both: dict[str, Any]
) -> SearchConfig:
    """The model's own settings with those given (not None) in their place: drawing at random if one asks for it."""
    from dataclasses import replace

    def given(settings: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in settings.items() if value is not None}

    if not given(drawing):
        return _shortened(replace(stored, **given(beam), **given(both)), both)
    if given(beam):
        one, other = (f"--{next(iter(given(settings))).replace('_', '-')}" for settings in (drawing, beam))
        raise ConfigError(f"Words are either drawn at random ({one}) or searched for ({other}); drop one of the two.")
    return _shortened(replace(stored, method="sample", **given(drawing), **given(both)), both)


def _shortened(search: SearchConfig, given: dict[str, Any]) -> SearchConfig:
    """Who asks for three words at most does not want the four at least that are stored."""
    from dataclasses import replace

    if given["min_length"] is not None:
        return search
    return replace(search, min_length=min(search.min_length, search.max_length))


def _opened(out: Path | None) -> AbstractContextManager[TextIO | None]:
    if out is None:
        return nullcontext()
    try:
        # A path that is no text is written in JSON's own escapes, and read back as it was.
        return out.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise DataError(f"The captions cannot be written to {out} ({error.strerror}); choose another --out.") from error


if __name__ == "__main__":
    run(caption)
