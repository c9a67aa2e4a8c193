"""The work of `captioner caption` once everything is decided: on this machine, or on as many as Ray has."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from captioner.errors import DataError

from .progress import RunProgress
from .watching import rounds

if TYPE_CHECKING:
    from captioner.data.decoding import Decoders
    from captioner.data.listing import Item
    from captioner.data.preprocessing import Preprocessing
    from captioner.inference.bulk import Captioned
    from captioner.inference.describer import Describer
    from captioner.inference.destinations import BesidePictures, OneFile
    from captioner.inference.records import RecordStyle

    from .outputs import Printed

    Place = OneFile | BesidePictures | Printed

Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class CaptioningRun:
    """What is captioned, how, and by how many."""

    chosen: dict[str, Any]
    """What `list_items` is asked for."""
    limit: int | None
    describing: "Describer"
    style: "RecordStyle"
    batch_size: int
    filled: bool
    """Whether batches are filled up: so that what is kept does not depend on where a run began."""
    workers: int | None
    threads: int | None

    def listed(self, stop: Callable[[], bool] = lambda: False) -> "Iterator[Item]":
        """Everything to caption, from the beginning; a list on standard input ends when `stop` says yes."""
        from captioner.data.listing import list_items
        from captioner.interruption import Listening

        lines = Listening(cast(BufferedReader, sys.stdin.buffer), stop) if "-" in self.chosen["named"] else None
        return list_items(**self.chosen, lines=lines)

    def count(self) -> int | None:
        """How many there are; None where archives would have to be read to know, or a list comes only once."""
        if "-" in self.chosen["named"]:
            return None
        counted = 0
        try:
            for item in self.listed():
                if isinstance(item.source, bytes):
                    return None
                counted += 1
        except DataError:  # gone since the run began, which will say so
            return None
        return counted

    def here(
        self, place: "Place", progress: RunProgress, stop: Callable[[], bool], *, decoding: "Decoders", watch: bool
    ) -> int:
        """Caption on this machine; how many captions `place` had to leave out."""
        from captioner.data.listing import list_items
        from captioner.inference.bulk import caption_all

        left_out = 0
        decoding.ahead = 4 * self.batch_size
        for items in rounds(partial(list_items, **self.chosen), stop) if watch else [self.listed(stop)]:
            before = progress.answered
            batches = caption_all(
                items,
                place,
                decoding=decoding,
                describing=self.describing,
                batch_size=self.batch_size,
                filled=self.filled,
                limit=None if self.limit is None else self.limit - before,
                stop=stop,
                skipped=lambda item: progress.skip(),
            )
            with closing(batches):
                for batch in batches:
                    _tell(batch, self.style, progress)
            if progress.answered > before or not watch:
                left_out = place.finish()
            if progress.answered == self.limit:
                break
        return left_out

    def on_ray(
        self,
        place: "OneFile",
        progress: RunProgress,
        stop: Callable[[], bool],
        *,
        parts_folder: Path,
        model: Path | None,
        device: str | None,
        actors: int,
        gpus: float,
    ) -> int:
        """Caption wherever Ray runs, and gather the answers in `place`; how many captions it had to leave out."""
        from captioner.inference.ray_engine import PartJob, caption_parts, gather, plan_parts

        job = PartJob(
            folder=parts_folder,
            working_folder=Path.cwd(),
            model=model,
            device=device,
            search=self.describing.search,
            steering=self.describing.steering,
            candidates=self.describing.candidates,
            style=self.style,
            batch_size=self.batch_size,
            workers=self.workers or 1,
            threads=self.threads or 1,
        )
        parts = plan_parts(self.listed(stop), place, job.folder, job.style.made_by, limit=self.limit, stop=stop)
        if stop():
            return 0
        for part in caption_parts(job, parts, actors=actors, gpus=gpus):
            progress.add([None] * part.captioned + list(part.errors))
            if stop():  # the parts stay where they are
                return 0
        gather(place, job.folder, parts)
        return place.finish()


def hire(preprocessing: "Preprocessing", workers: int | None) -> "Decoders":
    """So many processes that decode pictures, or one for every two processors."""
    from captioner.data.decoding import Decoders

    return Decoders(preprocessing, workers=workers or max(1, processors() // 2))


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _tell(batch: "Sequence[Captioned]", style: "RecordStyle", progress: RunProgress) -> None:
    """Say what could not be captioned, and count."""
    errors = [style.error(captioned) for captioned in batch]
    for sentence, _ in errors:
        if sentence is not None:
            progress.say(sentence)
    progress.add(kind for _, kind in errors)
