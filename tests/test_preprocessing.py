"""From a picture to the CNN's pixels: the whole picture, squeezed into a square."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captioner.data.preprocessing import Preprocessing
from captioner.model.onnx_model import DESCRIPTION

PREPROCESSING = Preprocessing(64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_the_whole_picture_is_kept() -> None:
    wide = np.zeros((100, 400, 3), dtype=np.uint8)
    wide[:, 200:] = 255
    pixels = PREPROCESSING.pixels(Image.fromarray(wide))
    assert (pixels.dtype, pixels.shape) == (np.uint8, (3, 64, 64))
    assert pixels[:, :, :30].max() < 10
    assert pixels[:, :, 34:].min() > 245


def test_channels_come_first_and_lie_one_after_the_other() -> None:
    pixels = PREPROCESSING.read(np.full((8, 8, 3), (1, 2, 3), np.uint8))
    assert pixels.flags.c_contiguous
    assert [np.unique(channel).tolist() for channel in pixels] == [[1], [2], [3]]


def test_its_repr_never_changes_because_fingerprints_of_encoders_are_made_of_it() -> None:
    assert repr(PREPROCESSING) == "Preprocessing(size=64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))"


@pytest.mark.parametrize("name", ["config.json", DESCRIPTION])
def test_a_model_tells_the_one_it_was_made_for(name: str, tmp_path: Path) -> None:
    stored = '{"preprocessing": {"size": 64, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}'
    (tmp_path / name).write_text(stored)
    assert Preprocessing.of_model(tmp_path) == PREPROCESSING


@pytest.mark.parametrize("told", [None, "", "[]", "{}", '{"preprocessing": {"size": "64", "mean": [], "std": []}}'])
def test_a_folder_that_tells_none_is_no_model(told: str | None, tmp_path: Path) -> None:
    if told is not None:
        (tmp_path / "config.json").write_text(told)
    assert Preprocessing.of_model(tmp_path) is None
