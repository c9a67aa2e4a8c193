"""Region features, computed once by a frozen encoder, kept in files of some hundred pictures and memory-mapped.

The files belong to one encoder and one collection: their folder's name carries both fingerprints, so a changed
encoder, preprocessing or collection never meets stale features. A file's own name carries the checksum of what it
holds, and it is there whole or not at all: a run that is killed goes on with the next file, several processes share
the work by computing every n-th, and a file that was damaged since is found before anything is learnt from it.
"""

from __future__ import annotations

import hashlib
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captioner.data.views import Views
from captioner.durable import whole_file
from captioner.errors import DataError


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


class RegionFeatures:
    """The features of many pictures, (pictures, views, regions, feature_size); the first view is the picture itself.

    They lie in one or more arrays, all but the last with the same number of pictures; `chosen` numbers those meant,
    by default all.
    """

    def __init__(
        self,
        parts: Sequence[NDArray[np.float16]],
        views: Views,
        chosen: NDArray[np.integer] | None = None,
        *,
        pictures: str = "",
    ) -> None:
        """`pictures` is the SHA-256 of the contents of all pictures there are, if it is known."""
        self.views = views
        self.pictures = pictures
        self._parts = parts
        self._chosen = np.arange(sum(len(part) for part in parts)) if chosen is None else chosen
        self.shape: tuple[int, ...] = (len(self._chosen), *parts[0].shape[1:])
        assert len(views) == self.shape[1], "each view has its features"

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, pictures: NDArray[np.integer], views: NDArray[np.integer] | int = 0) -> NDArray[np.float32]:
        """Features (chosen pictures, regions, feature_size) of the pictures with these numbers, one view of each."""
        views = np.broadcast_to(views, pictures.shape)
        features = np.empty((len(pictures), *self.shape[2:]), dtype=np.float32)
        numbers, rows = np.divmod(self._chosen[pictures], len(self._parts[0]))
        for number in np.unique(numbers):
            here = numbers == number
            features[here] = self._parts[number][rows[here], views[here]]
        return features

    def select(self, pictures: NDArray[np.integer]) -> RegionFeatures:
        """The features of these pictures alone, in this order."""
        return RegionFeatures(self._parts, self.views, self._chosen[pictures], pictures=self.pictures)


@dataclass(frozen=True)
class CaptionedFeatures:
    """Pictures as region features, with their reference captions."""

    features: RegionFeatures
    captions: list[list[str]]
    names: list[str]
    """What each picture is called, to tell people which one is meant."""

    def select(self, pictures: NDArray[np.integer]) -> CaptionedFeatures:
        """These pictures alone, in this order."""
        return CaptionedFeatures(
            self.features.select(pictures),
            [self.captions[picture] for picture in pictures],
            [self.names[picture] for picture in pictures],
        )


def region_features(
    rows: datasets.Dataset,
    encoder: PictureEncoder,
    read: Callable[[bytes], NDArray[np.uint8]],
    *,
    folder: Path,
    views: Views,
    device: torch.device,
    bf16: bool,
    process: int = 0,
    processes: int = 1,
    batch_size: int = 32,
    pictures_per_file: int = 256,
    done: Callable[[int], None] = lambda pictures: None,
) -> RegionFeatures:
    """The features of a split's pictures, memory-mapped from files below `folder`.

    `read` turns a picture's file into the encoder's pixels; `bf16` computes in bfloat16. Only files that are not there
    yet are computed; of `processes` that call this at once each computes its share and waits for the others'. `done` is
    told now and then how many pictures are finished.

    Raises DataError when a file is damaged or the disk has no room for what is missing.
    """
    contents = _fingerprint(rows)
    files = _Files(
        folder / f"{contents[:16]}-{encoder.fingerprint()[:16]}-{views.name}{'-bf16' if bf16 else ''}",
        (len(rows), len(views), encoder.regions, encoder.feature_size),
        pictures_per_file,
    )
    files.check_room()

    def encode(pixels: Tensor, pictures: range) -> NDArray[np.float16]:
        seen = [views.show(pixels, view, pictures) for view in range(len(views))]
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return np.stack([_encode(encoder, view.to(device)) for view in seen], axis=1)

    for number in range(process, files.count, processes):
        if files.find(number) is None:
            pictures = files.pictures(number)
            encoded = np.empty((len(pictures), *files.shape[1:]), dtype=np.float16)
            for first, pixels in _pixel_batches(rows.select(pictures), read, batch_size):
                encoded[first : first + len(pixels)] = encode(pixels, pictures[first : first + len(pixels)])
                done(pictures.start + first + len(pixels))
            files.write(number, encoded)
    while missing := [number for number in range(files.count) if files.find(number) is None]:
        done(len(rows) - len(missing) * pictures_per_file)
        time.sleep(0.2)  # the other processes are still at it
    return RegionFeatures([files.open(number) for number in range(files.count)], views, pictures=contents)


class _Files:
    """The files that hold one split's features, `NUMBER-CHECKSUM.npy`."""

    def __init__(self, folder: Path, shape: tuple[int, ...], pictures_per_file: int) -> None:
        self.folder = folder
        self.shape = shape
        self.count = -(-shape[0] // pictures_per_file)
        self._pictures_per_file = pictures_per_file
        folder.mkdir(parents=True, exist_ok=True)

    def pictures(self, number: int) -> range:
        first = number * self._pictures_per_file
        return range(first, min(first + self._pictures_per_file, self.shape[0]))

    def find(self, number: int) -> Path | None:
        return min(self.folder.glob(f"{number:05}-????????.npy"), default=None)

    def write(self, number: int, features: NDArray[np.float16]) -> None:
        with whole_file(self.folder / f"{number:05}-{zlib.crc32(features.data):08x}.npy") as file:
            np.save(file, features)

    def open(self, number: int) -> NDArray[np.float16]:
        """Memory-map a file, after reading it once for its checksum. Raises DataError when it is damaged."""
        path = self.find(number)
        assert path is not None, "every file was waited for"
        shape = (len(self.pictures(number)), *self.shape[1:])
        try:
            mapped: NDArray[np.float16] = np.load(path, mmap_mode="r")
            sound = mapped.shape == shape and f"{zlib.crc32(mapped.data):08x}" == path.stem.rpartition("-")[2]
        except (OSError, ValueError, EOFError):
            sound = False
        if not sound:
            raise DataError(
                f"The region features in {path} are damaged: they do not have the checksum in the file's name; delete "
                "the file, and the next run computes it again."
            )
        return mapped

    def check_room(self) -> None:
        missing = sum(len(self.pictures(number)) for number in range(self.count) if self.find(number) is None)
        needed, free = 2 * missing * int(np.prod(self.shape[1:])), shutil.disk_usage(self.folder).free
        if needed > free:
            fewer = ", or have fewer views (encoder.crops, encoder.mirrored)" if self.shape[1] > 1 else ""
            raise DataError(
                f"The region features of {missing:,} pictures need {needed / 1e9:.1f} GB in {self.folder}, but "
                f"{free / 1e9:.1f} GB are free; make room{fewer}."
            )


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
