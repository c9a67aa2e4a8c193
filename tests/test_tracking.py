"""Services that keep a run's figures: each is told the same, is loaded only when asked for, and is never needed."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from captioner.errors import ConfigError, TrainingError
from captioner.training.events import Evaluated, Event, StepDone, StepSkipped
from captioner.training.tracking import tracking

MODULES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb", "trackio": "trackio"}
EVENTS: list[Event] = [
    Evaluated(0.0, 0, None, 5.0, 1.0, None, 0.0, 0, True),
    *(StepDone(0, step, 20, 4.0 - step / 10, 100, 0.5) for step in range(1, 13)),
    StepSkipped(13, float("nan"), ["0.jpg"]),
    Evaluated(1.0, 13, 3.5, 20.0, 7.0, 200.0, 6.0, 1, True),
]
TOLD = [
    (0, {"epoch": 0.0, "train/skipped": 0, "development/cider_d": 5.0, "development/bleu_4": 1.0}),
    (10, {"train/loss": 3.0, "train/words_per_second": 200.0}),
    (
        13,
        {
            "epoch": 1.0,
            "train/skipped": 1,
            "train/mean_loss": 3.5,
            "development/cider_d": 20.0,
            "development/bleu_4": 7.0,
        },
    ),
]


class Fake(types.ModuleType):
    """Any of the three services; it remembers how it was begun, what it was told, and how it was ended."""

    def __init__(self) -> None:
        super().__init__("fake")
        self.begun: list[dict[str, Any]] = []
        self.told: list[tuple[int, dict[str, float]]] = []
        self.ended: list[bool] = []

    # TensorBoard

    @contextlib.contextmanager
    def SummaryWriter(self, folder: str, *, purge_step: int) -> Iterator[Fake]:  # noqa: N802
        self.begun.append({"folder": folder, "purge_step": purge_step})
        yield self
        self.ended.append(True)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        if not self.told or self.told[-1][0] != step:
            self.told.append((step, {}))
        self.told[-1][1][name] = value

    # The two others

    def init(self, **settings: Any) -> Fake:
        self.begun.append(settings)
        return self

    def log(self, figures: dict[str, float], *, step: int) -> None:
        self.told.append((step, figures))

    def __enter__(self) -> Fake:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.ended.append(kind is None)

    def finish(self) -> None:
        self.ended.append(True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "recipe.json").write_text('{"training": {"epochs": 3}}')
    return tmp_path


@pytest.mark.parametrize("service", MODULES)
def test_each_service_is_told_the_same_figures_at_the_same_steps(service: Any, folder: Path, monkeypatch) -> None:
    fake = Fake()
    monkeypatch.setitem(sys.modules, MODULES[service], fake)
    with tracking(service, folder) as tell:
        assert not fake.begun, "a run begins with its first figures"
        for event in EVENTS:
            tell(event)
        assert not fake.ended
    assert fake.told == TOLD
    assert fake.ended == [True]
    [begun] = fake.begun
    if service == "tensorboard":
        assert begun == {"folder": str(folder / "tensorboard"), "purge_step": 0}
    else:
        assert (begun["name"], begun["config"]) == (folder.name, {"training": {"epochs": 3}})
        assert begun["resume"] == ("auto" if service == "wandb" else "allow")


def test_rewards_are_told_in_place_of_losses(folder: Path, monkeypatch) -> None:
    fake = Fake()
    monkeypatch.setitem(sys.modules, MODULES["wandb"], fake)
    with tracking("wandb", folder) as tell:
        tell(StepDone(0, 10, 20, None, 100, 0.5, reward=40.0))
        tell(Evaluated(1.0, 10, None, 20.0, 7.0, 200.0, 6.0, 0, True, reward=39.0))
    [(_, step), (_, evaluated)] = fake.told
    assert step == {"train/reward": 40.0, "train/words_per_second": 200.0}
    assert evaluated["train/mean_reward"] == 39.0
    assert "train/mean_loss" not in evaluated


def test_a_resumed_run_takes_the_place_of_what_was_told_after_its_state(folder: Path, monkeypatch) -> None:
    fake = Fake()
    monkeypatch.setitem(sys.modules, MODULES["tensorboard"], fake)
    with tracking("tensorboard", folder) as tell:
        tell(StepDone(0, 117, 200, 3.0, 100, 0.5))
        tell(StepDone(0, 120, 200, 3.0, 100, 0.5))
    assert fake.begun[0]["purge_step"] == 120


def test_a_run_that_was_stopped_is_ended_as_one_that_goes_on(folder: Path, monkeypatch) -> None:
    fake = Fake()
    monkeypatch.setitem(sys.modules, "wandb", fake)

    def stopped() -> None:
        with tracking("wandb", folder) as tell:
            tell(EVENTS[0])
            raise TrainingError("stopped")

    with pytest.raises(TrainingError, match="stopped"):
        stopped()
    assert fake.ended == [False]


@pytest.mark.parametrize("service", MODULES)
def test_a_service_that_is_not_installed_is_told_before_the_work_begins(
    service: Any, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, MODULES[service], None)
    with (
        pytest.raises(ConfigError, match=rf"--track {service} .* `pip install {service}`"),
        tracking(service, tmp_path),
    ):
        raise AssertionError("the work began")


def test_a_service_that_cannot_begin_is_a_sentence(folder: Path, monkeypatch) -> None:
    fake = Fake()

    def refuse(**_settings: Any) -> Fake:
        raise RuntimeError("No API key configured")

    monkeypatch.setattr(fake, "init", refuse, raising=False)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    with (
        pytest.raises(TrainingError, match=r"wandb must be able to begin.*No API key configured.*--track"),
        tracking("wandb", folder) as tell,
    ):
        tell(EVENTS[0])


def test_without_a_service_none_is_loaded(tmp_path: Path) -> None:
    with tracking(None, tmp_path) as tell:
        for event in EVENTS:
            tell(event)
    assert not list(tmp_path.iterdir())
    code = "import sys, pipelines.train; print({'torch', 'tensorboard', 'wandb', 'trackio'} & set(sys.modules))"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent
    ).stdout
    assert told == "set()\n"
