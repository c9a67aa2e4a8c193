"""Caption pictures, folders, archives and lists of pictures.

captioner caption dog.jpg holiday/
captioner caption holiday/ --out captions.jsonl
captioner caption holiday/ --out captions.jsonl --resume
captioner caption holiday/ --format sidecar
find /photos -name '*.jpg' -print0 | captioner caption - --out captions.csv
captioner caption shards/ --out captions.3.jsonl --shard 3/20
captioner caption dog.jpg --forbid man --forbid men --require dog --beginning "two"
captioner caption dog.jpg --confidence --alt-text
"""

import itertools
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated

import typer

from captioner.errors import ConfigError

from . import STOPPED, load_captioner, options, run
from .captioning_run import CaptioningRun, Engine, hire, processors
from .outputs import Existing, Output, Printed
from .progress import RunProgress
from .watching import check_watchable

_INPUT, _OUTPUT, _WORDING, _WORK = "What to caption", "Where captions go", "How they read", "How the work is done"


def caption(
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="Pictures, folders, tar shards, Parquet files, saved data sets; - reads a list of them."),
    ] = None,
    samples: Annotated[bool, typer.Option("--samples", help="The sample photographs.", rich_help_panel=_INPUT)] = False,
    include: Annotated[
        list[str] | None, typer.Option(help="Only what matches, such as '*.png'; repeatable.", rich_help_panel=_INPUT)
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Nothing that matches; repeatable.", rich_help_panel=_INPUT)
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many, those done before not counted.", rich_help_panel=_INPUT)
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(help="Only one of N shares, such as 3/8; `captioner merge` joins them.", rich_help_panel=_INPUT),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on with what arrives, until Ctrl-C.", rich_help_panel=_INPUT)
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell which pictures would be captioned.", rich_help_panel=_INPUT)
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file to write; for imagefolder, webdataset and sidecar a folder.", rich_help_panel=_OUTPUT
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="jsonl, csv, parquet, coco, imagefolder, webdataset or sidecar; the ending of --out tells most.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with --out: caption what it does not hold yet.", rich_help_panel=_OUTPUT),
    ] = False,
    retry: Annotated[
        bool,
        typer.Option(
            "--retry", help="With --resume: forget what could not be read, and try again.", rich_help_panel=_OUTPUT
        ),
    ] = False,
    on_existing: Annotated[
        Existing | None,
        typer.Option(
            help="What to do about captions that are there; if not said, sidecars are skipped, files refused.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            min=1, help="Captions in each record; if not given, as many as the beam is wide.", rich_help_panel=_OUTPUT
        ),
    ] = None,
    min_confidence: Annotated[
        float | None, typer.Option(min=0, max=1, help="Withhold less sure captions.", rich_help_panel=_OUTPUT)
    ] = None,
    prefix: Annotated[str, typer.Option(help="Text before each caption.", rich_help_panel=_WORDING)] = "",
    suffix: Annotated[str, typer.Option(help="Text after each caption.", rich_help_panel=_WORDING)] = "",
    template: Annotated[
        str,
        typer.Option(
            help="What is told; {caption}, {confidence}, {name}, {folder} are filled in.", rich_help_panel=_WORDING
        ),
    ] = "{caption}",
    confidence: Annotated[
        bool,
        typer.Option(
            "--confidence", help="Print how sure each caption is; records always tell.", rich_help_panel=_WORDING
        ),
    ] = False,
    word_confidence: Annotated[
        bool,
        typer.Option("--word-confidence", help="Tell how sure each word is, in records too.", rich_help_panel=_WORDING),
    ] = False,
    alt_text: Annotated[
        bool,
        typer.Option(
            "--alt-text", help="Print what speaks against each caption as alt text.", rich_help_panel=_WORDING
        ),
    ] = False,
    forbid: options.Forbid = None,
    require: options.Require = None,
    beginning: options.Beginning = None,
    min_length: options.MinLength = None,
    max_length: options.MaxLength = None,
    no_repeat_ngram: options.NoRepeatNgram = None,
    mirror: options.Mirror = None,
    beam_width: options.BeamWidth = None,
    length_exponent: options.LengthExponent = None,
    consensus: options.Consensus = None,
    groups: options.Groups = None,
    diversity: options.Diversity = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    seed: options.Seed = None,
    model: Annotated[
        Path | None, typer.Option(help="A folder, or USER/NAME; the shipped model if not given.", rich_help_panel=_WORK)
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda; CUDA where there is one.", rich_help_panel=_WORK)
    ] = None,
    batch_size: Annotated[
        str, typer.Option(help="Pictures captioned together, or auto.", rich_help_panel=_WORK)
    ] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that decode pictures.", rich_help_panel=_WORK)
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Processors used by the network.", rich_help_panel=_WORK)
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="This machine, or Ray Data with --out on a shared disk.", rich_help_panel=_WORK)
    ] = "local",
    actors: Annotated[
        int, typer.Option(min=1, help="With ray: how many processes caption, each with a model.", rich_help_panel=_WORK)
    ] = 1,
    gpus: Annotated[float, typer.Option(min=0, help="With ray: GPUs for each of them.", rich_help_panel=_WORK)] = 0.0,
) -> None:
    """Print `path: caption` for every picture, or write them with --out or as sidecars.

    One picture that cannot be read ends nothing: its record says why. Ctrl-C finishes the pictures at hand; --resume
    goes on, also after a crash. Ends with exit code 0 when every picture has its caption, 3 when some have none, 2
    when the command itself is at fault, 75 when it was stopped and can go on.

    Words are searched for with a beam; --temperature, --top-k, --top-p or --seed draws them at random instead.
    """
    from captioner.data.listing import Shard, list_items
    from captioner.data.preprocessing import Preprocessing
    from captioner.data.samples import sample_pictures
    from captioner.inference.records import RecordStyle, Wording, made_with
    from captioner.interruption import stop_requests
    from captioner.model.hub import find_model
    from captioner.text.steering import Steering

    named = [*(paths or []), *map(str, sample_pictures() if samples else [])]
    if not named:
        raise ConfigError("There must be something to caption; name pictures or folders, or give --samples.")
    chosen = {
        "named": named,
        "include": include or (),
        "exclude": exclude or (),
        "shard": None if shard is None else Shard.parse(shard),
    }
    wording = Wording(prefix, suffix, template)
    output = Output(out, format, on_existing, resume=resume, retry=retry)
    output.check_apart(named)
    if watch:
        check_watchable(named)
    else:
        list_items(**chosen)  # what is wrong with the names is said before a model is loaded
    if candidates is not None and not output.has_journal:
        raise ConfigError("--candidates are told in records; give --out with a file or folder of records.")
    if alt_text and output.kept:
        raise ConfigError("--alt-text prints what speaks against captions, and nothing is printed here; give no --out.")
    if engine != "ray" and (actors != 1 or gpus):
        raise ConfigError("--actors and --gpus are shares of a Ray cluster; give --engine ray, too.")
    if engine == "ray" and (watch or not output.has_journal):
        raise ConfigError("The engine ray writes into one file; give --out, and neither sidecars nor --watch.")
    if dry_run:
        for item in itertools.islice(output.undone(list_items(**chosen)), limit):
            print(item.name)
        return

    with ExitStack() as opened:
        found, decoding = find_model(model), None
        if engine == "local" and (expected := Preprocessing.of_model(found.folder)):
            decoding = opened.enter_context(hire(expected, workers))
            decoding.start()  # while PyTorch is imported and the model is loaded
        captioner = load_captioner(found, device=device)
        if captioner.calibration is None and (confidence or word_confidence or min_confidence is not None):
            raise ConfigError(
                "This model has no calibration to tell confidence by; run `captioner calibrate` on it first."
            )
        search = options.chosen_search(
            captioner.search,
            mirror=mirror,
            beam_width=beam_width,
            length_exponent=length_exponent,
            consensus=consensus,
            groups=groups,
            diversity=diversity,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            min_length=min_length,
            max_length=max_length,
            no_repeat_ngram=no_repeat_ngram,
        )
        steering = Steering(forbid=tuple(forbid or ()), require=tuple(require or ()), beginning=beginning)
        told = candidates if output.has_journal else 1  # the others would be found, and told nowhere
        describing = captioner.describer(candidates=told, search=search, steering=steering)
        for sentence in steering.needless(captioner.model.vocabulary):
            print(f"captioner: {sentence}", file=sys.stderr)
        origin = made_with(captioner, describing, wording=wording, min_confidence=min_confidence, words=word_confidence)
        style = RecordStyle(origin, wording, min_confidence, words=word_confidence)
        work = CaptioningRun(
            chosen,
            limit,
            describing,
            style,
            batch_size=_batch_size(batch_size, captioner.model.device.type),
            filled=output.kept,
            workers=workers,
            threads=threads,
        )
        _share_processors(threads, overlapping=output.kept)
        printed = Printed(style, confidence=confidence, words=word_confidence, alt_text=alt_text)
        place = opened.enter_context(closing(output.open(style) if output.kept else printed))
        counted = work.count if output.kept and not watch else None
        progress = opened.enter_context(RunProgress(total=counted, limit=limit, shown=output.kept))
        stop = opened.enter_context(stop_requests())
        if engine == "ray":
            left_out = work.on_ray(
                place,
                progress,
                stop,
                parts_folder=output.take_parts_folder(),
                model=model,
                device=device,
                actors=actors,
                gpus=gpus,
            )
        else:
            assert decoding is not None, "a model that was loaded tells its preprocessing"
            left_out = work.here(place, progress, stop, decoding=decoding, watch=watch)
        if output.kept:
            progress.say(progress.summary())
    stopped = stop() and not watch
    for sentence in output.remarks(errors_before=place.errors_before, left_out=left_out, stopped=stopped):
        print(f"captioner: {sentence}", file=sys.stderr)
    if stopped:
        raise typer.Exit(STOPPED)
    if progress.errors or place.errors_before or left_out:
        raise typer.Exit(3)


def _batch_size(given: str, device: str) -> int:
    """How many pictures go through the network together: on a CPU more than 16 are no faster."""
    if given == "auto":
        return 16 if device == "cpu" else 128
    if not given.isdecimal() or int(given) < 1:
        raise ConfigError(f"--batch-size must be auto or a number from 1, but {given!r} came.")
    return int(given)


def _share_processors(threads: int | None, *, overlapping: bool) -> None:
    """Give the network its processors: half to the CNN and half to the search where both are busy at a time."""
    import torch

    if threads is not None or overlapping:
        torch.set_num_threads(max(1, (threads or processors()) // (2 if overlapping else 1)))


if __name__ == "__main__":
    run(caption)
