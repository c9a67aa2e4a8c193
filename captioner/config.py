"""Every setting of a run, as frozen dataclasses; a recipe is one TOML file of them.

`load_config("configs/flickr8k.toml", ["training.epochs=3"])` reads a recipe and applies overrides, each of
them one line of TOML. A name that does not exist, or a value of the wrong type, is a `ConfigError`.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from captioner.errors import ConfigError


@dataclass(frozen=True)
class VocabularyConfig:
    """Which words the captioner can ever say."""

    min_count: int = 3
    """A word must occur this often in the training captions."""
    units: Literal["words", "characters"] = "words"
    """`characters` for scripts without spaces between words: there each letter is a word, and lengths count letters."""


@dataclass(frozen=True)
class EncoderConfig:
    """The CNN that turns a picture into region vectors."""

    name: str = "tf_efficientnet_lite2"
    """Any CNN of `timm`, or `torchvision/NAME` for one of torchvision's."""
    weights: str = "packaged"
    """`packaged` (a pip package carries them), `pretrained` (fetched), `random`, or a file of weights.

    `tuned` in a model whose CNN was trained too: the model's own.
    """
    size: int = 224
    """Pictures are resized to this many pixels square."""
    mirrored: bool = True
    """Train on mirror images too; in their captions, if English, left and right change places."""
    crops: int = 0
    """Train on so many random parts of each picture too, their colours changed a little."""


@dataclass(frozen=True)
class DecoderConfig:
    """The recurrent network that says the words."""

    kind: Literal["show_and_tell", "attend", "top_down"] = "attend"
    cell: Literal["rnn", "gru", "lstm"] = "lstm"
    attention: Literal["additive", "dot"] = "dot"
    sentinel: bool = True
    """`attend` only: a word may look at the decoder's memory instead of the picture (Lu et al. 2017)."""
    hidden_size: int = 512
    embedding_size: int = 512
    attention_size: int = 512
    dropout: float = 0.5


@dataclass(frozen=True)
class TrainingConfig:
    """How the weights are learnt."""

    objective: Literal["cross_entropy", "self_critical"] = "cross_entropy"
    """`self_critical` makes captions that the model draws itself likelier, the better they are (needs `--from`).

    How good: by the training captions (CIDEr-D, and BLEU-4 with `bleu_weight`), and beside the picture's other drawn
    captions.
    """
    samples: int = 5
    """Captions drawn for each picture of a batch, at most `search.max_length` long; `self_critical` only."""
    bleu_weight: float = 0.0
    """A drawn caption is worth its CIDEr-D (0 to 10) and so many times its BLEU-4 (0 to 1); `self_critical` only."""
    seed: int = 0
    epochs: int = 30
    min_steps: int = 0
    """A small collection is seen more often than `epochs` times, until so many batches are learnt."""
    max_steps: int | None = None
    """A large collection is seen less often, so that no more batches are learnt."""
    pictures_per_batch: int = 50
    """Of all processes together; the gradient is the mean over all their words."""
    pictures_at_once: int | None = None
    """Compute a batch in parts of so many pictures in each process: less memory, the same gradient."""
    learning_rate: float = 5e-4
    """The highest rate: reached after the warm-up, then lowered along a cosine to zero."""
    tuned_blocks: int = 0
    """How many of the CNN's last blocks learn too; its batch statistics and the blocks before them never change."""
    encoder_learning_rate: float = 5e-5
    """The highest rate of those blocks."""
    warmup_steps: int = 200
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    label_smoothing: float = 0.1
    """`cross_entropy` only."""
    scheduled_sampling: float = 0.0
    """The share of previous words that, in the last epoch, are the model's own; it grows linearly from 0.

    `cross_entropy` only.
    """
    average_decay: float = 0.999
    """Decay per step of the exponential average of the weights, which is what is evaluated and kept."""
    evaluations: int | None = None
    """How often the development pictures are captioned, evenly spread over the run; after every epoch if not given."""
    patience: int = 5
    """Stop after so many evaluations without a better development CIDEr-D."""
    max_skipped: int = 5
    """A batch whose loss or gradient is not finite, or whose loss explodes, is skipped; stop after so many in a row."""
    save_seconds: float = 300.0
    """Save the state of the run at least so often, beside after every evaluation."""
    bf16: Literal["auto", "always", "never"] = "auto"
    """bfloat16 matrix products; `auto`: where the processor has instructions for them."""


@dataclass(frozen=True)
class SearchConfig:
    """How a caption is chosen; stored with the model as its default."""

    beam_width: int = 5
    min_length: int = 4
    """In words; the end token is not one."""
    max_length: int = 24
    length_exponent: float = 0.7
    """A caption's score is its log-probability over its length to this power: 0 favours short captions."""
    consensus: float = 0.0
    """Above 0 the beam's captions are ordered by how like each is to all of them, and the best score no longer decides.

    The higher, the more the unlikely ones count (`captioner.text.consensus`). Not with groups.
    """
    no_repeat_ngram: int = 3
    """No sequence of so many words occurs twice; 0 allows repeats."""
    groups: int = 1
    """Diverse beam search: groups of beams that avoid each other's words; they divide the beam's width evenly."""
    diversity: float = 0.5
    """What a word loses from its log-probability for each beam of an earlier group that has just said it."""
    method: Literal["beam", "sample"] = "beam"
    """`sample`: draw words at random with the settings below; what is above and concerns beams rests."""
    temperature: float = 1.0
    """Below 1 likely words become likelier still."""
    top_k: int = 0
    """Draw from so many of the likeliest words; 0: from all."""
    top_p: float = 1.0
    """Draw from the fewest words that together have this probability."""
    seed: int = 0
    """The same seed draws the same captions for the same picture."""
    mirror: bool = False
    """Look at the mirror image of each picture, too, and describe the mean of both looks; the CNN works twice."""


def changed_search(stored: SearchConfig, given: Mapping[str, Any]) -> SearchConfig:
    """The settings stored with a model, with those given in their place.

    Who asks for three words at most does not want the four at least that are stored.
    """
    search = dataclasses.replace(stored, **given)
    if "min_length" in given:
        return search
    return dataclasses.replace(search, min_length=min(search.min_length, search.max_length))


@dataclass(frozen=True)
class Config:
    """All settings of a run."""

    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    search: SearchConfig = field(default_factory=SearchConfig)


Settings = TypeVar("Settings")

_AT_LEAST_ONE = (
    *("min_count", "size", "hidden_size", "embedding_size", "attention_size"),
    *("epochs", "max_steps", "pictures_per_batch", "pictures_at_once", "evaluations", "patience", "max_skipped"),
    *("beam_width", "max_length", "groups"),
)
_LEAST = {**dict.fromkeys(_AT_LEAST_ONE, 1), "samples": 2}
"""The smallest value of a number, if that is not 0."""
_AT_MOST_ONE = {"dropout", "label_smoothing", "scheduled_sampling", "average_decay", "top_p"}
"""Numbers with a greatest value."""


def load_config(path: str | Path | None = None, overrides: Iterable[str] = (), *, base: Config | None = None) -> Config:
    """The recipe at `path` (None: an empty one) with `overrides` such as `"training.epochs=3"` applied.

    What it leaves open is as in `base`; by default every setting has its default.

    Raises ConfigError when the file cannot be read, is not TOML, or names an unknown setting.
    """
    recipe = {} if path is None else _read_toml(Path(path))
    return override(from_dict(Config, _merge(to_dict(base or Config()), recipe)), overrides)


def override(config: Config, lines: Iterable[str]) -> Config:
    """`config` with the settings of `lines`, each a line of TOML such as `training.epochs=3`, in place of its own."""
    tables = to_dict(config)
    for line in lines:
        tables = _merge(tables, _parse_override(line))
    return from_dict(Config, tables)


def from_dict(kind: type[Settings], values: Mapping[str, Any], *, where: str = "") -> Settings:
    """An instance of the settings dataclass `kind` from plain values, every name and type checked."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where.rstrip('.') or 'A recipe'} must be a table of settings, but {values!r} came.")
    hints = typing.get_type_hints(kind)
    checked: dict[str, Any] = {}
    for name, value in values.items():
        label = f"{where}{name}"
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=1)
            hint = f"did you mean {where}{near[0]}?" if near else f"choose one of {', '.join(hints)}."
            raise ConfigError(f"There is no setting {label}; {hint}")
        checked[name] = _check(hints[name], value, label)
    return kind(**checked)


def to_dict(config: Any) -> dict[str, Any]:
    """The plain nested dictionary of a settings dataclass, fit for JSON."""
    return dataclasses.asdict(config)


def _check(hint: Any, value: Any, label: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_dict(hint, value, where=f"{label}.")
    origin = typing.get_origin(hint)
    if origin is Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise ConfigError(f"{label} must be one of {', '.join(map(str, choices))}, but {value!r} came.")
        return value
    if origin is types.UnionType:
        hint = tuple(typing.get_args(hint))
    if hint is float and type(value) is int:
        value = float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        kind = hint[0] if isinstance(hint, tuple) else hint  # of "a number or absent" the number can be given
        raise ConfigError(f"{label} must be of type {kind.__name__}, but {value!r} came.")
    if isinstance(value, int | float) and not isinstance(value, bool):
        _check_range(value, label)
    return value


def _check_range(value: float, label: str) -> None:
    name = label.rpartition(".")[2]
    least = _LEAST.get(name, 0)
    most = 1 if name in _AT_MOST_ONE else math.inf
    if not (math.isfinite(value) and least <= value <= most):
        limit = f"from {least} to {most}" if most < math.inf else f"{least} or more"
        raise ConfigError(f"{label} must be {limit}, but {value!r} came.")


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors begin a file with a mark
    except OSError as error:
        raise ConfigError(f"The recipe {path} cannot be read ({error.strerror}); give a TOML file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The recipe {path} is not valid TOML: {error}.") from error


def _parse_override(line: str) -> dict[str, Any]:
    """One `name=value` line; a value that is no TOML (a bare word) is taken as text."""
    try:
        return tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        name, _, value = line.partition("=")
    try:
        return tomllib.loads(f"{name} = {json.dumps(value.strip())}")
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"An override must read section.name=value, but {line!r} came.") from error


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        both_tables = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[name] = _merge(old, value) if both_tables else value  # type: ignore[arg-type]
    return merged
