"""The same run on Ray Data, on as many machines as a cluster has that share a file system.

The driver lists what is to be captioned as parts of a thousand names; Ray Data hands the parts to actors, each of which
loads the model once, decodes in guarded processes of its own and writes the records of a part whole or not at all. What
is written is kept: a part that is there is not done again, whatever died. At the end the parts are appended to the
journal in their order, so that it holds the same records, byte for byte, as if one machine had done it all.

Only names travel through Ray, neither pictures nor pixels. An application that fails would end a Ray job; here a
picture that cannot be captioned is a record like any other.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioner.config import SearchConfig
from captioner.data.decoding import Decoders
from captioner.data.listing import Item, item_again
from captioner.durable import write_whole
from captioner.errors import CaptionerError, ConfigError, DataError, ImageError
from captioner.inference.bulk import caption_items
from captioner.inference.captioner import Captioner
from captioner.inference.destinations import OneFile
from captioner.inference.records import Record, RecordStyle, difference, read_records, to_line
from captioner.text.steering import Steering

_PART = 1000
_PLAN = "plan.json"


@dataclass(frozen=True)
class PartJob:
    """What an actor needs to know to caption parts; it is sent to other machines."""

    folder: Path
    """Where the parts are: on a file system that all machines share."""
    working_folder: Path
    """Where names begin that do not begin at the root, the parts' and the model's among them."""
    model: Path | None
    device: str | None
    search: SearchConfig
    steering: Steering
    candidates: int
    style: RecordStyle
    batch_size: int
    workers: int
    threads: int


class PartCaptioner:
    """An actor: captions one part after the other with a model that it loads once."""

    def __init__(self, job: PartJob) -> None:
        import torch

        os.chdir(job.working_folder)  # that of a process of Ray is anywhere
        torch.set_num_threads(job.threads)
        self._job = job
        captioner = Captioner.from_pretrained(job.model, device=job.device)
        self._describer = captioner.describer(search=job.search, steering=job.steering, candidates=job.candidates)
        self._preprocessing = captioner.model.encoder.preprocessing
        expected = job.style.made_by["precision"]
        if captioner.precision != expected:
            raise ConfigError(
                f"Machines must compute alike, but one computes in {captioner.precision} and the run in {expected}; "
                "write the model anew with `captioner pack --precision full`, and give that one."
            )

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """{"part": [its number]} -> the same with how many of its pictures are captioned, and the errors' kinds."""
        [part] = batch["part"]
        job = self._job
        with Decoders(self._preprocessing, workers=job.workers, ahead=4 * job.batch_size) as decoders:
            answers = caption_items(
                _listed(_names_of(job.folder, part)),
                decoding=decoders,
                describing=self._describer,
                batch_size=job.batch_size,
                filled=True,
            )
            records = [job.style.record(answer) for answer in itertools.chain.from_iterable(answers)]
        write_whole(_records_of(job.folder, part), b"".join(map(to_line, records)))
        errors = [record["error_kind"] for record in records if record["caption"] is None]
        return {"part": [part], "captioned": [len(records) - len(errors)], "errors": [json.dumps(errors)]}


@dataclass(frozen=True)
class PartDone:
    """What is known of a finished part."""

    captioned: int
    errors: tuple[str, ...]
    """Their kinds."""


def plan_parts(
    items: Iterable[Item],
    destination: OneFile,
    folder: Path,
    origin: Record,
    *,
    limit: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> int:
    """Write down, in parts, everything that `destination` has no answer for, at most `limit`; how many parts there are.

    A plan that is there already is gone on with; one that `stop` cuts short is none. Raises DataError when it was made
    for other settings, or cannot be written.
    """
    plan = folder / _PLAN
    if plan.exists():
        kept = json.loads(plan.read_text())
        if differs := difference(kept["made_by"], origin):
            raise DataError(
                f"{folder} was made with other settings ({differs}); give the same again, or take the folder away."
            )
        return int(kept["parts"])
    folder.mkdir(parents=True, exist_ok=True)
    undone = itertools.islice((item for item in items if not destination.done(item)), limit)
    parts = 0
    while names := list(itertools.islice(undone, _PART)):
        _records_of(folder, parts).unlink(missing_ok=True)  # of an earlier plan, taken away but for this
        write_whole(_names_of(folder, parts), "".join(f"{_line(item)}\n" for item in names))
        parts += 1
    if stop():
        return 0
    write_whole(plan, json.dumps({"parts": parts, "made_by": origin}))
    return parts


def caption_parts(job: PartJob, parts: int, *, actors: int, gpus: float) -> Iterator[PartDone]:
    """Have all parts captioned that are not yet, and tell of each, those done before first.

    Runs on the cluster that `RAY_ADDRESS` names, or else on this machine. Raises ConfigError when Ray is not
    installed, CaptionerError when the job fails; what it has written stays.
    """
    done = [part for part in range(parts) if _records_of(job.folder, part).exists()]
    yield from (_told(job.folder, part) for part in done)
    left = sorted(set(range(parts)) - set(done))
    if not left:
        return
    ray = _started(actors)
    data = ray.data.from_items([{"part": part} for part in left], override_num_blocks=len(left)).map_batches(
        PartCaptioner,
        fn_constructor_args=[job],
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=1,
        num_gpus=gpus or None,
    )
    try:
        for row in data.iter_rows():
            yield PartDone(int(row["captioned"]), tuple(json.loads(row["errors"])))
    except ray.exceptions.RayError as error:
        raise CaptionerError(
            f"The Ray job failed ({str(error).strip().splitlines()[-1]}); what is done is kept: the same command with "
            "--resume goes on."
        ) from error


def _started(actors: int) -> Any:
    """Ray, at work and quiet: what goes wrong comes as an exception."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ConfigError(
            "The engine ray needs Ray Data, which is not installed; pip install 'captioner[ray]'."
        ) from error
    for logger in ("ray", "ray.data"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    if not ray.is_initialized():
        # On one machine a processor more than the actors take: reading needs one, too.
        alone: dict[str, Any] = (
            {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": actors + 1, "include_dashboard": False}
        )
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **alone)
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray


def gather(destination: OneFile, folder: Path, parts: int) -> None:
    """Append the records of all parts to the journal in their order, each once, and take the folder away."""
    for part in range(parts):
        destination.append(read_records(_records_of(folder, part)))
    shutil.rmtree(folder)


def _told(folder: Path, part: int) -> PartDone:
    kinds = [record["error_kind"] for record in read_records(_records_of(folder, part))]
    return PartDone(kinds.count(None), tuple(kind for kind in kinds if kind is not None))


def _line(item: Item) -> str:
    error = None if not isinstance(item.source, ImageError) else [str(item.source), item.source.kind]
    return json.dumps([item.name, error])


def _listed(names: Path) -> Iterator[Item]:
    for line in names.read_text().splitlines():
        name, error = json.loads(line)
        item = item_again(name)
        yield item if error is None else Item(name, item.relative, ImageError(error[0], kind=error[1]))


def _names_of(folder: Path, part: int) -> Path:
    return folder / f"{part:08}.names"


def _records_of(folder: Path, part: int) -> Path:
    return folder / f"{part:08}.jsonl"
