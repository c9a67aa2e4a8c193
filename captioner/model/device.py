"""Where a network runs."""

from __future__ import annotations

import torch

from captioner.errors import ConfigError


def choose_device(name: str | None = None) -> torch.device:
    """The device called `name`; None: CUDA where there is one, else the CPU.

    Raises ConfigError when it cannot compute.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.ones(1, device=name).item()
        return torch.device(name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f"The device must be one PyTorch can compute on here, but {name!r} is not; leave it out to have one chosen."
        ) from error


def knows_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for products in bfloat16; to others they are no gain."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def tells_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out; on a CPU PyTorch raises a plain RuntimeError then."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
