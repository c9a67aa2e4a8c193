"""A model's card: the README.md that tells a stranger what a model is, what it learnt from and how good it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import EvalResult, ModelCardData

import captioner
from captioner.errors import DataError
from captioner.inference.confidence import read_calibration
from captioner.model.captioning import CaptioningModel
from captioner.model.checkpoint import checkpoint_fingerprint, load_checkpoint

_METRICS = {"cider_d": ("cider", "CIDEr-D"), "bleu_4": ("bleu", "BLEU-4"), "rouge_l": ("rouge", "ROUGE-L")}
"""What is told of a measurement, with its type and its name on the hub."""

_WORDS_NAMED = 30


class Measured(NamedTuple):
    """How good a model is on some pictures."""

    pictures: str
    """Which they are, to be read after "on"."""
    scores: dict[str, float]
    """Keys of `_METRICS`, times 100."""


def measured_in_training(folder: Path) -> Measured | None:
    """The best evaluation of the run whose `best` the model in `folder` is; None where it is none."""
    folder = folder.resolve()
    if folder.name != "best":
        return None
    try:
        lines = (folder.parent / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        best = max(map(json.loads, lines), key=lambda record: record["cider_d"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Measured("the development pictures of its training, greedy captions", _scores(best))


def measured_by_evaluation(folder: Path, evaluation: Path) -> Measured:
    """What `captioner evaluate` found of the model in `folder`, from the folder it wrote.

    Raises DataError when there is none, or it is about another model.
    """
    try:
        told = json.loads((evaluation / "scores.json").read_bytes())
        settings, scores = told["settings"], _scores(told["scores"])
        pictures = f"{told['pictures']:,} {settings['split']} pictures of {Path(settings['data']).name}"
        fingerprint = settings["model_fingerprint"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"An evaluation must be a folder that `captioner evaluate` wrote, but {evaluation} is none; give its --out."
        ) from error
    if fingerprint != checkpoint_fingerprint(folder):
        raise DataError(
            f"The figures of a card must be those of its model, but {evaluation} is about another than the one in "
            f"{folder}; evaluate it again."
        )
    search = settings["search"]
    looks = ", their mirror images looked at, too" if search.get("mirror") else ""
    return Measured(f"{pictures}, beam of {search['beam_width']}{looks}", scores)


def render_card(
    folder: Path, name: str, *, licence: str | None, datasets: Sequence[str], measured: Sequence[Measured]
) -> str:
    """The card of the model in `folder` as it will be called on the hub, Markdown with what the hub reads in front.

    Without a `licence`, one of the hub's identifiers, it says that its owner has to fill it in. Raises CheckpointError
    when there is no sound model.
    """
    model = load_checkpoint(folder)
    parts = [
        f"---\n{_front(name, licence, datasets, measured)}\n---",
        f"# {name.rpartition('/')[2]}",
        _what_it_is(model),
        "```python\nfrom captioner import Captioner\n\n"
        f'Captioner.from_pretrained("{name}").caption("dog.jpg").text\n```',
        f"## Data\n\n{_data(model, datasets)}",
        f"## Licence\n\n{_terms(licence)}",
        f"## How good it is\n\n{_figures(measured)}",
        f"## How sure it is\n\n{_confidence(folder, model)}",
    ]
    return "\n\n".join(parts) + "\n"


def _scores(record: dict[str, float]) -> dict[str, float]:
    return {metric: float(record[metric]) for metric in _METRICS if metric in record}


def _front(name: str, licence: str | None, datasets: Sequence[str], measured: Sequence[Measured]) -> str:
    results = [
        EvalResult(
            task_type="image-to-text",
            dataset_type="captioned-pictures",
            dataset_name=each.pictures,
            metric_type=_METRICS[metric][0],
            metric_name=_METRICS[metric][1],
            metric_value=round(score, 1),
        )
        for each in measured
        for metric, score in each.scores.items()
    ]
    return ModelCardData(
        license=licence or "unknown",
        library_name="captioner",
        pipeline_tag="image-to-text",
        tags=["image-captioning", "lstm"],
        datasets=list(datasets) or None,
        metrics=sorted({_METRICS[metric][0] for each in measured for metric in each.scores}) or None,
        model_name=name.rpartition("/")[2] if results else None,
        eval_results=results or None,
    ).to_yaml()


def _what_it_is(model: CaptioningModel) -> str:
    decoder, encoder = model.config.decoder, model.config.encoder
    parameters = sum(parameter.numel() for parameter in model.decoder.parameters())
    return (
        f"An image captioner: {encoder.name} looks at a picture of {encoder.size} pixels a side, a recurrent decoder "
        f"({decoder.cell}, {decoder.hidden_size} units, {parameters / 1e6:.1f} million parameters) says a sentence "
        f"from the {len(model.vocabulary):,} words it knows. Made with captioner {captioner.__version__}."
    )


def _data(model: CaptioningModel, datasets: Sequence[str]) -> str:
    counts = model.vocabulary.counts
    commonest = ", ".join(sorted(counts, key=lambda word: -counts[word])[:_WORDS_NAMED])
    told = f"Trained on {', '.join(datasets)}." if datasets else "TODO: say which pictures and captions it learnt from."
    return f"{told} The commonest words of its captions: {commonest}."


def _terms(licence: str | None) -> str:
    carried = "A model carries the terms of the pictures and captions it was trained on."
    return f"{licence}. {carried}" if licence else f"TODO: choose a licence, here and in the first lines. {carried}"


def _figures(measured: Sequence[Measured]) -> str:
    if not any(each.scores for each in measured):
        return "Not measured."
    rows = [
        f"| {each.pictures} | {' | '.join(_cell(each.scores, metric) for metric in _METRICS)} |" for each in measured
    ]
    names = " | ".join(label for _, label in _METRICS.values())
    return "\n".join([f"| on | {names} |", f"| --- |{' --- |' * len(_METRICS)}", *rows])


def _cell(scores: dict[str, float], metric: str) -> str:
    return f"{scores[metric]:.1f}" if metric in scores else ""


def _confidence(folder: Path, model: CaptioningModel) -> str:
    calibration = read_calibration(folder, feature_size=model.encoder.feature_size)
    if calibration is None:
        return "It was not calibrated, so its captions carry no confidence."
    return "Its captions and their words carry a calibrated confidence; `calibration.json` holds how it was measured."
