"""A captioner of our own for every test that needs one: random weights, made in a second, no network."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from PIL import Image

from captioner.config import Config, DecoderConfig, EncoderConfig, SearchConfig
from captioner.model.captioning import CaptioningModel, build_model
from captioner.model.checkpoint import save_checkpoint
from captioner.text.vocabulary import Vocabulary

SENTENCES = ["a brown dog runs over green grass", "two children play in the water", "a man rides a red bike"]

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("without deadline", deadline=None)
hypothesis.settings.load_profile("without deadline")

SLOWEST = ("test_pipelines.py", "test_readme.py", "test_app.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest files first, so that no processor waits for one of them at the end."""
    items.sort(key=lambda item: item.path.name not in SLOWEST)


def tiny_model(**decoder: object) -> CaptioningModel:
    """An untrained captioner: packaged CNN, 64-pixel pictures, a decoder of 16 units."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "embedding_size": 16, "attention_size": 16, "dropout": 0.1}
    config = Config(
        encoder=EncoderConfig(name="tf_efficientnet_lite0", size=64),
        decoder=DecoderConfig(**{**sizes, **decoder}),  # type: ignore[arg-type]
        search=SearchConfig(beam_width=3, max_length=8),
    )
    return build_model(config, Vocabulary.fit(SENTENCES, min_count=1)).eval()


@pytest.fixture(autouse=True)
def nothing_stays_frozen() -> Iterator[None]:
    """A command keeps what it loads from the garbage collector for as long as its process lives, which here goes on."""
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def model() -> CaptioningModel:
    return tiny_model()


@pytest.fixture(scope="session")
def model_folder(model: CaptioningModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(model, folder)
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Five pictures of different sizes and colours."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    paths = []
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (40 + 9 * number, 60, 3), dtype=np.uint8)
        paths.append(folder / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths
