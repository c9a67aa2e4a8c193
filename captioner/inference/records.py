"""One JSON record for each picture, and the journal they are appended to: what was done, and need not be done again."""

from __future__ import annotations

import hashlib
import json
import os
import string
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import captioner
from captioner.config import SearchConfig
from captioner.data.images import printable
from captioner.data.preprocessing import Preprocessing
from captioner.durable import Growing, told, whole_file
from captioner.errors import ConfigError, DataError
from captioner.inference.bulk import Captioned
from captioner.inference.caption import Caption
from captioner.text.steering import Steering

if TYPE_CHECKING:
    from captioner.inference.captioner import Captioner
    from captioner.inference.describer import Describer

Record = dict[str, Any]

_KEYS = {"path", "caption", "confidence", "uncertain", "candidates", "error", "error_kind", "digest", "made_by"}
"""Of every record; `words` is among them on demand."""

# What became of pictures that another day may read.
_PASSING = ("missing", "unreadable", "damaged", "too slow", "died")


@dataclass(frozen=True)
class Wording:
    """The text that stands around captions."""

    prefix: str = ""
    suffix: str = ""
    template: str = "{caption}"
    """May name the fields {caption}, {confidence}, {name} (the file's, without its suffix) and {folder}."""

    def __post_init__(self) -> None:
        try:
            parts = [part[1:] for part in string.Formatter().parse(self.template) if part[1] is not None]
        except ValueError as error:
            raise ConfigError(f"--template {self.template!r} must be readable, but: {error}.") from error
        for field, form, conversion in parts:
            if field not in ("caption", "confidence", "name", "folder") or form or conversion:
                raise ConfigError(
                    "--template may name {caption}, {confidence}, {name} and {folder} and nothing else in braces, "
                    f"but {self.template!r} came; write {{{{ for a brace."
                )

    def __call__(self, caption: Caption, path: str, *, hedged: bool = False) -> str:
        """The words that are told of a picture that has a caption; `hedged` ones say it where they are uncertain."""
        confidence = "" if caption.confidence is None else f"{caption.confidence:.2f}"
        name, folder = Path(path).stem, Path(path).parent.name
        text = caption.hedged if hedged else caption.text
        told = self.template.format(caption=text, confidence=confidence, name=name, folder=folder)
        return f"{self.prefix}{told}{self.suffix}"


PLAIN = Wording()
"""Captions as they are."""


def made_by(
    *,
    model: str,
    preprocessing: Preprocessing,
    search: SearchConfig,
    steering: Steering,
    candidates: int,
    wording: Wording = PLAIN,
    min_confidence: float | None = None,
    words: bool = False,
    precision: str = "float32",
) -> Record:
    """What a record depends on beside its picture: equal origins give equal records.

    `words` says whether records tell each word's confidence, `min_confidence` below what captions are withheld.
    `precision` is what the network computes in.
    """
    return {
        "captioner": captioner.__version__,
        "model": model,
        "preprocessing": asdict(preprocessing),
        "search": asdict(search),
        "steering": asdict(steering),
        "candidates": candidates,
        "wording": asdict(wording),
        "min_confidence": min_confidence,
        "words": words,
        "precision": precision,
    }


def made_with(model: Captioner, describing: Describer, **style: Any) -> Record:
    """`made_by` for captions that `model` finds in this way; `style` says what records tell of them."""
    return made_by(
        model=model.name,
        preprocessing=model.model.encoder.preprocessing,
        search=describing.search,
        steering=describing.steering,
        candidates=describing.candidates,
        precision=model.precision,
        **style,
    )


@dataclass(frozen=True)
class RecordStyle:
    """What records tell."""

    made_by: Record
    wording: Wording = PLAIN
    min_confidence: float | None = None
    """Less sure captions are withheld."""
    words: bool = False
    """Also the words of each caption with their confidences."""

    def record(self, captioned: Captioned) -> Record:
        """The JSON object that stands for one picture; its keys are the same whether there is a caption or not."""
        path, caption = captioned.item.name, captioned.caption
        error, error_kind = self.error(captioned)
        candidates = [
            {"text": candidate.text, "log_probability": round(candidate.log_probability, 4)}
            for candidate in caption.candidates
        ]
        return {
            "path": path,
            "caption": None if error else self.wording(caption, path),
            "confidence": _rounded(caption.confidence),
            "uncertain": caption.uncertain,
            "candidates": candidates,
            **({"words": _words(caption)} if self.words else {}),
            "error": error,
            "error_kind": error_kind,
            "digest": captioned.digest,
            "made_by": self.made_by,
        }

    def error(self, captioned: Captioned) -> tuple[str, str] | tuple[None, None]:
        """Why a picture has no caption to tell, as a sentence and as a kind; (None, None) if it has one."""
        caption, least = captioned.caption, self.min_confidence
        if caption.error is not None:
            return caption.error, caption.error_kind or "damaged"
        if least is None or (caption.confidence or 0.0) >= least:
            return None, None
        how_sure = "uncertain" if caption.confidence is None else f"{caption.confidence:.2f}"
        name = printable(captioned.item.name)
        reason = f"A caption must be {least:g} sure or more, but that of {name} is {how_sure}; it is withheld."
        return reason, "not sure"


class Done:
    """The pictures that were done before, each as often as it was named."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._counts: Counter[bytes] = Counter()
        self.errors = 0
        """How many of them have no caption."""
        for record in records:
            self._counts[key_of(record["path"])] += 1
            self.errors += record["caption"] is None

    def take(self, name: str) -> bool:
        """Whether a picture of this name was done before; each time it was done counts once."""
        key = key_of(name)
        if not self._counts[key]:
            return False
        self._counts[key] -= 1
        return True


class Journal:
    """A file of JSON lines, one for each picture, that outlives any crash. Close it."""

    def __init__(
        self,
        path: Path,
        *,
        already_there: Literal["fail", "skip", "overwrite", "append"],
        origin: Record | None = None,
        retry: bool = False,
    ) -> None:
        """Open or begin it, and learn what it holds already; with `retry` forget what can be tried again.

        Raises DataError when it cannot be written or read; or, if `already_there` says "fail", when it holds
        something; or, if "skip" or "append", when it is no journal; or, if "skip", when another `origin` made what it
        holds: one file then would tell two stories.
        """
        self.path = path
        self.done = Done()
        """What it held already, if `already_there` says "skip"."""
        if already_there != "overwrite" and _holds_something(path):  # before anything there is touched
            if already_there == "fail":
                raise DataError(
                    f"There are captions in {path} already; go on with them (--resume), replace them "
                    "(--on-existing overwrite), or choose another --out."
                )
            next(read_records(path), None)
        self._file = Growing(path, fresh=already_there == "overwrite")
        try:
            if already_there == "skip":
                self.done = Done(self._records_made_alike(origin))
                if retry and self.done.errors:
                    self._forget_errors()
        except BaseException:
            self._file.close()
            raise

    def append(self, records: Iterable[Record]) -> None:
        """Add records; when this returns they are on the disk. Raises DataError."""
        self._file.append(b"".join(to_line(record) for record in records))

    def close(self) -> None:
        """Let others write to it."""
        self._file.close()

    def _forget_errors(self) -> None:
        """Write it anew without the records of what can be tried again: as if those had never been named."""
        with whole_file(Path(os.path.realpath(self.path))) as file:
            for record in read_records(self.path):
                if not can_be_tried_again(record):
                    file.write(to_line(record))
        before, self._file = self._file, Growing(self.path)
        before.close()
        self.done = Done(read_records(self.path))

    def _records_made_alike(self, origin: Record | None) -> Iterator[Record]:
        expected = json.loads(json.dumps(origin))  # as JSON holds it: with lists for tuples
        for record in read_records(self.path):
            if origin is not None and record["made_by"] != expected:
                raise DataError(
                    f"{self.path} was made with other settings ({difference(record['made_by'], origin)}); give the "
                    "same again to go on, or choose another --out."
                )
            yield record


def can_be_tried_again(record: Record) -> bool:
    """Whether a picture has no caption for a reason that may be gone another day, such as a disk that was away."""
    return record.get("error_kind") in _PASSING


def to_line(record: Record) -> bytes:
    """A record as a line; a path that is no text is written in JSON's own escapes, and read back as it was."""
    return json.dumps(record, ensure_ascii=False).encode("utf-8", errors="backslashreplace") + b"\n"


def read_records(path: Path) -> Iterator[Record]:
    """The records of a journal, one at a time. Raises DataError when there is none, or a line is no record.

    A record at the end that is not whole is being written, or was torn by a crash, and is left out.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                record = _parsed(line)
                if record is not None:
                    yield record
                elif line.endswith(b"\n") or not line.startswith(b"{"):
                    raise DataError(
                        f"Line {number} of {path} must be a record that `captioner caption` wrote, but it is not."
                    )
    except OSError as error:
        raise DataError(
            f"Captions are read from a file of JSON lines, but {path} cannot be ({error.strerror})."
        ) from error


def difference(before: Record, now: Record) -> str:
    """In what two origins differ: `search.beam_width 5, now 3`; the first such setting, empty where there is none."""
    before, now = _flat(before), _flat(now)
    for name in {**before, **now}:
        if before.get(name) != now.get(name):
            return f"{name} {before.get(name)!r}, now {now.get(name)!r}"
    return ""


def _flat(origin: Record) -> Record:
    """{"search": {"seed": 0}} -> {"search.seed": 0}, as JSON holds it."""
    flat: Record = {}
    for name, value in json.loads(json.dumps(origin)).items():
        flat |= {f"{name}.{inner}": each for inner, each in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _parsed(line: bytes) -> Record | None:
    """The record that a line holds, if it holds one."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and _is_whole(record) else None


def _is_whole(record: Record) -> bool:
    """Whether an object has what every record has."""
    made_by = record.get("made_by")
    return record.keys() >= _KEYS and isinstance(record["path"], str) and isinstance(made_by, dict)


def _holds_something(path: Path) -> bool:
    with told(path):
        return path.exists() and path.stat().st_size > 0


def key_of(name: str) -> bytes:
    """Sixteen bytes that stand for a name: a million names must fit into memory."""
    return hashlib.blake2b(name.encode("utf-8", errors="surrogatepass"), digest_size=16).digest()


def _words(caption: Caption) -> list[Record]:
    said = caption.candidates[0].words if caption.candidates else ()
    told = caption.word_confidences or (None,) * len(said)
    return [{"word": word, "confidence": _rounded(each)} for word, each in zip(said, told, strict=True)]


def _rounded(confidence: float | None) -> float | None:
    return None if confidence is None else round(confidence, 4)
