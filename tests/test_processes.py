"""Several processes train as one: the same samples, the same losses, whatever their number."""

from __future__ import annotations

import multiprocessing
import os
import socket
from pathlib import Path

import pytest
import torch

from captioner.errors import ConfigError
from captioner.training.processes import ALONE, Processes, join_processes
from tests.training import begin, losses, model_to_train, train

# A server that has loaded PyTorch once and computed nothing: each process is then a matter of milliseconds.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.training"])

SETTINGS = {"scheduled_sampling": 0.5, "epochs": 2, "learning_rate": 0.003}


def test_shares_cover_everything_once() -> None:
    for items in range(8):
        shares = [Processes(rank, 3).share(items) for rank in range(3)]
        assert [item for share in shares for item in share] == list(range(items))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_process_on_its_own_needs_nobody() -> None:
    tensor = torch.tensor([2.0])
    ALONE.add_up([tensor])
    ALONE.wait()
    assert (tensor.item(), ALONE.first, ALONE.gather([1]), list(ALONE.share(2))) == (2.0, True, [1], [0, 1])
    assert ALONE.any(True, torch.device("cpu"))
    assert not ALONE.any(False, torch.device("cpu"))


def test_every_process_needs_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="2 processes and 1 GPUs"), join_processes("cuda"):
        pass


def _train(rank: int, count: int, port: int, folder: Path, stop_after: int | None, settings: dict[str, object]) -> None:
    """What one of the processes does, as `torchrun` would start it; it leaves its losses beside the run."""
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    with join_processes("cpu") as (processes, _device):
        model = model_to_train(**settings)
        if stop_after is not None:
            told = begin(model, folder, after=stop_after, processes=processes)
        else:
            told = losses(train(model, folder, processes=processes))
        torch.save(told, folder.with_name(f"losses-{rank}.pt"))


def together(
    count: int, folder: Path, *, stop_after: int | None = None, settings: dict[str, object] = SETTINGS
) -> list[list[float]]:
    """Train in so many processes -> the losses each of them told."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    others = [
        _FORKS.Process(target=_train, args=(rank, count, port, folder, stop_after, settings)) for rank in range(count)
    ]
    for process in others:
        process.start()
    for process in others:
        process.join(120)
    assert [process.exitcode for process in others] == [0] * count
    return [torch.load(folder.with_name(f"losses-{rank}.pt"), weights_only=True) for rank in range(count)]


@pytest.mark.timeout(120)
def test_any_number_of_processes_makes_the_same_run_and_may_change_on_the_way(tmp_path: Path) -> None:
    """One, two, three processes (the last batch has two pictures: one of three has none), and two that one resumes.

    With dropout and the model's own words. Pictures have one, two or three captions, so that the shares of a batch
    differ in words. What is left is the order of additions.
    """
    alone = losses(train(model_to_train(**SETTINGS), tmp_path / "one" / "run"))
    for count in (2, 3):
        told = together(count, tmp_path / str(count) / "run")
        assert all(each == told[0] for each in told)
        assert told[0] == pytest.approx(alone, rel=1e-4)
    begun = together(2, tmp_path / "changed" / "run", stop_after=8)[0]
    rest = losses(train(model_to_train(**SETTINGS), tmp_path / "changed" / "run", resume=True))
    assert begun[:6] + rest == pytest.approx(alone, rel=1e-4)
    one, two = (torch.load(tmp_path / name / "run" / "state.pt", weights_only=True)["average"] for name in ("one", "2"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.timeout(120)
def test_two_processes_draw_the_captions_of_one(tmp_path: Path) -> None:
    settings = {"objective": "self_critical", "epochs": 1}
    alone = losses(train(model_to_train(**settings), tmp_path / "one" / "run"))
    told = together(2, tmp_path / "two" / "run", settings=settings)
    assert told[0] == told[1] == pytest.approx(alone, rel=1e-4)


@pytest.mark.timeout(120)
def test_two_processes_train_the_last_blocks_of_the_cnn_as_one(tmp_path: Path) -> None:
    settings = {"epochs": 1, "tuned_blocks": 2, "encoder_learning_rate": 0.001}
    alone = losses(train(model_to_train(**settings), tmp_path / "one" / "run"))
    told = together(2, tmp_path / "two" / "run", settings=settings)
    assert told[0] == told[1] == pytest.approx(alone, rel=1e-4)
    one, two = (
        torch.load(tmp_path / name / "run" / "state.pt", weights_only=True)["weights"] for name in ("one", "two")
    )
    # Nearly all of each: where a channel of the CNN is all but dead, Adam makes large steps of what rounding leaves.
    for name, tensor in one.items():
        assert float((two[name] - tensor).float().norm()) <= 0.02 * float(tensor.float().norm()) + 1e-6, name
        assert torch.isclose(two[name], tensor, rtol=1e-3, atol=1e-4).float().mean() >= 0.995, name
