"""Packing a model: smaller, with the search settings it should be used with."""

from __future__ import annotations

from pathlib import Path

import pytest

from captioner import ConfigError
from captioner.model.checkpoint import load_checkpoint
from pipelines.pack import pack


def test_a_packed_model_is_smaller_and_stores_its_search(model_folder: Path, tmp_path: Path) -> None:
    pack(model_folder, tmp_path / "packed", ["search.beam_width=2", "search.length_exponent=0.5"])
    packed = load_checkpoint(tmp_path / "packed")
    assert (packed.config.search.beam_width, packed.config.search.length_exponent) == (2, 0.5)
    assert packed.config.decoder == load_checkpoint(model_folder).config.decoder
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (tmp_path / "packed", model_folder)]
    assert sizes[0] < 0.6 * sizes[1]


def test_packing_into_the_package_keeps_what_makes_it_one(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text('"""The default model."""')
    pack(model_folder, tmp_path, [])
    (tmp_path / "README.md").write_text("the card")
    pack(model_folder, tmp_path, [])
    assert (tmp_path / "__init__.py").read_text() == '"""The default model."""'
    assert (tmp_path / "README.md").read_text() == "the card"


def test_what_was_trained_cannot_be_changed(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Only search settings"):
        pack(model_folder, tmp_path / "packed", ["decoder.cell=gru"])
