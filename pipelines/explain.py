"""Show what the model computed for each word of a caption, and test whether its attention tells the truth.

captioner explain dog.jpg holiday/ --out explained
captioner explain dog.jpg --beginning "a man" --forbid frisbee --out explained
captioner explain --faithfulness data/flickr8k --limit 200
captioner explain --faithfulness data/flickr8k --model runs/flickr8k/best --store
"""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated

import typer

from captioner.errors import CaptionerError, ConfigError, DataError

from . import folder_to_store_in, load_captioner, options, progress_bar, run, take_folder, write_text

if TYPE_CHECKING:
    import datasets
    from PIL import Image
    from rich.table import Table

    from captioner.data.images import ImageSource
    from captioner.data.listing import Item
    from captioner.inference.captioner import Captioner
    from captioner.inference.explanation import Explanation
    from captioner.inference.faithfulness import Estimate, Faithfulness
    from captioner.text.steering import Steering

INDEX = "explanations.jsonl"
"""In the folder written: a line for each picture. It also tells that the folder is ours."""


def explain(
    paths: Annotated[list[Path] | None, typer.Argument(help="Pictures, and folders of pictures.")] = None,
    samples: Annotated[bool, typer.Option("--samples", help="Explain the sample photographs.")] = False,
    out: Annotated[Path, typer.Option(help="The folder to write; a folder in it for each picture.")] = Path(
        "out/explain"
    ),
    model: Annotated[Path | None, typer.Option(help="A folder, or USER/NAME; the shipped model if not given.")] = None,
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
    faithfulness: Annotated[
        Path | None,
        typer.Option(help="Instead: a folder that `captioner prepare` wrote, to measure attention on.", metavar="DATA"),
    ] = None,
    split: Annotated[str, typer.Option(help="With --faithfulness: train, validation or test.")] = "validation",
    limit: Annotated[int, typer.Option(min=1, help="With --faithfulness: the first so many pictures.")] = 200,
    store: Annotated[
        bool, typer.Option("--store", help="With --faithfulness: keep the figures with the model, for its page.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; CUDA where there is one.")] = None,
) -> None:
    """Write explanation.html, explanation.json and three drawings for every picture.

    To go on from a branch of the search, give its words as --beginning. With --faithfulness: delete what each word
    looked at, and see how much less probable it becomes than when random parts of the picture are deleted; writes
    faithfulness.json. With --store that file also goes into the model's folder, which changes the model's manifest and
    with it its fingerprint; packing and training leave it behind.

    Ends with exit code 3 when some pictures could not be explained.
    """
    from captioner.data.listing import list_items
    from captioner.data.samples import sample_pictures
    from captioner.text.steering import Steering

    chosen = [*(paths or []), *(sample_pictures() if samples else [])]
    if bool(chosen) == (faithfulness is not None):
        raise ConfigError(
            "There must be either pictures to explain (name them, or give --samples) or --faithfulness DATA."
        )
    if store and faithfulness is None:
        raise ConfigError("Only what --faithfulness DATA measures can be kept with the model; drop --store.")
    steering = Steering(forbid=tuple(forbid or ()), require=tuple(require or ()), beginning=beginning)
    if faithfulness is not None and steering != Steering():
        raise ConfigError("Faithfulness is measured on free captions; drop --forbid, --require and --beginning.")
    items = list(list_items(chosen))
    folder = folder_to_store_in(model) if store else None
    captioner = load_captioner(model, device=device)
    stored = captioner.search
    captioner.search = options.chosen_search(
        stored,
        min_length=min_length,
        max_length=max_length,
        no_repeat_ngram=no_repeat_ngram,
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
    )
    if store and captioner.search != stored:
        raise ConfigError("What is kept with the model holds for its own search; drop --store, or what changes it.")
    captioner.describer(steering=steering)  # refuses what no caption can obey, before the first picture
    take_folder(out, marker=INDEX)
    write_text(out / INDEX, "", mode="a")
    if faithfulness is not None:
        measured = _measure(captioner, faithfulness, split, limit, out)
        if folder is not None:
            _store(measured, folder)
        return
    for sentence in steering.needless(captioner.model.vocabulary):
        print(f"captioner: {sentence}", file=sys.stderr)
    failed = _explain(captioner, items, steering, out)
    print(f"{len(items) - failed} of {len(items)} pictures explained in {out}.", file=sys.stderr)
    if failed:
        raise typer.Exit(3)


def _explain(captioner: "Captioner", items: "Sequence[Item]", steering: "Steering", out: Path) -> int:
    """Explain each picture into a folder of its own, and tell how many could not be."""
    from captioner.data.images import read_image
    from captioner.inference.explanation_page import PICTURE_SIDE

    failed = 0
    write_text(out / INDEX, "")
    for item, folder in zip(items, _folders(items), strict=True):
        record = {"path": item.name, "folder": folder, "caption": None, "error": None, "model": captioner.name}
        try:
            if isinstance(item.source, CaptionerError):
                raise item.source
            explanation = captioner.explain(item.source, steering=steering)
            picture = read_image(item.source, at_least=PICTURE_SIDE)
        except CaptionerError as error:
            failed += 1
            record |= {"folder": None, "error": str(error)}
            print(f"captioner: {error}", file=sys.stderr)
        else:
            _write(explanation, picture, item.name, captioner.name, out / folder)
            record |= {"caption": explanation.text}
            print(f"{item.name}: {explanation.caption.hedged}")
        write_text(out / INDEX, json.dumps(record, ensure_ascii=False) + "\n", mode="a")
    return failed


def _folders(items: "Iterable[Item]") -> Iterator[str]:
    """A name for each picture's folder: its own, with a number where it came before."""
    taken: set[str] = set()
    for item in items:
        own = PurePath(item.name).stem.lstrip(".") or "picture"
        name, number = own, 1
        # Some file systems do not tell capitals apart.
        while name.casefold() in taken or name.casefold() == INDEX:
            number += 1
            name = f"{own}-{number}"
        taken.add(name.casefold())
        yield name


def _write(explanation: "Explanation", picture: "Image.Image", name: str, model: str, folder: Path) -> None:
    from captioner.inference.drawing import draw_attention, draw_gates, draw_ledger
    from captioner.inference.explanation_page import render_explanation

    drawings = {"attention": draw_attention(picture, explanation), "gates": draw_gates(explanation)}
    if explanation.ledger is not None:
        drawings["ledger"] = draw_ledger(explanation.ledger, explanation)
    record = {"path": name, "model": model} | explanation.as_json()
    page = render_explanation(explanation, picture, name=PurePath(name).name, model=model)
    try:
        folder.mkdir(exist_ok=True)
        for kind, drawing in drawings.items():
            drawing.save(folder / f"{kind}.png", optimize=True)
    except OSError as error:
        raise DataError(
            f"The drawings cannot be written to {folder} ({error.strerror}); choose another --out."
        ) from error
    write_text(folder / "explanation.json", json.dumps(record, ensure_ascii=False) + "\n")
    write_text(folder / "explanation.html", page)


def _measure(captioner: "Captioner", data: Path, split: str, limit: int, out: Path) -> "Faithfulness":
    from captioner.data.collection import load_collection
    from captioner.inference.faithfulness import attention_faithfulness

    collection = load_collection(data)
    if split not in collection:
        raise DataError(f"--split must be one of those in {data} ({', '.join(collection)}), not {split!r}.")
    rows = collection[split].select(range(min(limit, len(collection[split]))))
    with progress_bar() as progress:
        task = progress.add_task(f"Asking about {len(rows):,} pictures", total=len(rows))
        measured = attention_faithfulness(
            captioner, _encoded(rows), done=lambda pictures: progress.update(task, completed=pictures)
        )
    _print_faithfulness(measured)
    settings = {"model": captioner.name, "data": str(data), "split": split, "limit": limit}
    text = json.dumps(measured.as_json() | {"settings": settings}, indent=2, ensure_ascii=False)
    write_text(out / "faithfulness.json", text + "\n")
    print(f"Written to {out / 'faithfulness.json'}.")
    return measured


def _store(measured: "Faithfulness", folder: Path) -> None:
    from captioner.inference.faithfulness import FILE
    from captioner.model.checkpoint import write_beside

    # Without the settings: where one's collection lies is nobody's business where the model goes.
    write_beside(folder, FILE, (json.dumps(measured.as_json(), indent=1) + "\n").encode())
    print(f"{FILE} is in {folder}.")


def _encoded(rows: "datasets.Dataset") -> "Iterator[ImageSource]":
    """The pictures' files as they are."""
    import datasets

    for row in rows.select_columns("image").cast_column("image", datasets.Image(decode=False)):
        yield row["image"]["bytes"]


def _print_faithfulness(measured: "Faithfulness") -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"{len(measured.words):,} content words on {measured.pictures:,} pictures"
    figures = Table("", "", "95 % interval", title=title)
    for column in figures.columns[1:]:
        column.justify = "right"
    which = f"{measured.regions_deleted} of {measured.regions} regions"
    _add(figures, f"Log-probability falls, without the {which} looked at most", measured.attended_fall)
    _add(figures, f"... without {which} drawn at random", measured.random_fall)
    _add(figures, "Difference", measured.difference)
    _add(figures, "Words that lose more without what they looked at", measured.attended_hurts_more, "{:.1%}")
    Console().print(figures)
    if measured.failed:
        print(f"captioner: {measured.failed} pictures could not be read; they are in no figure.", file=sys.stderr)


def _add(figures: "Table", label: str, estimate: "Estimate", form: str = "{:.3f}") -> None:
    mean, low, high = (form.format(value) for value in estimate)
    figures.add_row(label, mean, f"{low} – {high}")


if __name__ == "__main__":
    run(explain)
