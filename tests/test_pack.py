"""Packing a model: smaller, with the search settings it should be used with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from captioner import Captioner, CheckpointError, ConfigError
from captioner.inference.confidence import FILE as CALIBRATION
from captioner.model import captioning
from captioner.model.checkpoint import (
    PRECISIONS,
    load_checkpoint,
    read_beside,
    save_checkpoint,
    write_beside,
    write_model,
)
from pipelines.pack import Precision, pack
from tests.processor import needs_bf16


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


@pytest.mark.parametrize("known", [pytest.param(True, marks=needs_bf16), False])
def test_a_model_computes_in_the_precision_it_was_packed_for_where_the_processor_knows_it(
    known: bool, model_folder: Path, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captioning, "knows_bf16", lambda device: known)
    for name, precision in (("full", Precision.FULL), ("quick", Precision.BFLOAT16), ("as before", None)):
        pack(model_folder if precision else tmp_path / "quick", tmp_path / name, [], precision)
    full, quick, again = (
        Captioner.from_pretrained(tmp_path / name, device="cpu") for name in ("full", "quick", "as before")
    )
    pixels = torch.from_numpy(full.model.encoder.preprocessing.read(pictures[0])).unsqueeze(0)
    with torch.inference_mode():
        exact, rounded, as_before = (each.model.encoder(pixels) for each in (full, quick, again))
    assert torch.equal(rounded, as_before)
    assert rounded.dtype == torch.float32
    assert torch.equal(rounded, exact) == (not known)
    assert (rounded - exact).norm() < 0.2 * exact.norm()  # the picture is noise, and every layer rounds
    assert quick.model.precision_here == (torch.bfloat16 if known else torch.float32)
    traces = [each.model.trace(exact[0], [5, 6, 7]).log_probabilities for each in (full, quick)]
    assert torch.equal(*traces) == (not known)
    torch.testing.assert_close(*traces, rtol=0.02, atol=0.02)


def test_how_sure_it_may_be_goes_along_with_the_same_weights_and_search(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack(model_folder, tmp_path / "packed", [])
    write_beside(tmp_path / "packed", CALIBRATION, b"{}")
    pack(tmp_path / "packed", tmp_path / "quick", [], Precision.BFLOAT16)
    assert read_beside(tmp_path / "quick", CALIBRATION) == b"{}"
    assert "left behind" not in capsys.readouterr().out
    pack(tmp_path / "packed", tmp_path / "other", ["search.beam_width=2"])
    assert read_beside(tmp_path / "other", CALIBRATION) is None
    assert "calibration.json was measured of another model and is left behind" in capsys.readouterr().out


def test_every_precision_can_be_asked_for() -> None:
    assert [precision.value for precision in Precision] == list(PRECISIONS)


@needs_bf16
def test_a_model_at_work_in_bfloat16_is_saved_as_any_other(model_folder: Path, tmp_path: Path) -> None:
    pack(model_folder, tmp_path / "quick", [], Precision.BFLOAT16)
    save_checkpoint(Captioner.from_pretrained(tmp_path / "quick", device="cpu").model, tmp_path / "again", half=True)
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "quick" / name).read_bytes()
    assert load_checkpoint(tmp_path / "again").precision == torch.bfloat16


def test_a_precision_that_nobody_knows_is_a_sentence(model_folder: Path, tmp_path: Path) -> None:
    pack(model_folder, tmp_path / "packed", [])
    contents = {path.name: path.read_bytes() for path in (tmp_path / "packed").iterdir()}
    del contents["manifest.json"]
    contents["config.json"] = contents["config.json"].replace(b'"precision": "full"', b'"precision": "float7"')
    write_model(tmp_path / "packed", contents)
    with pytest.raises(CheckpointError, match=r"computes in float7.*install a matching version"):
        load_checkpoint(tmp_path / "packed")


def test_what_was_trained_cannot_be_changed(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Only search settings"):
        pack(model_folder, tmp_path / "packed", ["decoder.cell=gru"])
