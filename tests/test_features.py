"""Region features: computed once, right, never stale, and never damaged without a word."""

from __future__ import annotations

import threading
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from captioner.data import features as module
from captioner.data.features import RegionFeatures, region_features
from captioner.data.views import Views
from captioner.errors import DataError
from captioner.model.encoder import Encoder, build_encoder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return build_encoder("tf_efficientnet_lite0", weights="random", size=64)


@pytest.fixture(scope="module")
def rows() -> datasets.Dataset:
    return pictures(seed=0)


def pictures(*, seed: int) -> datasets.Dataset:
    """Five pictures of noise."""
    random = np.random.default_rng(seed)
    images = [Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(5)]
    return datasets.Dataset.from_dict({"image": images}, features=datasets.Features({"image": datasets.Image()}))


def computed(rows: datasets.Dataset, encoder: Encoder, folder: Path, **options: object) -> RegionFeatures:
    """Two views, files of three pictures, batches of two."""
    chosen = {
        "views": Views(mirrored=True),
        "device": torch.device("cpu"),
        "bf16": False,
        "batch_size": 2,
        "pictures_per_file": 3,
    }
    return region_features(rows, encoder, encoder.preprocessing.read, folder=folder, **{**chosen, **options})  # type: ignore[arg-type]


def test_features_are_those_of_the_pictures_and_their_mirror_images(
    encoder: Encoder, rows: datasets.Dataset, tmp_path: Path
) -> None:
    told: list[int] = []
    features = computed(rows, encoder, tmp_path, done=told.append)
    assert features.shape == (5, 2, encoder.regions, encoder.feature_size)
    assert told == [2, 3, 5]
    direct = torch.from_numpy(np.stack([encoder.preprocessing.pixels(image) for image in rows["image"]]))
    chosen = np.array([4, 0, 3])
    for view, pixels in enumerate((direct, direct.flip(-1))):
        with torch.inference_mode():
            expected = encoder(pixels)[chosen].numpy()
        np.testing.assert_allclose(features.read(chosen, view), expected, atol=2e-3, rtol=2e-3)
    mixed = features.read(chosen, np.array([1, 0, 1]))
    np.testing.assert_array_equal(mixed[0], features.read(np.array([4]), 1)[0])
    np.testing.assert_array_equal(mixed[1], features.read(np.array([0]), 0)[0])


def test_features_are_computed_once(encoder: Encoder, rows: datasets.Dataset, tmp_path: Path) -> None:
    first = computed(rows, encoder, tmp_path)
    told: list[int] = []
    again = computed(rows, encoder, tmp_path, done=told.append)
    assert told == []
    np.testing.assert_array_equal(first.read(np.arange(5), 1), again.read(np.arange(5), 1))


def test_another_encoder_or_collection_never_meets_these_features(
    encoder: Encoder, rows: datasets.Dataset, tmp_path: Path
) -> None:
    computed(rows, encoder, tmp_path)
    other = build_encoder("tf_efficientnet_lite0", weights="random", size=64)
    for rows_and_encoder in ((rows, other), (pictures(seed=1), encoder)):
        told: list[int] = []
        computed(*rows_and_encoder, tmp_path, done=told.append)
        assert told == [2, 3, 5]


def test_a_run_killed_half_way_goes_on_with_the_next_file(
    encoder: Encoder, rows: datasets.Dataset, tmp_path: Path
) -> None:
    """Killed while the second file was computed: its three pictures, and only they, are seen again."""

    def killed(pictures: int) -> None:
        if pictures == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        computed(rows, encoder, tmp_path, done=killed)
    told: list[int] = []
    computed(rows, encoder, tmp_path, done=told.append)
    assert told == [5]


def test_processes_share_the_work_and_each_gets_everything(
    encoder: Encoder, rows: datasets.Dataset, tmp_path: Path
) -> None:
    told: dict[int, list[int]] = {0: [], 1: []}
    other = threading.Thread(
        target=computed,
        args=(rows, encoder, tmp_path),
        kwargs={"process": 1, "processes": 2, "done": told[1].append, "pictures_per_file": 3},
    )
    other.start()
    features = computed(rows, encoder, tmp_path, process=0, processes=2, done=told[0].append)
    other.join()
    assert told[0][:2] == [2, 3]
    assert told[1][0] == 5
    alone = computed(rows, encoder, tmp_path / "alone")
    np.testing.assert_array_equal(features.read(np.arange(5)), alone.read(np.arange(5)))


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_file_is_named(encoder: Encoder, rows: datasets.Dataset, tmp_path: Path, damage: str) -> None:
    computed(rows, encoder, tmp_path)
    file = sorted(tmp_path.rglob("*.npy"))[1]
    content = bytearray(file.read_bytes())
    content[-10] ^= 1
    file.write_bytes({"flip": bytes(content), "cut": bytes(content[:-1]), "empty": b""}[damage])
    with pytest.raises(DataError, match=rf"{file.name} are damaged.*delete the file"):
        computed(rows, encoder, tmp_path)
    file.unlink()
    computed(rows, encoder, tmp_path)


def test_a_crop_is_of_its_own_picture_however_the_pictures_are_dealt(
    encoder: Encoder, rows: datasets.Dataset, tmp_path: Path
) -> None:
    views = Views(mirrored=True, crops=2)
    dealt = computed(rows, encoder, tmp_path / "dealt", views=views)
    together = computed(rows, encoder, tmp_path / "together", views=views, batch_size=5, pictures_per_file=5)
    for view in range(4):
        # Other numbers of pictures at once are other products, and round otherwise.
        np.testing.assert_allclose(dealt.read(np.arange(5), view), together.read(np.arange(5), view), atol=5e-3, rtol=0)
    assert np.abs(dealt.read(np.arange(5), 2) - dealt.read(np.arange(5), 0)).max() > 0.05


def test_a_disk_without_room_is_told_before_the_work_begins(
    encoder: Encoder, rows: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _folder: type("Usage", (), {"free": 1000}))
    told: list[int] = []
    with pytest.raises(DataError, match=r"5 pictures need .* GB .* or have fewer views"):
        computed(rows, encoder, tmp_path, done=told.append)
    assert told == []
