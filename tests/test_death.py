"""A run survives its death at any moment: what is there is whole, and --resume ends in the same model, bit for bit."""

from __future__ import annotations

import multiprocessing
import random
import time
from pathlib import Path

import pytest
import torch

from tests.test_loop import assert_same_result
from tests.training import model_to_train, train

# A server that has loaded PyTorch once and computed nothing: each process is then a matter of milliseconds.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.training"])

SETTINGS = {"epochs": 5, "patience": 5, "save_seconds": 0.0}


def _go_on(folder: Path) -> None:
    torch.set_num_threads(1)
    train(model_to_train(**SETTINGS), folder, resume=True)


def killed(folder: Path, *, kills: int, seed: int, seconds: float) -> int:
    """Train, killed with SIGKILL at random moments and resumed each time, to the end -> how often it was killed.

    `seconds` is what the whole run takes undisturbed.
    """
    moments, survived = random.Random(seed), 0
    for number in range(kills + 1):
        process = _FORKS.Process(target=_go_on, args=(folder,))
        process.start()
        if number < kills:
            process.join(seconds * moments.uniform(0.05, 0.3))
            process.kill()
        process.join(120)
        if process.exitcode == 0:
            break
        survived += 1
    assert process.exitcode == 0
    return survived


@pytest.mark.timeout(120)
def test_a_run_killed_at_random_moments_ends_in_the_same_model(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    began = time.monotonic()
    train(model_to_train(**SETTINGS), tmp_path / "whole")
    seconds = time.monotonic() - began
    assert killed(tmp_path / "killed", kills=5, seed=int(time.time()), seconds=seconds) >= 2
    assert_same_result(tmp_path / "killed", tmp_path / "whole")
    assert not list((tmp_path / "killed").rglob("*unfinished*"))
