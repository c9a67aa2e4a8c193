"""The processes that train one model together, started by `torchrun`: which part of the work is this one's.

Every process holds the whole model and computes its share of each batch; the gradients are summed over all of them
before each step. They are summed here, once a step, and not by `DistributedDataParallel`, which sums them while they
are computed: then no process could compute its share in smaller parts than the others when its memory is short.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from captioner.errors import ConfigError

_PATIENCE = timedelta(hours=1)
"""How long a process waits for the others, for example while the first one writes a checkpoint."""


@dataclass(frozen=True)
class Processes:
    """This process and the others."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def share(self, items: int) -> range:
        """Which of so many items are this process's; the shares differ by one item at most."""
        return range(items * self.rank // self.count, items * (self.rank + 1) // self.count)

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over all processes; it is the same to the last bit in each of them."""
        if self.count > 1:
            parts = list(tensors)
            together = torch.cat([part.flatten() for part in parts])
            dist.all_reduce(together)
            for part, summed in zip(parts, torch.split(together, [part.numel() for part in parts]), strict=True):
                part.copy_(summed.view_as(part))

    def any(self, answer: bool, device: torch.device) -> bool:
        """Whether the answer of any process is yes."""
        votes = torch.tensor(float(answer), device=device)
        self.add_up([votes])
        return bool(votes)

    def gather(self, items: list[Any]) -> list[Any]:
        """The lists of all processes, one after the other."""
        if self.count == 1:
            return items
        lists: list[list[Any]] = [[] for _ in range(self.count)]
        dist.all_gather_object(lists, items)
        return [item for each in lists for item in each]

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            dist.barrier()


ALONE = Processes()


@contextlib.contextmanager
def join_processes(device: str | None = None) -> Iterator[tuple[Processes, str | None]]:
    """The processes `torchrun` started, this one alone without it; and the device that is this one's.

    They talk by NCCL where each has a GPU of its own, else by gloo. Raises ConfigError when there are fewer GPUs than
    processes on this machine.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield ALONE, device
        return
    local, here = int(os.environ["LOCAL_RANK"]), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    on_gpu = device == "cuda" or (device is None and torch.cuda.is_available())
    if on_gpu:
        if torch.cuda.device_count() < here:
            raise ConfigError(
                f"Each process needs a GPU of its own, but there are {here} processes and {torch.cuda.device_count()} "
                "GPUs; start fewer with --nproc-per-node, or give --device cpu."
            )
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=_PATIENCE)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size()), device
    finally:
        dist.destroy_process_group()
