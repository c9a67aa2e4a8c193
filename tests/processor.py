"""What a test needs of this processor and of the PyTorch on it."""

from __future__ import annotations

import pytest
import torch

from captioner.model.device import knows_bf16

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")
needs_bf16 = pytest.mark.skipif(not knows_bf16(torch.device("cpu")), reason="this processor does not know bfloat16")

PRECISIONS = [torch.float32, pytest.param(torch.bfloat16, marks=needs_bf16)]
"""To try a test in, where the processor knows them."""
