"""Folds: what is fitted or chosen on all but one of them is measured on that one."""

import numpy as np
from numpy.typing import NDArray


def deal(count: int, *, among: int, seed: int) -> NDArray[np.int64]:
    """Which of `among` folds each of `count` pictures is in, dealt at random and evenly."""
    return np.random.default_rng(seed).permutation(count) % among
