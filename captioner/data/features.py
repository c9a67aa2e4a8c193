"""Region features, computed once by a frozen encoder and memory-mapped from disk.

A file of features belongs to one encoder and one collection: its name carries both fingerprints, so a changed
encoder, preprocessing or collection never meets stale features.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

VIEWS = ("original", "mirrored")


class PictureEncoder(Protocol):
    """What is needed of an encoder here."""

    regions: int
    feature_size: int

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 pixels (pictures, 3, size, size) -> features (pictures, regions, feature_size)."""
        ...

    def fingerprint(self) -> str:
        """Equal fingerprints make equal features."""
        ...


def region_features(
    rows: datasets.Dataset,
    encoder: PictureEncoder,
    read: Callable[[bytes], NDArray[np.uint8]],
    *,
    folder: Path,
    views: int,
    device: torch.device,
    bf16: bool,
    batch_size: int = 32,
    done: Callable[[int], None] = lambda pictures: None,
) -> NDArray[np.float16]:
    """Features (pictures, views, regions, feature_size) of a split's pictures, a memory map of a file in `folder`.

    `read` turns a picture's file into the encoder's pixels. With two `views` the second is of the mirror image;
    `bf16` computes in bfloat16. Computed only where the file does not exist yet; `done` is told after each batch how
    many pictures are finished.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_fingerprint(rows)[:16]}-{encoder.fingerprint()[:16]}-{views}{'-bf16' if bf16 else ''}.npy"
    if not path.exists():
        handle, unfinished = tempfile.mkstemp(suffix=".unfinished", dir=folder)  # two runs must not share one
        os.close(handle)
        shape = (len(rows), views, encoder.regions, encoder.feature_size)
        features = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.float16, shape=shape)
        try:
            for first, pixels in _pixel_batches(rows, read, batch_size):
                for view in range(views):
                    seen = pixels.flip(-1) if VIEWS[view] == "mirrored" else pixels
                    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                        features[first : first + len(pixels), view] = _encode(encoder, seen.to(device))
                done(first + len(pixels))
            features.flush()
            del features  # unmapped: some systems rename no file that is open
            os.replace(unfinished, path)
        finally:
            Path(unfinished).unlink(missing_ok=True)
    mapped: NDArray[np.float16] = np.load(path, mmap_mode="r")
    return mapped


@torch.inference_mode()
def _encode(encoder: PictureEncoder, pixels: Tensor) -> NDArray[np.float16]:
    return encoder(pixels).half().cpu().numpy()


def _pixel_batches(
    rows: datasets.Dataset, read: Callable[[bytes], NDArray[np.uint8]], batch_size: int
) -> Iterator[tuple[int, Tensor]]:
    first = 0
    for encoded in _encoded_batches(rows, batch_size):
        yield first, torch.from_numpy(np.stack([read(data) for data in encoded]))
        first += len(encoded)


def _encoded_batches(rows: datasets.Dataset, batch_size: int) -> Iterator[list[bytes]]:
    """The pictures' files as they are, undecoded."""
    undecoded = rows.select_columns("image").cast_column("image", datasets.Image(decode=False))
    for batch in undecoded.iter(batch_size):
        yield [picture["bytes"] for picture in batch["image"]]


def _fingerprint(rows: datasets.Dataset) -> str:
    """SHA-256 of the pictures' contents in their order."""
    digest = hashlib.sha256()
    for encoded in _encoded_batches(rows, 256):
        for data in encoded:
            digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()
