"""The teaching that the page starts: a process of its own, which goes on when the page is closed, and what it came to.

    HOME/teaching/asked.json   which model learns, and whether it shall be at work
    HOME/teaching/before/      that model as it is
    HOME/teaching/run/         what `captioner teach` writes
    HOME/teaching/log.txt      what it says

There is one at a time in a home. When the server ends, so does the process; the next server goes on with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from captioner.durable import alone, told, write_whole
from captioner.errors import ConfigError
from captioner.inference.captioner import Captioner
from captioner.inference.teaching import News, is_at_work, latest
from captioner.model.checkpoint import save_checkpoint
from captioner.model.onnx_model import is_exported

from .desk import Desk
from .home import Home
from .lessons import Lessons

LEAST_PICTURES: Final = 10
"""From fewer, less than two would be held out to choose the model by."""
_NICENESS: Final = 10
_DEFAULT_NAME: Final = "My model"

State = Literal["none", "running", "stopped", "failed", "done"]


@dataclass(frozen=True)
class Standing:
    """Where the teaching of a home stands."""

    state: State
    model: str = ""
    """Which model learns."""
    news: News | None = None
    evaluations: tuple[dict[str, Any], ...] = ()
    """What the run's `metrics.jsonl` holds so far."""
    report: dict[str, Any] | None = None
    """The account of what the collection was found to hold."""


@dataclass(frozen=True)
class Outcome:
    """The model before and the one after, on pictures that none of them has learnt from."""

    figures: dict[str, Any]
    """As `Comparison.as_json` gives them."""
    captions: tuple[dict[str, Any], ...]
    """As `Comparison.as_records` gives them: the greatest loss first."""
    report: bytes
    """The whole comparison as a page of its own."""
    calibrated: bool


class Retraining:
    """The teaching of one home; every method may be called from any thread."""

    def __init__(self, home: Home, desk: Desk) -> None:
        self._home = home
        self._desk = desk
        self._folder = home.folder / "teaching"
        self._run = self._folder / "run"
        self._process: subprocess.Popen[bytes] | None = None
        """What this server started; None: nothing yet."""
        self._accepted: str | None = None
        self._changing = threading.Lock()

    def standing(self) -> Standing:
        """Where it stands now; what another server left half done is gone on with."""
        asked = self._asked()
        if asked is None:
            return Standing("none")
        if self._process is None and asked["at_work"] and self._state() == "stopped":
            with contextlib.suppress(ConfigError):  # someone else was quicker
                self.go_on()
        return Standing(
            self._state(),
            asked["model"],
            latest(self._run),
            tuple(_lines(self._run / "training" / "metrics.jsonl")),
            _json(self._run / "data" / "report.json"),
        )

    def start(self, model: str, lessons: Lessons) -> None:
        """Let a model of the desk learn from the lessons.

        Raises ConfigError when there are too few, the model is an exported one, or a teaching's model was not judged
        yet; DataError or CheckpointError when nothing can be written.
        """
        pictures = len(lessons.kept())
        if pictures < LEAST_PICTURES:
            raise ConfigError(
                f"A model must be taught with {LEAST_PICTURES} pictures or more, but {pictures} are kept; keep more."
            )
        captioner = self._desk.captioner(model)
        if captioner.folder is not None and is_exported(captioner.folder):
            raise ConfigError(
                f"A model that learns must have its weights, but {model} is an exported one; choose the model that it "
                "was made from."
            )
        with self._alone():
            if self._asked() is not None:
                raise ConfigError("One model can be taught at a time; accept or discard what was taught before.")
            shutil.rmtree(self._folder, ignore_errors=True)
            save_checkpoint(captioner.model, self._folder / "before")
            self._ask({"model": model, "device": captioner.model.device.type, "collection": str(lessons.folder)})

    def go_on(self) -> None:
        """Go on where it stopped, failed or died. Raises ConfigError when there is nothing to go on with."""
        with self._alone():
            asked = self._asked()
            if asked is None or self._state() not in ("stopped", "failed"):
                raise ConfigError("There must be a teaching that was stopped, but there is none; start one.")
            self._ask(asked)

    def stop(self) -> None:
        """Ask the process to stop; what is done stays."""
        with self._alone():
            asked = self._asked()
            if asked is not None:
                self._write(asked | {"at_work": False})
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()
            elif (news := latest(self._run)) is not None and is_at_work(self._run):
                os.kill(news.process, signal.SIGTERM)

    def outcome(self) -> Outcome | None:
        """What the teaching came to; None until it is done."""
        folder = self._run / "comparison"
        figures = _json(folder / "comparison.json")
        if figures is None or self._state() != "done":
            return None
        return Outcome(
            figures,
            tuple(_lines(folder / "captions.jsonl")),
            (folder / "report.html").read_bytes(),
            (self._best / "calibration.json").exists(),
        )

    def proposed_name(self) -> str:
        """A name for the new model that no other has."""
        taken, number, name = self._home.models(), 1, _DEFAULT_NAME
        while name in taken or name in self._desk.models:
            number += 1
            name = f"{_DEFAULT_NAME} {number}"
        return name

    def accept(self, name: str) -> str:
        """Make the new model one of the desk's, kept in the home -> its name there.

        Raises ConfigError when the name is taken or none for a model, or nothing is done yet; DataError when the model
        cannot be written.
        """
        name = name.strip()
        with self._alone():
            if self._state() != "done":
                raise ConfigError("There must be a model that has learnt all it was to, but there is none; teach one.")
            if name in self._desk.models:
                raise ConfigError(
                    f"A new model needs a name of its own, but there is one called {name!r}; choose another."
                )
            target = self._home.new_model(name)
            device = str(self._desk.captioner(self._desk.models[0]).model.device)
            with told(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                unfinished = target.with_name(f".{name}.unfinished")
                shutil.rmtree(unfinished, ignore_errors=True)
                try:
                    unfinished.mkdir()
                    for file in self._best.iterdir():
                        shutil.copy2(file, unfinished)
                    unfinished.rename(target)
                finally:
                    shutil.rmtree(unfinished, ignore_errors=True)
            self._desk.install(name, Captioner.from_pretrained(target, device=device))
            self._home.choose(name)
            self._accepted = name
            self._clear()
        return name

    @property
    def accepted(self) -> str | None:
        """The model that was accepted last since the server began; the next server begins with it by itself."""
        return self._accepted

    def discard(self) -> None:
        """Delete the teaching and its model; the collection stays. Raises ConfigError while it is at work."""
        with self._alone():
            if self._state() == "running":
                raise ConfigError("A teaching that is at work must be stopped first; stop it.")
            self._clear()

    @property
    def _best(self) -> Path:
        return self._run / "training" / "best"

    def _state(self) -> State:
        if self._asked() is None:
            return "none"
        # Who is asked first matters: to look at the lock holds it for a moment, which a process that begins would see.
        if (self._process is not None and self._process.poll() is None) or is_at_work(self._run):
            return "running"
        stage = None if (news := latest(self._run)) is None else news.stage
        return "done" if stage == "done" else "failed" if stage == "failed" else "stopped"

    def _asked(self) -> dict[str, Any] | None:
        return _json(self._folder / "asked.json")

    def _write(self, asked: dict[str, Any]) -> None:
        write_whole(self._folder / "asked.json", json.dumps(asked, ensure_ascii=False) + "\n")

    def _ask(self, asked: dict[str, Any]) -> None:
        self._write(asked | {"at_work": True})
        # Names below the folder, so that no sentence and no page tells where it lies. -P: what lies there is no code.
        command = [sys.executable, "-P", "-m", "captioner.pipelines.teach", asked["collection"]]
        options = ["--from", "before", "--out", "run", "--device", asked["device"]]
        with told(self._folder), (self._folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(
                command + options,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the server, which then asks the process
            )
        weakref.finalize(self, _end, self._process)
        if hasattr(os, "setpriority"):
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICENESS)

    def _clear(self) -> None:
        (self._folder / "asked.json").unlink(missing_ok=True)  # from here on there is none
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with told(self._folder):
            self._home.folder.mkdir(parents=True, exist_ok=True)
        with self._changing, alone(self._home.folder / ".teaching.lock"):
            yield


def _end(process: subprocess.Popen[bytes]) -> None:
    """The server ends: so does what it started, which the next one goes on with."""
    if process.poll() is None:
        process.terminate()


def _json(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of the whole lines; a damaged one is passed over, for the teaching does not depend on it."""
    with contextlib.suppress(OSError):
        for line in path.read_bytes().split(b"\n")[:-1]:
            with contextlib.suppress(ValueError):
                yield json.loads(line)
