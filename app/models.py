"""The installed models, by the names that visitors read: each is loaded when somebody first asks for it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path

from captioner.errors import CheckpointError
from captioner.inference.captioner import Captioner
from captioner.model.hub import SHIPPED, find_model

from .home import Home

# What `captioner train` calls the model that it keeps in a run's folder.
_BEST = "best"


class Models(MutableMapping[str, Captioner]):
    """Captioners by name, the default first. Its methods may be called from any thread."""

    def __init__(self, folders: Mapping[str, Path], *, device: str | None = None) -> None:
        """`folders` hold the checkpoints. Loads the first of them, and raises as `Captioner.from_pretrained`."""
        self._folders = dict(folders)
        self._device = device
        self._loaded: dict[str, Captioner] = {}
        self._loading = threading.Lock()
        first = next(iter(self._folders))
        self._loaded[first] = self._load(first)

    def __getitem__(self, name: str) -> Captioner:
        """Raises KeyError when there is none, CheckpointError when it can no longer be loaded."""
        with self._loading:
            if name not in self._loaded:
                try:
                    self._loaded[name] = self._load(name)
                except CheckpointError as error:
                    print(f"captioner: {error}", flush=True)  # it names a folder, which visitors must not read
                    raise CheckpointError(f"{name} must be a sound model, but it is damaged; choose another.") from None
            return self._loaded[name]

    def __setitem__(self, name: str, captioner: Captioner) -> None:
        with self._loading:
            self._loaded[name] = captioner

    def __delitem__(self, name: str) -> None:
        with self._loading:
            self._loaded.pop(name, None)
            del self._folders[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._folders, **self._loaded})

    def __len__(self) -> int:
        return len(self._folders.keys() | self._loaded.keys())

    def _load(self, name: str) -> Captioner:
        captioner = Captioner.from_pretrained(self._folders[name], device=self._device)
        captioner.name = f"{name}@{captioner.name.rpartition('@')[2]}"
        return captioner


def name_models(called: Sequence[str], home: Home | None) -> dict[str, Path]:
    """The folders of models by names for visitors, which say nothing of where they lie.

    Those that were `called` by folder or USER/NAME come first, then those that `home` keeps. Where none was called it
    is the shipped one, and the one chosen in `home` comes before it. Two of the same name are numbered, and no other
    has the shipped one's. Raises CheckpointError when the hub does not have one.
    """
    found: dict[str, Path] = {}
    shipped = find_model(SHIPPED).folder.resolve()
    for each in called or [SHIPPED]:
        model = find_model(each)
        folder = model.folder.resolve()
        if folder not in found.values():
            name = folder.parent.name if model.name == _BEST else model.name
            found[name if (name, folder) == (SHIPPED, shipped) else _free_name(name, found)] = folder
    for name, folder in (home.models() if home else {}).items():
        found[_free_name(name, found)] = folder
    chosen = home.chosen() if home and not called else None
    first = [name for name, folder in found.items() if chosen and home and folder == home.models()[chosen]]
    return {name: found[name] for name in [*first, *found]}


def _free_name(name: str, taken: Mapping[str, Path]) -> str:
    """The name, or the first of `name (2)`, ... that is not taken and not the shipped model's."""
    names = itertools.chain([name], (f"{name} ({number})" for number in itertools.count(2)))
    return next(each for each in names if each not in taken and each != SHIPPED)
