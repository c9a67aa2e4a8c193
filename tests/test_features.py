"""Region features: computed once, right, and never stale."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest
import torch

from captioner.config import EncoderConfig
from captioner.data.features import region_features
from captioner.data.sources import build, shapes_rows
from captioner.model.encoder import Encoder, build_encoder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return build_encoder(EncoderConfig().name, weights="random", size=64)


def drawings(folder: Path, *, seed: int, count: int) -> datasets.Dataset:
    folder.mkdir(exist_ok=True)
    return build(shapes_rows({"train": count}, size=64, seed=seed), folder).collection["train"]


def features_of(encoder: Encoder, tmp_path: Path, seed: int = 0) -> tuple[np.ndarray, list[int]]:
    rows = drawings(tmp_path / f"shapes-{seed}", seed=seed, count=5)
    told: list[int] = []
    features = region_features(
        rows,
        encoder,
        encoder.preprocessing.read,
        folder=tmp_path / "features",
        views=2,
        device=torch.device("cpu"),
        bf16=False,
        batch_size=2,
        done=told.append,
    )
    direct = torch.from_numpy(np.stack([encoder.preprocessing.pixels(image) for image in rows["image"]]))
    with torch.inference_mode():
        np.testing.assert_allclose(features[:, 0], encoder(direct).numpy(), atol=2e-3, rtol=2e-3)
        np.testing.assert_allclose(features[:, 1], encoder(direct.flip(-1)).numpy(), atol=2e-3, rtol=2e-3)
    return features, told


def test_features_are_computed_once_for_pictures_and_mirror_images(encoder: Encoder, tmp_path: Path) -> None:
    first, told = features_of(encoder, tmp_path)
    assert first.shape == (5, 2, encoder.regions, encoder.feature_size)
    assert told == [2, 4, 5]
    again, told_again = features_of(encoder, tmp_path)
    assert told_again == []
    np.testing.assert_array_equal(first, again)


def test_another_encoder_or_collection_never_meets_these_features(encoder: Encoder, tmp_path: Path) -> None:
    features_of(encoder, tmp_path)
    assert features_of(build_encoder(EncoderConfig().name, weights="random", size=64), tmp_path)[1] == [2, 4, 5]
    assert features_of(encoder, tmp_path, seed=1)[1] == [2, 4, 5]


def test_a_run_killed_half_way_leaves_no_features_behind(encoder: Encoder, tmp_path: Path) -> None:
    rows = drawings(tmp_path / "shapes", seed=0, count=4)

    def killed(pictures: int) -> None:
        raise KeyboardInterrupt

    arguments = {"folder": tmp_path / "features", "views": 1, "device": torch.device("cpu"), "bf16": False}
    with pytest.raises(KeyboardInterrupt):
        region_features(rows, encoder, encoder.preprocessing.read, batch_size=2, done=killed, **arguments)
    told: list[int] = []
    region_features(rows, encoder, encoder.preprocessing.read, batch_size=2, done=told.append, **arguments)
    assert told == [2, 4]
